"""Flatbuffers, read with the `flatbuffers` package (https://flatbuffers.dev/internals).

The package never reads a number outside the file, but it has no verifier in Python and trusts the
lengths of vectors and strings. These are checked here, as is the total that tables can claim by
sharing parts. Tables are looked up only on access, so circular offsets do no harm.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flatbuffers import number_types
from flatbuffers import table as flatbuffers_table

from files.raw_tensors import itemsize, lay_over

_MOST_TABLES = 2 ** 15  # In one vector; many times more than in the largest network.
_FLAGS = {'b': number_types.Int8Flags, 'i': number_types.Int32Flags,
          'I': number_types.Uint32Flags, 'Q': number_types.Uint64Flags}


class Bytes:
  """The bytes of a file.

  Attributes:
    raw: uint8 [size].
  """

  def __init__(self, raw: np.ndarray):
    self.raw, self._view = raw, raw.data
    self._left = 4 * len(raw) + 2 ** 16  # Bytes of strings that may be read; tables may share them.

  def table(self, at: int) -> Table:
    """Returns the table that the offset at a position refers to; the root's offset is at 0.

    Raises:
      struct.error, TypeError: here and in all that follows, if a number is outside the file.
    """
    place = flatbuffers_table.Table(self._view, at).Indirect(at)
    return Table(self, flatbuffers_table.Table(self._view, place))

  def count_text(self, size: int) -> None:
    """Counts the bytes of a string; ValueError if the total is too large for the file."""
    self._left -= size
    if self._left < 0:
      raise ValueError('names that are longer than the file')


class Table:
  """A table, whose fields are identified by their numbers in the schema."""

  def __init__(self, data: Bytes, table: flatbuffers_table.Table):
    self._data, self._table = data, table

  def _offset(self, field: int) -> int:
    """Returns the offset of a field within the table; 0 if it has its default."""
    return self._table.Offset(4 + 2 * field)

  def number(self, field: int, code: str, default: int = 0) -> int:
    """Returns a number of the type given by a `struct` code."""
    return self._table.GetSlot(4 + 2 * field, default, _FLAGS[code])

  def _vector(self, field: int, width: int) -> tuple[int, int]:
    """Returns the start of a vector's elements and their number, given their width in bytes."""
    offset = self._offset(field)
    if not offset:
      return 0, 0
    begin, count = self._table.Vector(offset), self._table.VectorLen(offset)
    if begin + count * width > len(self._data.raw):
      raise ValueError(f'a vector of {count:,} elements at the byte {begin:,} of '
                       f'{len(self._data.raw):,}')
    return begin, count

  def text(self, field: int) -> str:
    """Returns a string; '' if there is none."""
    begin, size = self._vector(field, 1)
    self._data.count_text(size)
    return self._data.raw[begin:begin + size].tobytes().decode(errors='replace')

  def numbers(self, field: int, most: int) -> list[int]:
    """Returns the first 32-bit numbers of a vector, signed; none if there is no vector."""
    begin, count = self._vector(field, 4)
    return [self._table.Get(number_types.Int32Flags, begin + 4 * i)
            for i in range(min(count, most))]

  def array(self, field: int, code: str) -> np.ndarray:
    """Returns a vector of numbers of NumPy's type `code`; an empty one if there is no vector."""
    begin, count = self._vector(field, itemsize(code))
    return lay_over(self._data.raw, code, (count,), offset=begin)

  def bytes_of(self, field: int) -> tuple[int, int]:
    """Returns the start of a vector of bytes, and its size; the size is 0 if there is none."""
    return self._vector(field, 1)

  def table(self, field: int) -> Table | None:
    """Returns a table; None if there is none."""
    offset = self._offset(field)
    return self._data.table(self._table.Pos + offset) if offset else None

  def tables(self, field: int) -> Tables:
    """Returns a vector of tables."""
    begin, count = self._vector(field, 4)
    if count > _MOST_TABLES:
      raise ValueError(f'{count:,} tables in one vector')
    return Tables(self._data, begin, count)


class Tables(Sequence[Table]):
  """A vector of tables, each looked up on access."""

  def __init__(self, data: Bytes, begin: int, count: int):
    self._data, self._begin, self._count = data, begin, count

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, index):
    if not 0 <= index < self._count:
      raise IndexError(index)
    return self._data.table(self._begin + 4 * index)
