"""torchvision's names; timm has the same for ResNets and Inception V3.

Checked against torchvision 0.28 (`torchvision.models`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slim_zoo.weights.dialects import torch_layers
from slim_zoo.weights.dialects.dialect import Dialect
from slim_zoo.weights.dialects.torch_layers import Layer, dense
from slim_zoo.weights.layouts import times

Find = Callable[[str, Mapping[str, int]], Layer | None]

# torchvision's MobileNets pad equally on both sides, ours like TensorFlow's SAME. The two agree if
# every layer with a stride gets an odd size: 225, 113, 57, 29, 15.
ODD_SIZE = 225
ODD_NOTE = ("The logits equal PyTorch's at 225×225 pixels and other sizes that stay odd when "
            'halved; at 224×224 the padding differs, and so do the logits.')
# The factor of squeeze-and-excite is clipped to [0, 6] and divided by six; ours, like TF-Slim's, is
# multiplied by 0.16667. The next convolution compensates for it.
GATE = times(1 / (6 * 0.16667))
BORDER_NOTE = ("PyTorch's average pooling includes zeros around the image; here, as in TF-Slim, it "
               "does not: the logits are close to PyTorch's, but not equal.")


# AlexNet, VGG and SqueezeNet: a list of `features`, in which ReLU and pooling count as well, and
# another for the classifier.

_ALEXNET = {'conv1': Layer('features.0'), 'conv2': Layer('features.3'),
            'conv3': Layer('features.6'), 'conv4': Layer('features.8'),
            'conv5': Layer('features.10'), 'fc6': dense('classifier.1'),
            'fc7': dense('classifier.4'), 'fc8': dense('classifier.6')}
_VGG = {'fc6': dense('classifier.0'), 'fc7': dense('classifier.3'), 'fc8': dense('classifier.6')}
_VGG_BLOCKS = {'vgg_a': (1, 1, 2, 2, 2), 'vgg_16': (2, 2, 3, 3, 3), 'vgg_19': (2, 2, 4, 4, 4)}
# Numbers of SqueezeNet's layers that are followed by a pooling, besides the first one.
_SQUEEZENET_POOLS = {'squeezenet': (4, 8), 'squeezenet_1_1': (3, 5)}


def _alexnet(scope: str, places: Mapping[str, int]) -> Layer:
  del places
  return _ALEXNET[scope.rpartition('/')[2]]


def _vgg(network: str) -> Find:
  """Finds `vgg_16/conv2/conv2_1`, which is `features.5`: two convolutions and a pooling before."""
  def find(scope: str, places: Mapping[str, int]) -> Layer:
    del places
    layer = scope.rpartition('/')[2]
    if layer in _VGG:
      return _VGG[layer]
    block, number = map(int, layer.removeprefix('conv').split('_'))
    convolutions = sum(_VGG_BLOCKS[network][:block - 1]) + number - 1
    return Layer(f'features.{2 * convolutions + block - 1}')

  return find


def _squeezenet(network: str) -> Find:
  """Finds `squeezenet/fire5/expand3x3`, which is `features.7.expand3x3`."""
  def find(scope: str, places: Mapping[str, int]) -> Layer:
    del places
    _, layer, *convolution = scope.split('/')
    if layer == 'conv10':
      return Layer('classifier.1')
    number = int(layer.removeprefix('fire')) if layer != 'conv1' else 1
    # A convolution, its ReLU and a pooling come before fire2, which is number 3.
    pools = sum(number > pool for pool in _SQUEEZENET_POOLS[network])
    place = 0 if number == 1 else number + 1 + pools
    return Layer('.'.join([f'features.{place}', *convolution]))

  return find


def _resnet(scope: str, places: Mapping[str, int]) -> Layer:
  """Finds `…/block2/unit_1/basic_v1/conv1`, which is `layer2.0.conv1`, and `layer2.0.bn1`."""
  del places
  _, *scopes = scope.split('/')
  if scopes == ['logits']:
    return dense('fc')
  prefix = ''
  if scopes[0].startswith('block'):
    prefix = f'layer{scopes[0].removeprefix("block")}.{int(scopes[1].removeprefix("unit_")) - 1}.'
  if scopes[-1] == 'shortcut':
    return Layer(f'{prefix}downsample.0', f'{prefix}downsample.1')
  return Layer(prefix + scopes[-1], prefix + scopes[-1].replace('conv', 'bn'))


# MobileNets: `features.0` is the first convolution, `features.1` the first block.

def _block_number(scope: str) -> int:
  """Numbers `…/expanded_conv`, `…/expanded_conv_1` and so on from one."""
  return int(scope.removeprefix('expanded_conv').removeprefix('_') or 0) + 1


def _mobilenet_v2(scope: str, places: Mapping[str, int]) -> Layer:
  _, layer, *inner = scope.split('/')
  if layer == 'Logits':
    return dense('classifier.1')
  if layer in ('Conv', 'Conv_1'):
    place = f'features.{0 if layer == "Conv" else 18}'
    return Layer(f'{place}.0', f'{place}.1')
  block, number = f'features.{_block_number(layer)}.conv', places[scope]
  if inner == ['project']:  # It is in the list itself; the others are in their own lists.
    return Layer(f'{block}.{number}', f'{block}.{number + 1}')
  return Layer(f'{block}.{number}.0', f'{block}.{number}.1')


_SQUEEZE_EXCITE = {'Conv': 'fc1', 'Conv_1': 'fc2'}


def _mobilenet_v3(scope: str, places: Mapping[str, int]) -> Layer:
  top, layer, *inner = scope.split('/')
  if layer == 'Logits':
    return dense('classifier.3')
  if layer == 'Conv_2':
    return dense('classifier.0')
  if layer in ('Conv', 'Conv_1'):
    # Layers after the last block continue its numbering.
    place = f'features.{places[f"{top}/{layer}"]}'
    return Layer(f'{place}.0', f'{place}.1')
  block = f'{top}/{layer}'
  place = f'features.{_block_number(layer)}.block.{places[f"{block}/{inner[0]}"]}'
  if inner[0] == 'squeeze_excite':
    return Layer(f'{place}.{_SQUEEZE_EXCITE[inner[1]]}')
  is_gated = inner == ['project'] and f'{block}/squeeze_excite' in places
  return Layer(f'{place}.0', f'{place}.1', (GATE,) if is_gated else ())


# Inception V3: the convolutions of each branch of a block, in order. Blocks 6b to 6e have the same
# structure, as do 7b and 7c.
_FIGURE_5 = (('branch1x1',), ('branch5x5_1', 'branch5x5_2'),
             ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3'), ('branch_pool',))
_FIGURE_6 = (('branch1x1',), ('branch7x7_1', 'branch7x7_2', 'branch7x7_3'),
             ('branch7x7dbl_1', 'branch7x7dbl_2', 'branch7x7dbl_3', 'branch7x7dbl_4',
              'branch7x7dbl_5'), ('branch_pool',))
_FIGURE_7 = (('branch1x1',), ('branch3x3_1', 'branch3x3_2a', 'branch3x3_2b'),
             ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3a', 'branch3x3dbl_3b'),
             ('branch_pool',))
_INCEPTION_V3 = {
  **{f'Mixed_5{letter}': _FIGURE_5 for letter in 'bcd'},
  'Mixed_6a': (('branch3x3',), ('branch3x3dbl_1', 'branch3x3dbl_2', 'branch3x3dbl_3')),
  **{f'Mixed_6{letter}': _FIGURE_6 for letter in 'bcde'},
  'Mixed_7a': (('branch3x3_1', 'branch3x3_2'),
               ('branch7x7x3_1', 'branch7x7x3_2', 'branch7x7x3_3', 'branch7x7x3_4')),
  **{f'Mixed_7{letter}': _FIGURE_7 for letter in 'bc'}}
_INCEPTION_V3_AUXILIARY = ('conv0', 'conv1', 'fc')


def _inception_v3(scope: str, places: Mapping[str, int]) -> Layer:
  _, layer, *inner = scope.split('/')
  if layer == 'Logits':
    return dense('fc')
  module = layer
  if layer == 'AuxLogits':
    module = f'{layer}.{_INCEPTION_V3_AUXILIARY[places[scope]]}'
    if module.endswith('fc'):
      return dense(module)
  elif inner:
    branch = int(inner[0].removeprefix('Branch_'))
    module = f'{layer}.{_INCEPTION_V3[layer][branch][places[scope]]}'
  return Layer(f'{module}.conv', f'{module}.bn')


_RESNETS = ('resnet_v1_18', 'resnet_v1_34', 'resnet50_torchvision', 'resnet101_torchvision',
            'resnet152_torchvision')
_NAME = 'torchvision'
_DIALECTS = {
  'alexnet_torchvision': Dialect(_NAME, torch_layers.takes(_alexnet), 'torchvision'),
  **{name: Dialect(_NAME, torch_layers.takes(_vgg(name)), 'torchvision') for name in _VGG_BLOCKS},
  **{name: Dialect(_NAME, torch_layers.takes(_squeezenet(name)), 'torchvision', 224)
     for name in _SQUEEZENET_POOLS},
  **{name: Dialect(_NAME, torch_layers.takes(_resnet), 'torchvision') for name in _RESNETS},
  'inception_v3': Dialect(_NAME, torch_layers.takes(_inception_v3, folds_gamma=True), 'inception',
                          note=BORDER_NOTE),
  'mobilenet_v2': Dialect(_NAME, torch_layers.takes(_mobilenet_v2, epsilon=1e-5 - 1e-3),
                          'torchvision', ODD_SIZE, ODD_NOTE),
  **{name: Dialect(_NAME, torch_layers.takes(_mobilenet_v3), 'torchvision', ODD_SIZE, ODD_NOTE)
     for name in ('mobilenet_v3_large', 'mobilenet_v3_small')}}


def dialects(network: str) -> tuple[Dialect, ...]:
  """Lists torchvision's dialects for a network; none if torchvision does not have it."""
  return (_DIALECTS[network],) if network in _DIALECTS else ()
