"""Writers of protocol buffers and TensorFlow's tables that can also write invalid content.

Written from the formats' specifications; they share no code with the readers.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5


def _crc_table() -> list[int]:
  table = list(range(256))
  for _ in range(8):
    table = [value >> 1 ^ (0x82F63B78 if value & 1 else 0) for value in table]
  return table


_CRC = _crc_table()


def masked_crc32c(data: bytes) -> int:
  """Returns the checksum that TensorFlow stores for some bytes."""
  value = 2 ** 32 - 1
  for byte in data:
    value = _CRC[(value ^ byte) & 255] ^ value >> 8
  value ^= 2 ** 32 - 1
  return ((value >> 15 | value << 17) + 0xA282EAD8) & 2 ** 32 - 1


def varint(number: int) -> bytes:
  """Encodes a number as a varint; negative ones as protocol buffers do."""
  number &= 2 ** 64 - 1
  result = bytearray()
  while number > 127:
    result.append(number & 127 | 128)
    number >>= 7
  return bytes([*result, number])


def field(number: int, value: int | str | bytes) -> bytes:
  """Writes a field of a message: a number, or length-delimited content."""
  if isinstance(value, int):
    return varint(number << 3) + varint(value)
  value = value.encode() if isinstance(value, str) else value
  return varint(number << 3 | 2) + varint(len(value)) + value


def fixed32(number: int, value: int) -> bytes:
  """Writes a field of four bytes."""
  return varint(number << 3 | 5) + struct.pack('<I', value)


def block(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
  """Writes a block of a table; no key shares a prefix with the one before it."""
  parts = [varint(0) + varint(len(key)) + varint(len(value)) + key + value
           for key, value in entries]
  return b''.join(parts) + struct.pack('<II', 0, 1)


def table(blocks: Sequence[tuple[bytes, bytes]], index: bytes | None = None) -> bytes:
  """Writes a table with correct checksums.

  Args:
    blocks: the last key and the content of each; see `block`.
    index: replaces the index block, if not None.
  """
  result, listed = bytearray(), []

  def add(content: bytes) -> bytes:
    place = varint(len(result)) + varint(len(content))
    checksum = masked_crc32c(content + b'\0')
    result.extend(content + b'\0' + struct.pack('<I', checksum))
    return place

  for key, content in blocks:
    listed.append((key, add(content)))
  places = add(block([])) + add(block(listed) if index is None else index)
  return bytes(result) + places.ljust(40, b'\0') + struct.pack('<Q', _MAGIC)


def shape(*sizes: int) -> bytes:
  """Writes TensorFlow's shape message."""
  return b''.join(field(2, field(1, size) if size else b'') for size in sizes)
