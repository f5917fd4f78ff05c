"""Where the variables of our ResNets and SqueezeNets are in the state dicts of PyTorch's.

Each function takes the full name of one of our variables, and returns the key of the same array and
how its layout changes on the way to ours:

- 'conv': [out, in, height, width] to [height, width, in, out];
- 'dense': [out, in] to [in, out], which we keep as [1, 1, in, out];
- 'as it is'.
"""

from __future__ import annotations

_KINDS = {'weights': 'weight', 'biases': 'bias', 'gamma': 'weight', 'beta': 'bias',
          'moving_mean': 'running_mean', 'moving_variance': 'running_var'}
# Numbers of the layers that a pooling follows, beside the first one.
_POOLS = {'squeezenet': (4, 8), 'squeezenet_1_1': (3, 5)}


def resnet_basic(name: str) -> tuple[str, str]:
  """Maps `resnet_v1_18` and `resnet_v1_34` to timm's and torchvision's `resnet18`, `resnet34`.

  Args:
    name: such as `resnet_v1_18/block2/unit_1/basic_v1/conv1/BatchNorm/gamma`, which is
      `layer2.0.bn1.weight`.

  Returns:
    The key and the transform.
  """
  _, *scopes, kind = name.split('/')
  if scopes == ['logits']:
    return f'fc.{_KINDS[kind]}', 'dense' if kind == 'weights' else 'as it is'
  is_norm = scopes[-1] == 'BatchNorm'
  layer = scopes[-2] if is_norm else scopes[-1]
  if layer == 'shortcut':
    layer = 'downsample.1' if is_norm else 'downsample.0'
  elif is_norm:
    layer = layer.replace('conv', 'bn')
  if scopes[0].startswith('block'):
    unit = int(scopes[1].removeprefix('unit_')) - 1
    layer = f'layer{scopes[0].removeprefix("block")}.{unit}.{layer}'
  return f'{layer}.{_KINDS[kind]}', 'as it is' if is_norm else 'conv'


def squeezenet(name: str) -> tuple[str, str]:
  """Maps `squeezenet` and `squeezenet_1_1` to torchvision's `squeezenet1_0` and `squeezenet1_1`.

  Args:
    name: such as `squeezenet/fire5/expand3x3/weights`, which is `features.7.expand3x3.weight`.

  Returns:
    The key and the transform.
  """
  network, layer, *convolution, kind = name.split('/')
  if layer == 'conv1':
    place = 'features.0'
  elif layer == 'conv10':
    place = 'classifier.1'
  else:
    number = int(layer.removeprefix('fire'))
    # A convolution, its ReLU and a pooling come first: fire2 is layer 3. Poolings count as well.
    place = f'features.{number + 1 + sum(number > pool for pool in _POOLS[network])}'
  return '.'.join([place, *convolution, _KINDS[kind]]), 'conv' if kind == 'weights' else 'as it is'
