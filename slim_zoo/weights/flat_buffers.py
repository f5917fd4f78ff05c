"""Flatbuffers: tables whose fields are found through offsets (https://flatbuffers.dev/internals).

Every access is checked to be within the file. Tables are looked at when they are asked for, and
only as deep as somebody asks: offsets that lead in circles are of no consequence.
"""

from __future__ import annotations

import struct

import numpy as np

_MOST_TABLES = 2 ** 15  # Of one kind, many times what the largest network has.


class Bytes:
  """The bytes of a file, every access within them."""

  def __init__(self, raw: np.ndarray):
    self.raw = raw
    self._view = memoryview(raw)
    self._left = 4 * len(raw) + 2 ** 16  # Texts to read: tables may share them.

  def number(self, code: str, at: int) -> int:
    """Reads a number of the type that `struct` calls so."""
    size = struct.calcsize(code)
    if not 0 <= at <= len(self.raw) - size:
      raise ValueError(f'an offset to the byte {at:,} of {len(self.raw):,}')
    return struct.unpack_from('<' + code, self._view, at)[0]

  def vector(self, at: int, width: int) -> tuple[int, int]:
    """Returns where the elements of a vector begin, and how many of this width they are."""
    count = self.number('I', at)
    if count * width > len(self.raw) - at - 4:
      raise ValueError(f'a vector of {count:,} elements at the byte {at:,} of {len(self.raw):,}')
    return at + 4, count

  def text(self, at: int) -> str:
    """Reads a text."""
    begin, count = self.vector(at, 1)
    self._left -= count
    if self._left < 0:
      raise ValueError('names that are longer than the file')
    return bytes(self._view[begin:begin + count]).decode(errors='replace')


class Table:
  """A table: a list of where each of its fields is, and the fields."""

  def __init__(self, data: Bytes, at: int):
    self._data, self._at = data, at
    self._fields = at - data.number('i', at)
    self._size = data.number('H', self._fields)

  def _place(self, field: int) -> int | None:
    """Returns where a field is, or None if it has its default."""
    entry = 4 + 2 * field
    if entry + 2 > self._size:
      return None
    offset = self._data.number('H', self._fields + entry)
    return self._at + offset if offset else None

  def number(self, field: int, code: str, default: int = 0) -> int:
    """Returns a number."""
    at = self._place(field)
    return default if at is None else self._data.number(code, at)

  def _target(self, field: int) -> int | None:
    at = self._place(field)
    return None if at is None else at + self._data.number('I', at)

  def text(self, field: int) -> str:
    """Returns a text."""
    at = self._target(field)
    return '' if at is None else self._data.text(at)

  def numbers(self, field: int, most: int) -> list[int]:
    """Returns the first 32-bit numbers of a vector."""
    at = self._target(field)
    if at is None:
      return []
    begin, count = self._data.vector(at, 4)
    return [self._data.number('i', begin + 4 * i) for i in range(min(count, most))]

  def bytes_of(self, field: int) -> tuple[int, int] | None:
    """Returns where a vector of bytes begins, and its size."""
    at = self._target(field)
    return None if at is None else self._data.vector(at, 1)

  def table(self, field: int) -> Table | None:
    """Returns a table."""
    at = self._target(field)
    return None if at is None else Table(self._data, at)

  def tables(self, field: int) -> Tables:
    """Returns a vector of tables."""
    at = self._target(field)
    begin, count = (0, 0) if at is None else self._data.vector(at, 4)
    if count > _MOST_TABLES:
      raise ValueError(f'{count:,} tables in one vector')
    return Tables(self._data, begin, count)


class Tables:
  """A vector of tables, each looked up when it is asked for."""

  def __init__(self, data: Bytes, begin: int, count: int):
    self._data, self._begin, self._count = data, begin, count

  def __len__(self) -> int:
    return self._count

  def __getitem__(self, index: int) -> Table:
    if not 0 <= index < self._count:
      raise IndexError(index)
    at = self._begin + 4 * index
    return Table(self._data, at + self._data.number('I', at))
