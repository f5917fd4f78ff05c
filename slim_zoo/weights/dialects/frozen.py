"""Frozen graphs and TensorFlow Lite: layers are found by the scopes in their operators' names.

`MobilenetV1/MobilenetV1/Conv2d_0/Relu6` belongs to our layer `MobilenetV1/Conv2d_0`, because its
parts occur in the name in this order. Graphs may have additional scopes before and within ours, and
batch norm may be folded into the kernel and the biases of the layer before it.
"""

from __future__ import annotations

import fnmatch
import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from nets import scopes
from slim_zoo.weights.dialects.dialect import Dialect, Shapes
from slim_zoo.weights.layer_arrays import FACTOR, RELU6, Layer, layers_of
from slim_zoo.weights.layouts import DEPTHWISE_HWIO, HWIO, Step, Take, constant, plus, times

# The epsilon of batch norm, by network; the first pattern that matches is used.
_EPSILONS = {'resnet*_keras': 1.001e-5, 'resnet*': 1e-5, 'nasnet_cifar': 1e-5, '*': 1e-3}
_NOTE = ('The batch norm of these weights is folded into the layers before it. It is restored as '
         'the identity, which is correct for inference and for training layers after frozen ones. '
         "To train all layers, measure each layer's mean and variance first: convert_weights.py "
         '--reestimate_from=<a folder of photos>.')

_OWN_SCOPE = '/BatchNorm'  # Scope of batch norm within its layer's scope.
# Layers that compute gates, relu6(x + biases + 3): the biases may include the 3.
_GATE, _GATES_OFFSET = '/squeeze_excite/Conv_1', 3
# Factors of a layer's outputs, which may be merged into its kernel and biases.
_FACTORS = {'InceptionResnetV2/Repeat/block35_*/Conv2d_1x1': 0.17,
            'InceptionResnetV2/Repeat_1/block17_*/Conv2d_1x1': 0.10,
            'InceptionResnetV2/Repeat_2/block8_*/Conv2d_1x1': 0.20}
_KERNELS = {'weights': ('kernel', HWIO), 'pointwise_weights': ('kernel', HWIO),
            'depthwise_weights': ('depthwise_kernel', DEPTHWISE_HWIO)}
_BATCH_NORM = {'gamma': 'gamma', 'beta': 'beta', 'moving_mean': 'mean',
               'moving_variance': 'variance'}
# The arrays that identify the kind of a layer in the file; the first one it has counts.
_KINDS = ('mean', 'scale', 'offset', 'kernel', 'depthwise_kernel')
_ADDED = 'added'  # The role of scopes that have biases or batch norm.
_LONGEST_PATH = 64


def epsilon(network: str) -> float:
  """Returns the epsilon of a network's batch norm."""
  return next(value for pattern, value in _EPSILONS.items()
              if fnmatch.fnmatchcase(network, pattern))


def _square_reciprocal(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  del shape
  with np.errstate(divide='ignore'):
    return 1 / np.square(array)


_TO_VARIANCE = Step('1/x²', _square_reciprocal)


def dialects(network: str) -> tuple[Dialect, ...]:
  """Returns the names in frozen graphs and TensorFlow Lite models: the network's own scopes."""
  def taking(*, folded: bool) -> Callable[[Shapes, Shapes], dict[str, Take]]:
    return lambda ours, theirs: _Network(epsilon(network), ours, theirs).takes(folded=folded)

  return (Dialect('frozen', taking(folded=False), knows_heads=True),
          Dialect('frozen, with folded batch norm', taking(folded=True), note=_NOTE,
                  knows_heads=True))


class _Layers:
  """The layers of a file, found by our scopes."""

  def __init__(self, ours: Shapes, theirs: Shapes):
    self._theirs = theirs
    # Scopes by role. A layer belongs to the first scope of a role in its names.
    self._scopes: dict[str, set[str]] = {_ADDED: set(), 'kernel': set(), 'depthwise_kernel': set()}
    for name in ours:
      scope, kind = _split(name)
      role = _KERNELS[kind][0] if kind in _KERNELS else _ADDED
      self._scopes[role] |= {scope, scope.removesuffix(_OWN_SCOPE)}
    known = {tuple(scope.split('/')): scope for scope in set().union(*self._scopes.values())}
    lengths = sorted({len(path) for path in known}, reverse=True)
    self._layers: dict[tuple[str, str, str], list[Layer]] = {}  # By kind, role and scope.
    for layer in layers_of(theirs):
      kind = next((kind for kind in _KINDS if kind in layer.parts), '')
      found = dict.fromkeys(_scope_in(name, known, lengths) for name in layer.names)
      for role, having in self._scopes.items():
        owner = next((scope for scope in found if scope in having), '')
        self._layers.setdefault((kind, role, owner), []).append(layer)
    self._own: dict[str, list[str]] = {}
    for name in theirs:
      for end in _ends(name):
        if end in ours:
          self._own.setdefault(end, []).append(name)

  def find(self, kind: str, wanted: Sequence[str], fits: Callable[[tuple[int, ...]], bool],
           *, role: str = _ADDED) -> list[Layer]:
    """Finds the layers of a kind that belong to a scope.

    Args:
      kind: one of `_KINDS`.
      wanted: names of the scope.
      fits: returns whether an array's shape may be ours; used to choose between several layers.
      role: role of the scope.
    """
    found = [layer for scope in set(wanted) for layer in self._layers.get((kind, role, scope), ())]
    if len(found) > 1:
      found = [layer for layer in found if fits(self._theirs[layer.parts[kind]])]
    return found

  def own(self, name: str) -> str | None:
    """Finds the constant with one of our names, after any prefix."""
    found = self._own.get(name, ())
    return found[0] if len(found) == 1 else None


def _split(name: str) -> tuple[str, str]:
  """Splits a variable's name into its scope and its kind."""
  scope, _, kind = name.rpartition('/')
  return scope, kind


def _ends(name: str) -> Iterable[str]:
  """Lists a name without its first 0, 1, 2, … scopes."""
  parts = name.split('/', _LONGEST_PATH)
  return ('/'.join(parts[i:]) for i in range(len(parts)))


def _scope_in(name: str, known: Mapping[tuple[str, ...], str],
              lengths: Sequence[int]) -> str | None:
  """Returns the longest of our scopes whose parts occur in a name, in order."""
  parts = tuple(name.split('/', _LONGEST_PATH))
  return next((known[parts[i:i + length]] for length in lengths
               for i in range(len(parts) - length, -1, -1) if parts[i:i + length] in known), None)


def _only(found: Sequence[Layer]) -> Layer | None:
  return found[0] if len(found) == 1 else None


def _kernel_fits(shape: tuple[int, ...], found: tuple[int, ...]) -> bool:
  """Returns whether a kernel may be ours, perhaps in another layout."""
  return math.prod(found) == math.prod(shape) and (
    found[-1] == shape[-1] or (len(shape) == 4 and found[-1] == 1))


class _Network:
  """A network's variables, and their arrays in a file."""

  def __init__(self, epsilon: float, ours: Shapes, theirs: Shapes):
    self._epsilon, self._ours, self._layers = epsilon, ours, _Layers(ours, theirs)
    # The layers with kernels, by scope; the last one if a scope has two, since biases follow it.
    self._convolutions: dict[str, Layer | None] = {}
    self._batch_norms: dict[str, list[str]] = {}  # Their variables, by scope.
    for name in ours:
      scope, kind = _split(name)
      if kind in _BATCH_NORM:
        self._batch_norms.setdefault(scope, []).append(name)

  def takes(self, *, folded: bool) -> dict[str, Take]:
    """Finds all variables; with `folded`, also those of folded batch norm."""
    takes = self._kernels()
    for scope, names in self._batch_norms.items():
      takes |= self._there(scope, names) or (self._folded(scope, names) if folded else {})
    taken = {take.key for take in takes.values()}
    for name in self._ours:
      scope, kind = _split(name)
      normalized = scope + _OWN_SCOPE in self._batch_norms
      if kind != 'biases' or (normalized and f'{scope}{_OWN_SCOPE}/beta' not in takes):
        continue
      added, own = self._added(scope), self._layers.own(name)
      if len(added) == 1 and added[0].key not in taken:
        takes[name] = added[0]
      elif own:
        takes[name] = Take(own)
      elif normalized and folded:
        takes[name] = constant(0)  # They were merged into batch norm's offset.
    return takes

  def _kernels(self) -> dict[str, Take]:
    takes = {}
    for name, shape in self._ours.items():
      scope, kind = _split(name)
      if kind not in _KERNELS:
        continue
      part, step = _KERNELS[kind]
      layer = _only(self._layers.find(part, [scope], functools.partial(_kernel_fits, shape),
                                      role=part))
      self._convolutions[scope] = layer
      key = layer.parts[part] if layer else self._layers.own(name)
      if key:
        takes[name] = Take(key, (step, *self._unscaled(scope)))
    return takes

  def _unscaled(self, scope: str) -> tuple[Step, ...]:
    """Divides a scope's arrays by the factor that follows it, if it was merged into them."""
    factor = next((value for pattern, value in _FACTORS.items()
                   if scopes.matches(scope, pattern)), None)
    if factor is None or any(layer.then == FACTOR for _, layer in self._adding(scope)):
      return ()
    return (times(1 / factor),)

  def _find(self, kind: str, scope: str) -> list[Layer]:
    """Finds layers that belong to a scope, or to the scope of the batch norm in it."""
    width = next(shape[-1] for name, shape in self._ours.items() if name.startswith(f'{scope}/'))
    return self._layers.find(kind, (scope, scope.removesuffix(_OWN_SCOPE)),
                             lambda shape: shape[-1] == width)

  def _there(self, scope: str, names: Sequence[str]) -> dict[str, Take]:
    """Finds unfolded batch norm."""
    layer = _only(self._find('mean', scope))
    if not layer:
      own = {name: self._layers.own(name) for name in names}
      return {name: Take(key) for name, key in own.items() if key} if all(own.values()) else {}
    takes = {kind: Take(layer.parts[part]) for kind, part in _BATCH_NORM.items()
             if part in layer.parts}
    difference = (layer.epsilon or 0) - self._epsilon
    if abs(difference) > 1e-6 * self._epsilon:
      takes['moving_variance'] = Take(layer.parts['variance'], (plus(difference),))
    return {name: takes[_split(name)[1]] for name in names if _split(name)[1] in takes}

  def _folded(self, scope: str, names: Sequence[str]) -> dict[str, Take]:
    """Recovers batch norm from its folded form: a factor, if there is one, and an offset."""
    scales, added = self._find('scale', scope), self._added(scope)
    takes = {'moving_mean': constant(0), 'moving_variance': constant(1 - self._epsilon)}
    if len(scales) == 1:
      scale, takes['beta'] = scales[0].parts['scale'], Take(scales[0].parts['offset'])
      if f'{scope}/gamma' in names:
        takes['gamma'] = Take(scale)
      else:  # There is no gamma, only the division by the standard deviation.
        takes['moving_variance'] = Take(scale, (_TO_VARIANCE, plus(-self._epsilon)))
    elif not scales and len(added) == 1:
      takes['gamma'], takes['beta'] = constant(1), added[0]
    else:
      return {}
    return {name: takes[_split(name)[1]] for name in names}

  def _added(self, scope: str) -> list[Take]:
    """Lists the offsets that a scope adds to its outputs."""
    takes = []
    for key, layer in self._adding(scope):
      has_both = scope.endswith(_GATE) and layer.then == RELU6
      steps = (plus(-_GATES_OFFSET),) if has_both else self._unscaled(scope)
      takes.append(Take(key, steps))
    return takes

  def _adding(self, scope: str) -> list[tuple[str, Layer]]:
    """Lists the arrays that a scope adds, and their layers."""
    outer = scope.removesuffix(_OWN_SCOPE)
    if outer in self._convolutions:
      layer = self._convolutions[outer]
    else:
      layer = _only(self._find('kernel', scope))
    found = [(layer.parts['bias'], layer)] if layer and 'bias' in layer.parts else []
    return found + [(layer.parts['offset'], layer) for layer in self._find('offset', scope)]
