"""Checking TensorFlow's checkpoint files before its own reader opens them.

That reader aborts the process, or allocates as much memory as a file claims, if a shape, type or
length is not as TensorFlow writes it; checksums don't help against crafted files. It still does the
reading: this module only checks the index and the sizes first, without reading tensors.
"""

from __future__ import annotations

import dataclasses
import math
import mmap
import os
from collections.abc import Mapping
from typing import Any, BinaryIO

import tensorflow as tf

from files.raw_tensors import MOST_DIMENSIONS, are_counts
from slim_zoo.weights import table_files
from slim_zoo.weights.wire_format import BYTES, FIXED32, VARINT, fields, signed, varint

_MOST_SHARDS, _MOST_PARTS = 99_999, 4096
_STRING_CHECKSUM = 4


@dataclasses.dataclass(frozen=True)
class Entry:
  """The location of a tensor in the data files next to an index.

  Attributes:
    dtype: number of TensorFlow's type.
    shape: shape of the tensor.
    shard, offset, size: the data file, and the tensor's position and size in it, in bytes.
    is_partitioned: whether it is saved in parts, under other names.
  """
  dtype: int
  shape: tuple[int, ...]
  shard: int
  offset: int
  size: int
  is_partitioned: bool


@dataclasses.dataclass(frozen=True)
class Index:
  """The index of a checkpoint in TensorFlow's V2 format.

  Attributes:
    prefix: the checkpoint's path without suffixes.
    num_shards: number of data files.
    entries: `{name: entry}`.
  """
  prefix: str
  num_shards: int
  entries: Mapping[str, Entry]

  def check(self, name: str) -> None:
    """Checks that a tensor is within its data file and has the size implied by its shape.

    Raises:
      ValueError: if not, or if its type or kind is not supported.
      OSError: if there is no data file.
    """
    entry = self.entries.get(name)
    if entry is None:
      raise ValueError(f'no tensor {name!r:.80}')
    path = f'{self.prefix}.data-{entry.shard:05}-of-{self.num_shards:05}'
    end, dtype = entry.offset + entry.size, _dtype(entry.dtype)
    if entry.is_partitioned or dtype is None:
      raise ValueError(f'the tensor {name!r:.80} is '
                       f'{"in parts" if dtype else f"of the type {entry.dtype}"}')
    if entry.shard >= self.num_shards:
      raise ValueError(f'the tensor {name!r:.80} in the data file {entry.shard:,} of '
                       f'{self.num_shards:,}')
    if end > (size := os.path.getsize(path)):
      raise ValueError(f'{path} has {size:,} bytes, but the index says that the tensor '
                       f'{name!r:.80} ends at byte {end:,}')
    count = math.prod(entry.shape)
    if dtype == tf.string:
      with open(path, 'rb') as file:
        _check_strings(memoryview(_mapped(file))[entry.offset:end], count)
    elif count * dtype.size != entry.size:
      raise ValueError(f'the tensor {name!r:.80} of the shape {entry.shape} in {entry.size:,} '
                       'bytes')


def read_index(prefix: str) -> Index:
  """Reads `PREFIX.index`.

  Raises:
    ValueError: if it is not as TensorFlow writes it.
    OSError: if it does not exist or cannot be read.
  """
  num_shards, entries = None, {}
  with open(f'{prefix}.index', 'rb') as file:
    for key, value in table_files.entries(memoryview(_mapped(file))):
      if num_shards is None:
        num_shards = _num_shards(key, value)
      elif key.startswith(b'\0'):
        _entry(value)  # Part of a tensor.
      else:
        entries[key.decode()] = _entry(value)
  if num_shards is None:
    raise ValueError('an index without a header')
  return Index(prefix, num_shards, entries)


def check_slices(path: str) -> int:
  """Checks a file in TensorFlow's V1 format, which has index and data in one.

  Returns:
    The size of the file.

  Raises:
    ValueError: if it is not such a file.
    OSError: if it does not exist or cannot be read.
  """
  with open(path, 'rb') as file:
    for _ in table_files.entries(memoryview(_mapped(file))):
      pass
    return os.fstat(file.fileno()).st_size


def _mapped(file: BinaryIO) -> mmap.mmap:
  """Maps a file into memory, so that only the accessed parts are read."""
  if not os.fstat(file.fileno()).st_size:
    raise ValueError(f'{file.name} is empty')
  return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _dtype(number: int) -> tf.DType | None:
  """Returns TensorFlow's numeric or string type for an enum value, or None."""
  try:
    dtype = tf.as_dtype(number)
  except TypeError:
    return None
  return None if number > 100 or dtype in (tf.resource, tf.variant) else dtype


def _check_strings(data: memoryview, count: int) -> None:
  """Checks strings, which are stored as lengths, a checksum, and the characters."""
  if count > len(data):
    raise ValueError(f'{count:,} texts in {len(data):,} bytes')
  at = total = 0
  for _ in range(count):
    length, at = varint(data, at)
    total += length
  if at + _STRING_CHECKSUM + total != len(data):
    raise ValueError(f'texts of {total:,} characters in {len(data):,} bytes')


# Messages. TensorFlow's reader aborts the process if it cannot parse one, so anything it might
# reject is rejected here, such as unknown or repeated fields.

_HEADER = {1: VARINT, 2: VARINT, 3: BYTES}  # num_shards, endianness, version
_ENTRY = {1: VARINT, 2: BYTES, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: BYTES}
_SLICES = 7
_SHAPE = {2: BYTES}  # dim
_DIM = {1: VARINT}  # size


def _message(data: memoryview, known: Mapping[int, int],
             repeated: int | None = None) -> dict[int, Any]:
  """Reads a message of known fields; the values of the repeatable one are a list."""
  values: dict[int, Any] = {} if repeated is None else {repeated: []}
  for number, kind, value in fields(data):
    if known.get(number) != kind or (number in values and number != repeated):
      raise ValueError(f'an entry with the field {number} of the kind {kind}')
    if number == repeated:
      values[repeated].append(value)
      if len(values[repeated]) > _MOST_PARTS:
        raise ValueError(f'an entry of more than {_MOST_PARTS:,} parts')
    else:
      values[number] = value
  return values


def _num_shards(key: bytes, value: memoryview) -> int:
  count = _message(value, _HEADER).get(1, 0)
  if key or not 0 < count <= _MOST_SHARDS:
    raise ValueError(f'an index of {count:,} data files')
  return count


def _entry(value: memoryview) -> Entry:
  found = _message(value, _ENTRY, repeated=_SLICES)
  dims = _message(found.get(2, memoryview(b'')), _SHAPE, repeated=2)[2]
  shape = tuple(signed(_message(dim, _DIM).get(1, 0)) for dim in dims)
  shard, offset, size = (signed(found.get(number, 0)) for number in (3, 4, 5))
  if len(shape) > MOST_DIMENSIONS or not are_counts(
      *shape, math.prod(n for n in shape if n), shard, offset, size):
    raise ValueError(f'a tensor of the shape {shape!s:.80}, {size:,} bytes at {offset:,}')
  if len({_extents(part, shape) for part in found[_SLICES]}) < len(found[_SLICES]):
    raise ValueError('a tensor with the same part twice')
  return Entry(found.get(1, 0), shape, shard, offset, size, bool(found[_SLICES]))


def _extents(part: memoryview, shape: tuple[int, ...]) -> tuple[tuple[int, int | None], ...]:
  """Reads a part of a tensor: start and length in each dimension, None for all of it."""
  extents: list[tuple[int, int | None]] = []
  messages = _message(part, {1: BYTES}, repeated=1)[1]
  if len(messages) != len(shape):
    raise ValueError(f'a part of {len(messages)} dimensions of the shape {shape}')
  for message, size in zip(messages, shape, strict=True):
    found = _message(message, {1: VARINT, 2: VARINT})
    begin, length = (signed(found.get(number, 0)) for number in (1, 2))
    if begin < 0 or length < 0 or begin + length > size or bool(length) != (2 in found) or (
        begin and not length):
      raise ValueError(f'a part from {begin:,} of {length:,} in a dimension of {size:,}')
    extents.append((begin, length or None))
  return tuple(extents)
