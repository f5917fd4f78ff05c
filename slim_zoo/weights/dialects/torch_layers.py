"""What PyTorch's state dicts have in common: a layer's arrays, and how layers are numbered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

from slim_zoo.weights.dialects.dialect import Shapes
from slim_zoo.weights.layouts import DEPTHWISE_OIHW, OI, OIHW, Step, Take, plus

# {our name of an array: (PyTorch's, steps from its layout to ours)}.
ARRAYS: Mapping[str, tuple[str, tuple[Step, ...]]] = {
  'weights': ('weight', (OIHW,)), 'depthwise_weights': ('weight', (DEPTHWISE_OIHW,)),
  'biases': ('bias', ()), 'gamma': ('weight', ()), 'beta': ('bias', ()),
  'moving_mean': ('running_mean', ()), 'moving_variance': ('running_var', ())}
_OF_BATCH_NORM = ('gamma', 'beta', 'moving_mean', 'moving_variance')


@dataclasses.dataclass(frozen=True)
class Layer:
  """A layer in a state dict; the names are the paths of modules.

  Attributes:
    convolution: the convolution or fully connected layer.
    batch_norm: the batch norm after it; '' if there is none.
    steps: further steps for the weights, after the change of layout.
    is_dense: whether it is a fully connected layer in PyTorch.
  """
  convolution: str
  batch_norm: str = ''
  steps: tuple[Step, ...] = ()
  is_dense: bool = False


def dense(name: str) -> Layer:
  """Names a fully connected layer."""
  return Layer(name, is_dense=True)


def places(names: Iterable[str]) -> dict[str, int]:
  """Numbers each scope within its parent, from zero, in the order of the layers.

  Args:
    names: names of our variables, in the order of the layers.

  Returns:
    `{scope: number}`, such as 1 for `net/block/depthwise` if `net/block/expand` comes first.
  """
  found: dict[str, int] = {}
  numbers: dict[str, int] = {}
  for name in names:
    parts = name.split('/')[:-1]
    for depth in range(1, len(parts) + 1):
      scope, outer = '/'.join(parts[:depth]), '/'.join(parts[:depth - 1])
      if scope not in found:
        found[scope] = numbers[outer] = numbers.get(outer, -1) + 1
  return found


def takes(find: Callable[[str, Mapping[str, int]], Layer | None], *,
          arrays: Mapping[str, tuple[str, tuple[Step, ...]]] = ARRAYS, epsilon: float = 0.0,
          folds_gamma: bool = False) -> Callable[[Shapes, Shapes], dict[str, Take]]:
  """Makes `Dialect.takes` from a function that finds a layer.

  Args:
    find: `find(scope, places) -> Layer`, for the full scope of one of our layers and the numbers of
      all scopes. None if the state dict has no such layer.
    arrays: the names of a layer's arrays.
    epsilon: the epsilon of PyTorch's batch norms minus ours; it is added to the variance.
    folds_gamma: whether PyTorch's batch norms have scales and ours none; they are folded into the
      convolution before it and the mean. In inference that is equivalent; in training, which uses
      the batch's own variance, only for scales of 1, as in weights from TensorFlow.
  """
  def function(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
    del theirs
    numbers, found = places(ours), {}
    for name in ours:
      scope, _, kind = name.rpartition('/')
      layer = find(scope.removesuffix('/BatchNorm'), numbers)
      if layer is not None and kind in arrays:
        found[name] = _take(layer, kind)
    return found

  def _take(layer: Layer, kind: str) -> Take:
    array, steps = arrays[kind]
    module = layer.batch_norm if kind in _OF_BATCH_NORM else layer.convolution
    if kind == 'moving_variance' and epsilon:
      steps = (*steps, plus(epsilon))
    if kind == 'weights':
      steps = (*((OI,) if layer.is_dense else steps), *layer.steps)
    is_scaled = folds_gamma and layer.batch_norm and kind in ('weights', 'moving_mean')
    return Take(f'{module}.{array}', steps, f'{layer.batch_norm}.weight' if is_scaled else '')

  return function
