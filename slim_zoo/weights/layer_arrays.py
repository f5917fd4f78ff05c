"""Arrays of a graph's layers, with names that state the kind of each and its layer."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_BETWEEN = ';'  # Names of tensors, as TensorFlow Lite's converter joins them.
_BEFORE_PART = ' : '
_VARIANCE = 'variance + '
_BEFORE = ' before '
_OF = ' of '

RELU6, FACTOR = 'ReLU6', 'a factor'


class ModelArrays(dict[str, np.ndarray]):
  """The arrays of a whole model by name.

  Attributes:
    facts: what else the file says: `image_size`, if the model takes images of one size.
  """

  def __init__(self, arrays: Mapping[str, np.ndarray], image_size: int | None):
    """Takes the arrays, and the height and width of the images, None if unknown or variable."""
    super().__init__(arrays)
    self.facts: dict[str, Any] = {'image_size': image_size} if image_size else {}


class LayerArrays:
  """Collects layers: operators with constants.

  An array's name consists of the names of its layer's operators and tensors, the result's first,
  and its kind: `net/conv1/Relu;net/conv1/weights : kernel`. Kernels are [height, width, in, out],
  or [in, out] for a fully connected layer; depthwise ones [height, width, channels, multiplier] or
  [height, width, channels · multiplier, 1]. The other kinds are `bias`; `scale` and `offset` of a
  multiplication by constants and an addition, or only `offset`; and for batch norm `gamma`, `beta`,
  `mean` and the result of `variance`. `added` names biases and offsets, and `quantized` names
  kernels that were stored as integers.
  """

  def __init__(self, size: int):
    """Starts without layers; `size`, that of the file in bytes, bounds the names' length."""
    self._arrays: dict[str, np.ndarray] = {}
    self._counts: collections.Counter[str] = collections.Counter()
    self._left = 16 * size + 2 ** 16

  def add(self, names: Iterable[str], **parts: np.ndarray | None) -> None:
    """Adds a layer.

    Args:
      names: names of its operators and tensors, the most informative first.
      **parts: its arrays, by kind; None for those it lacks.
    """
    present = {part: array for part, array in parts.items() if array is not None}
    # The first of several names in one scope is enough.
    by_scope: dict[str, str] = {}
    for name in names:
      for piece in name.split(_BETWEEN):
        by_scope.setdefault(piece.rpartition('/')[0], piece)
    name = _BETWEEN.join(by_scope.values())
    self._counts[name] += 1
    if self._counts[name] > 1:
      name += f'{_BETWEEN}#{self._counts[name]}'
    self._left -= len(present) * (len(name) + 64)
    if self._left < 0:
      raise ValueError('names of layers that are longer than the file')
    self._arrays |= {f'{name}{_BEFORE_PART}{part}': array for part, array in present.items()}

  def add_array(self, name: str, array: np.ndarray) -> None:
    """Adds an array that belongs to no known layer."""
    if _BEFORE_PART in name or name in self._arrays:
      raise ValueError(f'the name {name[:80]!r}')
    self._arrays[name] = array

  def checked(self) -> dict[str, np.ndarray]:
    """Returns all arrays.

    Raises:
      ValueError: if there are none.
    """
    if not self._arrays:
      raise ValueError('a graph without constant weights')
    return self._arrays


def variance(epsilon: float) -> str:
  """Names the variance of batch norm, including its epsilon."""
  return f'{_VARIANCE}{np.float32(epsilon)}'


def added(part: str, then: str) -> str:
  """Names a bias or an offset, including what follows the addition: `RELU6`, `FACTOR` or ''.

  Programs that simplify graphs merge successive additions, and multiply kernels and biases by a
  factor that follows them. What follows shows whether they did.
  """
  return f'{part}{_BEFORE}{then}' if then else part


def quantized(part: str, integers: str) -> str:
  """Names a kernel with the type of the integers that it was dequantized from; '' for none."""
  return f'{part}{_OF}{integers}' if integers else part


@dataclasses.dataclass(frozen=True)
class Layer:
  """A layer of a file.

  Attributes:
    names: names of its operators and tensors, the most informative first.
    parts: `{kind: the array's name}`; the variance of batch norm is `variance`.
    epsilon: epsilon of batch norm, else None.
    then: what follows its addition: `RELU6`, `FACTOR`, or '' for anything else.
    integers: the type that its kernel was dequantized from; '' if it was of floats.
  """
  names: Sequence[str]
  parts: dict[str, str]
  epsilon: float | None
  then: str
  integers: str


def layers_of(arrays: Iterable[str]) -> list[Layer]:
  """Recovers the layers from the names of arrays; arrays that belong to no layer are left out."""
  found: dict[str, dict[str, str]] = {}
  for array in arrays:
    names, between, part = array.rpartition(_BEFORE_PART)
    if between:
      found.setdefault(names, {})[part] = array
  return [_layer(names, parts) for names, parts in found.items()]


def _layer(names: str, named: dict[str, str]) -> Layer:
  parts, epsilon, then, integers = {}, None, '', ''
  for part, array in named.items():
    part, _, after = part.partition(_BEFORE)
    part, _, kind = part.partition(_OF)
    if part.startswith(_VARIANCE):
      part, epsilon = 'variance', float(part.removeprefix(_VARIANCE))
    parts[part], then, integers = array, after or then, kind or integers
  return Layer(names.split(_BETWEEN), parts, epsilon, then, integers)
