"""Raw numbers in files as arrays: types, sizes and byte orders."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

BFLOAT16 = 'bfloat16'  # The upper half of a float32; NumPy has no such type.
MOST_DIMENSIONS = 32
_CHUNK = 2 ** 20


def are_counts(*values: Any) -> bool:
  """Returns whether all are non-negative integers that could count elements or bytes."""
  return all(type(value) is int and 0 <= value < 2 ** 48 for value in values)


def itemsize(code: str) -> int:
  """Returns the bytes per element in a file; the code is NumPy's or `BFLOAT16`."""
  return 2 if code == BFLOAT16 else np.dtype(code).itemsize


def read_bytes(source: IO[bytes], size: int) -> np.ndarray:
  """Reads uint8 [size] into new memory.

  Raises:
    ValueError: if the file ends before that.
  """
  raw = np.empty(size, np.uint8)
  view, position = raw.data, 0
  while position < size:
    # Every binary stream has this method, but typeshed's IO does not.
    count = source.readinto(view[position:position + _CHUNK])  # type: ignore[attr-defined]
    if not count:
      raise ValueError('a truncated file')
    position += count
  return raw


def lay_over(raw: np.ndarray, code: str, shape: Sequence[int], *, order: str = '<',
             offset: int = 0, strides: Sequence[int] | None = None) -> np.ndarray:
  """Makes an array from bytes; NumPy checks that it stays within them.

  Args:
    raw: uint8 [size]; the result may share its memory.
    code: NumPy's code for the element type, or `BFLOAT16`.
    shape: shape of the result.
    order: byte order, '<' or '>'.
    offset: offset of the first element, in bytes.
    strides: in bytes; None for C order.

  Returns:
    An array of that type in native byte order; float32 for bfloat16.

  Raises:
    ValueError: if the array is not within the bytes.
  """
  dtype = np.dtype('u2' if code == BFLOAT16 else code)
  dtype = dtype.newbyteorder(order)  # type: ignore[arg-type]  # One of two letters.
  if math.prod(shape):
    array = np.ndarray(shape, dtype, raw, offset, strides)
  else:
    array = np.empty(shape, dtype)
  if code == BFLOAT16:
    return (array.astype(np.uint32) << 16).view(np.float32)
  return array.astype(code, copy=False)
