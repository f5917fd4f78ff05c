"""The features of a split's images, with everything that is needed to use them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from slim_zoo.features.header import Header

ADVICE = 'Make it again with extract_features.py, or copy it again.'
# Bytes of features that are written at a time, and a row group of Parquet at most.
_CHUNK = 2**24


@dataclasses.dataclass(frozen=True)
class Features:
  """The features of a split, in the order of the source.

  Attributes:
    values: float32 [n, …].
    labels: int64 [n], the dataset's labels.
    names: n names of examples.
    class_names: one per label; () if they are not known.
    facts: see `Header`.
  """
  values: np.ndarray
  labels: np.ndarray
  names: tuple[str, ...]
  class_names: tuple[str, ...] = ()
  facts: dict[str, Any] = dataclasses.field(default_factory=dict)

  def __post_init__(self):
    shapes = [self.values.shape, self.labels.shape, (len(self.names),)]
    if self.values.dtype != np.float32 or self.labels.dtype != np.int64 or (
        shapes[1] != shapes[2] or shapes[0][:1] != shapes[1]):
      raise ValueError(f'{self.values.dtype} features, {self.labels.dtype} labels and names of the '
                       f'shapes {shapes}')
    if not len(self.names) or not all(isinstance(name, str) for name in self.names):
      raise ValueError('no examples, or names that are no text')
    lowest, highest = int(self.labels.min()), int(self.labels.max())
    most = len(self.class_names) - 1 if self.class_names else np.inf
    if lowest < 0 or highest > most:
      raise ValueError(f'labels from {lowest} to {highest} of {len(self.class_names) or "any"} '
                       'classes')

  @property
  def header(self) -> Header:
    """The facts about all of them."""
    return Header(len(self.values), self.values.shape[1:], self.class_names, self.facts)

  def class_name(self, label: int) -> str:
    """Returns the name of a label's class, '' if it is not known."""
    return self.class_names[label] if self.class_names else ''

  def chunks(self) -> Iterator[slice]:
    """Returns consecutive rows, of a bounded number of bytes each."""
    rows = max(1, _CHUNK // max(1, 4 * int(np.prod(self.values.shape[1:]))))
    for start in range(0, len(self.values), rows):
      yield slice(start, min(start + rows, len(self.values)))


def as_values(values: Any) -> np.ndarray:
  """Makes float32 [n, …] of numbers, such as pixels in bytes.

  Raises:
    ValueError: if they are no numbers, not of one shape, or too large.
  """
  array = np.asarray(values)
  if array.dtype.kind not in 'biuf' or not array.ndim:
    raise ValueError(f'features of the type {array.dtype} and the shape {array.shape}')
  with np.errstate(over='raise'):
    return np.ascontiguousarray(array, np.float32)


def as_labels(labels: Any) -> np.ndarray:
  """Makes int64 [n] of whole numbers, [n] or [n, 1].

  Raises:
    ValueError: if they are anything else.
  """
  array = np.asarray(labels)
  if array.dtype.kind in 'biuf' and (array.ndim == 1 or array.shape[1:] == (1,)):
    found = array.reshape(-1)
    with np.errstate(invalid='ignore'):
      whole = found.astype(np.int64)
    if np.array_equal(whole, found):
      return whole
  raise ValueError(f'labels of the type {array.dtype} and the shape {array.shape}, which are not '
                   'one whole number per example')


def file_name(name: str) -> bytes:
  """Returns the bytes of an example's name, which need not be UTF-8."""
  return os.fsencode(name)


def collect(header: Header,
            batches: Iterable[tuple[Sequence[bytes], np.ndarray, np.ndarray]]) -> Features:
  """Makes features of the examples of a file.

  Args:
    header: of the file.
    batches: names as `file_name` gives them, labels [rows] and features [rows, …], in order.

  Raises:
    ValueError: if there are more or fewer than the header tells of.
  """
  count = header.num_examples
  values, labels = np.empty([count, header.width], np.float32), np.empty(count, np.int64)
  names: list[bytes] = []
  for batch_names, batch_labels, batch_values in batches:
    rows = slice(len(names), len(names) + len(batch_names))
    if rows.stop > count:
      raise ValueError(f'more than the {count} examples that it tells of')
    values[rows], labels[rows] = batch_values, batch_labels
    names += batch_names
  if len(names) != count:
    raise ValueError(f'{len(names)} of {count} examples')
  return Features(values.reshape(count, *header.shape), labels,
                  tuple(os.fsdecode(name) for name in names), header.class_names, header.facts)
