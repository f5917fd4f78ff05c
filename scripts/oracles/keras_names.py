"""Where the variables of our MobileNet V1 are in Keras' network."""

from __future__ import annotations

from collections.abc import Iterable

_BLOCK_LAYERS = {'depthwise': 'conv_dw', 'pointwise': 'conv_pw'}


def mobilenet_v1(name: str) -> tuple[str, str]:
  """Finds a variable of MobileNet V1 in `keras.applications.MobileNet`.

  Args:
    name: such as `MobilenetV1/Conv2d_1_depthwise/BatchNorm/beta`.

  Returns:
    The names of Keras' layer and of its variable, such as `conv_dw_1_bn` and `beta`.
  """
  layer, *path = name.removeprefix('MobilenetV1/').split('/')
  if layer == 'Logits':
    return 'conv_preds', {'weights': 'kernel', 'biases': 'bias'}[path[-1]]
  _, number, *kind = layer.split('_')
  theirs = f'{_BLOCK_LAYERS[kind[0]]}_{number}' if kind else 'conv1'
  return (f'{theirs}_bn', path[1]) if path[0] == 'BatchNorm' else (theirs, 'kernel')


def mobilenet_v1_variables(model, names: Iterable[str]) -> dict:
  """Maps the names of our variables to those of a `keras.applications.MobileNet`.

  The layouts are the same, but for dimensions of one.

  Raises:
    ValueError: if Keras' network has variables that no name stands for.
  """
  theirs = {(layer.name, variable.name.split('/')[-1]): variable
            for layer in model.layers for variable in layer.weights}
  mapped = {name: theirs.pop(mobilenet_v1(name)) for name in names}
  if theirs:
    raise ValueError(f'The mapping is not whole: {sorted(theirs)[:6]}.')
  return mapped
