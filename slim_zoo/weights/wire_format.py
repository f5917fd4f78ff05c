"""Protocol buffers' wire format, for messages without a public class in any dependency.

(https://protobuf.dev/programming-guides/encoding.) Nothing is copied: a length-delimited field is a
view of the file's bytes, however deeply messages are nested.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


def varint(data: memoryview, at: int) -> tuple[int, int]:
  """Reads a varint.

  Args:
    data: bytes.
    at: index of its first byte.

  Returns:
    The number, unsigned, and the index after it.

  Raises:
    ValueError: if it is truncated or too long.
  """
  value = 0
  for shift in range(0, 7 * _LONGEST_VARINT, 7):
    if at >= len(data):
      raise ValueError('a message that ends within a number')
    byte = data[at]
    at += 1
    value |= (byte & 127) << shift
    if byte < 128:
      if (shift and not byte) or value >= 2 ** 64:  # Some readers accept it, others do not.
        raise ValueError('a number with superfluous bytes')
      return value, at
  raise ValueError('a number of more than ten bytes')


def fields(message: memoryview) -> Iterator[tuple[int, int, Any]]:
  """Reads the fields of a message.

  Args:
    message: its bytes.

  Yields:
    Each field's number and kind, and its value: an int for `VARINT`, else a memoryview.

  Raises:
    ValueError: if the bytes are not a message.
  """
  at = 0
  while at < len(message):
    key, at = varint(message, at)
    number, kind = key >> 3, key & 7
    if kind == VARINT:
      value, at = varint(message, at)
      yield number, kind, value
      continue
    if kind == BYTES:
      size, at = varint(message, at)
    elif kind in (FIXED64, FIXED32):
      size = 8 if kind == FIXED64 else 4
    else:
      raise ValueError(f'a field of the kind {kind}')
    if not number or size > len(message) - at:
      raise ValueError(f'the field {number} of {size:,} bytes, with {len(message) - at:,} left')
    yield number, kind, message[at:at + size]
    at += size


def first_fields(beginning: memoryview) -> Iterator[tuple[int, int, Any]]:
  """Reads the fields of the beginning of a message, of which the rest is not there.

  Args:
    beginning: the message's first bytes.

  Yields:
    Like `fields`; the last value may be cut short.

  Raises:
    ValueError: if the bytes are not the beginning of a message, or end within a number.
  """
  at = 0
  while at < len(beginning):
    key, at = varint(beginning, at)
    number, kind = key >> 3, key & 7
    value: Any
    if kind == VARINT:
      value, at = varint(beginning, at)
    elif kind == BYTES:
      size, at = varint(beginning, at)
      value, at = beginning[at:at + size], at + size
    else:
      raise ValueError(f'a field of the kind {kind}')
    yield number, kind, value


def is_text(value: Any) -> bool:
  """Tells whether the value of a field is printable text, such as a name."""
  try:
    text = bytes(value).decode()
  except (TypeError, UnicodeDecodeError):
    return False
  return bool(text) and text.isprintable()


def signed(value: int) -> int:
  """Reinterprets an unsigned 64-bit number as signed."""
  return value - 2 ** 64 if value >= 2 ** 63 else value


def varints(message: memoryview, most: int) -> list[int]:
  """Reads the packed numbers in one field, as signed ones.

  Raises:
    ValueError: if there are more than `most`, or they are truncated.
  """
  numbers, at = [], 0
  while at < len(message):
    value, at = varint(message, at)
    numbers.append(signed(value))
    if len(numbers) > most:
      raise ValueError(f'a field of more than {most:,} numbers')
  return numbers
