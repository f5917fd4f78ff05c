"""The arrays of a file of weights: what each is for, and the statistics of its numbers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np

from files import progress
from slim_zoo.weights.caffe_files import POOLS_FIRST
from slim_zoo.weights.reader import AVERAGE_SUFFIX
from slim_zoo.weights.restore import Source

VARIABLE, AVERAGE, SLOT, COUNTER = 'variable', 'moving average', 'optimizer slot', 'counter'
# Scalars that TensorFlow's optimizers keep beside their slots.
_OF_OPTIMIZERS = ('beta1_power', 'beta2_power')
_CHUNK = 2 ** 20  # Numbers that are converted to float64 at a time.


@dataclasses.dataclass(frozen=True)
class Statistics:
  """The statistics of an array's finite numbers.

  Attributes:
    minimum, maximum, mean, std: None if there are no finite numbers.
    num_nan, num_infinite: how many numbers are not finite.
  """
  minimum: float | None = None
  maximum: float | None = None
  mean: float | None = None
  std: float | None = None
  num_nan: int = 0
  num_infinite: int = 0

  @property
  def is_finite(self) -> bool:
    """Whether all numbers are finite."""
    return not self.num_nan and not self.num_infinite


@dataclasses.dataclass(frozen=True)
class Array:
  """An array of a file.

  Attributes:
    name, shape, dtype: dtype as NumPy names it, once the file is read.
    role: `VARIABLE`, `AVERAGE`, `SLOT` or `COUNTER`.
    num_bytes: its size once the file is read.
    statistics: of its numbers.
  """
  name: str
  shape: tuple[int, ...]
  dtype: str
  role: str
  num_bytes: int
  statistics: Statistics

  @property
  def count(self) -> int:
    """Number of elements."""
    return math.prod(self.shape)


def role(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
  """Returns what an array is for.

  Args:
    name: its name.
    shapes: `{name: shape}` of all arrays of the file.
  """
  if name.endswith(AVERAGE_SUFFIX):
    return AVERAGE
  if name.rpartition('/')[0] in shapes or name in _OF_OPTIMIZERS:  # conv1/weights/Momentum
    return SLOT
  scope, _, last = name.replace('.', '/').rpartition('/')
  if shapes[name] == () and (not scope or last == 'num_batches_tracked'):
    return COUNTER
  return VARIABLE


def read_all(source: Source) -> list[Array]:
  """Reads all arrays of a file, one by one, in the file's order.

  Raises:
    ValueError: if the file is damaged.
  """
  shapes = source.shapes
  names = [name for name in shapes if name != POOLS_FIRST]
  return [_read(source, name, shapes) for name in progress.show(names, len(names), unit='array')]


def _read(source: Source, name: str, shapes: Mapping[str, tuple[int, ...]]) -> Array:
  array = np.asarray(source.read(name))
  return Array(name, array.shape, array.dtype.name, role(name, shapes), array.nbytes,
               measure(array))


def measure(array: np.ndarray) -> Statistics:
  """Computes the statistics of an array; there are none of texts."""
  if array.dtype.kind in 'OSUM' or not array.size:
    return Statistics()
  count, mean, squares = 0, 0.0, 0.0
  minimum, maximum, num_nan, num_infinite = math.inf, -math.inf, 0, 0
  for chunk in _chunks(array):
    finite = chunk[np.isfinite(chunk)]
    num_nan += (nans := int(np.isnan(chunk).sum()))
    num_infinite += chunk.size - finite.size - nans
    if not finite.size:
      continue
    minimum, maximum = min(minimum, float(finite.min())), max(maximum, float(finite.max()))
    # Joins the mean and the sum of squared differences of two sets of numbers.
    own = float(finite.mean())
    total = count + finite.size
    squares += float(np.square(finite - own).sum()) + (
      (own - mean) ** 2 * count * finite.size / total)
    mean += (own - mean) * finite.size / total
    count = total
  if not count:
    return Statistics(num_nan=num_nan, num_infinite=num_infinite)
  return Statistics(minimum, maximum, mean, math.sqrt(squares / count), num_nan, num_infinite)


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
  """Yields an array's numbers as float64, a bounded number at a time."""
  flat = array.reshape(-1)
  for start in range(0, flat.size, _CHUNK):
    yield flat[start:start + _CHUNK].astype(np.float64)
