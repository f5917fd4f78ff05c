"""Reading the structure of the tables that TensorFlow's checkpoints are made of.

A table has blocks of sorted entries, an index block, and a footer with the position of the index
(https://github.com/google/leveldb/blob/main/doc/table_format.md). TensorFlow's reader trusts the
footer and the blocks. A table that passes the checks here is entirely within its file, and a search
finds exactly what reading it from the start finds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from slim_zoo.weights.wire_format import varint

_FOOTER, _MAGIC = 48, bytes.fromhex('57fb808b247547db')
_TRAILER = 5  # Bytes after a block: the kind of its compression, and a checksum.
_MOST_ENTRIES = 2 ** 18


def entries(table: memoryview) -> Iterator[tuple[bytes, memoryview]]:
  """Reads a table, block by block.

  Args:
    table: the file's bytes.

  Yields:
    Keys and values, sorted by their keys.

  Raises:
    ValueError: if anything is not as TensorFlow writes it. Checksums are not checked.
  """
  if len(table) < _FOOTER or table[-len(_MAGIC):] != _MAGIC:
    raise ValueError('a file without the footer of a table')
  footer = table[-_FOOTER:-len(_MAGIC)]
  _, at = _handle(footer, 0, table)
  index, _ = _handle(footer, at, table)
  budget = [_MOST_ENTRIES, 16 * len(table) + 2 ** 16]
  last = None
  for _, place in _block(index, budget):
    block, end = _handle(place, 0, table)
    if end != len(place):
      raise ValueError('a place of a block with something behind it')
    for key, value in _block(block, budget):
      if last is not None and key <= last:
        raise ValueError('a table that is not sorted')
      last = key
      yield key, value


def _handle(data: memoryview, at: int, table: memoryview) -> tuple[memoryview, int]:
  """Reads a block's position; returns the block, and the index after the position."""
  offset, at = varint(data, at)
  size, at = varint(data, at)
  end = offset + size + _TRAILER
  if end > len(table) - _FOOTER:
    raise ValueError(f'a block that ends at {end:,} in a file of {len(table):,} bytes')
  if table[offset + size]:
    raise ValueError('a compressed block')
  return table[offset:offset + size], at


def _block(block: memoryview, budget: list[int]) -> Iterator[tuple[bytes, memoryview]]:
  """Reads a block's entries; the budget is the remaining number of entries and bytes of keys.

  A key shares a prefix with the key before it, except at the restart points listed at the end of
  the block, where searches start.
  """
  if len(block) < 4:
    raise ValueError('a block without an end')
  count = int.from_bytes(block[-4:], 'little')
  end = len(block) - 4 * (count + 1)
  if not 0 < count <= _MOST_ENTRIES or end < 0:
    raise ValueError(f'a block of {len(block):,} bytes with {count:,} starts')
  starts = set(np.frombuffer(block[end:-4], '<u4').tolist())
  at, key = 0, b''
  while at < end:
    begin = at
    shared, at = varint(block, at)
    own, at = varint(block, at)
    size, at = varint(block, at)
    if shared > len(key) or own + size > end - at or (begin in starts and shared):
      raise ValueError('an entry that is not within its block')
    starts.discard(begin)
    key = key[:shared] + bytes(block[at:at + own])
    budget[:] = budget[0] - 1, budget[1] - len(key)
    if min(budget) < 0:
      raise ValueError('more or longer names than a checkpoint has')
    at += own
    yield key, block[at:at + size]
    at += size
  if starts - {0}:
    raise ValueError('a block with starts where no entry is')


def is_table(path: str | os.PathLike[str]) -> bool:
  """Returns whether a file ends like a table."""
  with open(path, 'rb') as file:
    file.seek(-min(file.seek(0, os.SEEK_END), len(_MAGIC)), os.SEEK_END)
    return file.read() == _MAGIC
