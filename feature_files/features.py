"""The features of a split's images, with all that is needed to make use of them."""

from __future__ import annotations

import dataclasses
import json
import operator
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

ADVICE = 'Make it again with extract_features.py, or copy it again.'
# Bytes of features that are written at a time, and a row group of Parquet at most.
_CHUNK = 2**24


@dataclasses.dataclass(frozen=True)
class Header:
  """What a file of features says about itself; all of it is known before the features are.

  Attributes:
    num_examples: how many examples there are.
    shape: of one example's features.
    class_names: one a label; () where they are not known.
    facts: what the features depend on, as JSON holds it: network, end point, weights,
      preprocessing and data; {} where that is not known.
  """
  num_examples: int
  shape: tuple[int, ...]
  class_names: tuple[str, ...]
  facts: dict[str, Any]


def header_text(header: Header) -> str:
  """Returns a header as JSON, with a checksum: not every format has one for what stands there."""
  entries = dataclasses.asdict(header)
  return json.dumps({**entries, 'crc32': _checksum(entries)})


def _checksum(entries: dict[str, Any]) -> int:
  return zlib.crc32(json.dumps(entries, sort_keys=True).encode())


def header_of(text: str | bytes) -> Header:
  """Returns the header that `header_text` made a text of.

  Raises:
    ValueError: if it is another text.
  """
  try:
    entries = json.loads(text)
    if entries.pop('crc32') != _checksum(entries):
      raise ValueError
    count, *shape = (operator.index(n) for n in (entries['num_examples'], *entries['shape']))
    header = Header(count, tuple(shape), tuple(map(str, entries['class_names'])),
                    dict(entries['facts']))
  except (KeyError, TypeError, ValueError) as error:
    raise ValueError('no description of its features') from error
  if min(count, *shape, 1) < 1:
    raise ValueError(f'{count} examples of the shape {header.shape}')
  return header


@dataclasses.dataclass(frozen=True)
class Features:
  """The features of a split, in the order of the source.

  Attributes:
    values: float32 [n, …].
    labels: int64 [n], the dataset's labels.
    names: n names of examples.
    class_names: one a label; () where they are not known.
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
    """Returns the name of a label's class, '' where it is not known."""
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
                   'one whole number an example')


def file_name(name: str) -> bytes:
  """Returns the bytes of an example's name, which need not be UTF-8."""
  return os.fsencode(name)


def as_names(names: Sequence[bytes]) -> tuple[str, ...]:
  """Makes names of the bytes that `file_name` gave."""
  return tuple(os.fsdecode(name) for name in names)
