"""Reading safetensors files with Hugging Face's library.

A file consists of the length of a header, the header (JSON: names, types, shapes, offsets), and raw
numbers (https://huggingface.co/docs/safetensors). The library checks that the tensors fill the data
without holes or overlaps. This module checks the rest: repeated names, of which the library uses
the last, the length of the header, and types that NumPy does not have.
"""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import safetensors

from files.raw_tensors import MOST_DIMENSIONS
from files.unpickling import reading

_LONGEST_HEADER = 2 ** 24  # Room for 100,000 tensors; the library's own limit is 100 MB.
_TYPES = ('F64', 'F32', 'F16', 'BF16', 'I64', 'I32', 'I16', 'I8', 'U64', 'U32', 'U16', 'U8', 'BOOL')


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a safetensors file.

  Args:
    path: a `.safetensors` file.

  Returns:
    `{name: array}` in the order of the data. bfloat16 is returned as float32.

  Raises:
    ValueError: if the file is damaged.
    OSError: if it does not exist or cannot be read.
  """
  advice = 'Download or copy it again, or name another file.'
  with reading(path, 'a safetensors file', advice) as (file, size):
    header = _header(file, size)
    try:
      with safetensors.safe_open(path, 'numpy') as tensors:
        # The library's own order by offset is not deterministic if some tensors are empty.
        names = sorted(tensors.keys(), key=lambda name: (header[name]['data_offsets'], name))
        return {name: _array(tensors, name) for name in names}
    except safetensors.SafetensorError as error:
      raise ValueError(_reason(error, header, start=file.tell(), size=size)) from error


def _reason(error: Exception, header: dict[str, Any], *, start: int, size: int) -> str:
  """Returns the library's reason; that for a short file in plain words."""
  if 'not fully covered' in str(error):  # So every entry is complete.
    end = start + max((entry['data_offsets'][1] for name, entry in header.items()
                       if name != '__metadata__'), default=0)
    if end > size:
      return f'a file that is cut short: {size:,} of {end:,} bytes'
  return str(error)


def _header(file: BinaryIO, size: int) -> dict[str, Any]:
  """Reads the header and rejects repeated names; the library checks everything else."""
  length = int.from_bytes(file.read(8), 'little')
  if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
    raise ValueError(f'a header of {length:,} bytes in a file of {size:,}')
  return json.loads(file.read(length).decode(), object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  result: dict[str, Any] = {}
  for name, value in pairs:
    if name in result:
      raise ValueError(f'the name {name!r:.80} twice')
    result[name] = value
  return result


def _array(tensors: Any, name: str) -> np.ndarray:
  tensor = tensors.get_slice(name)
  if tensor.get_dtype() not in _TYPES:
    raise ValueError(f'the tensor {name!r:.80} of the unknown type {tensor.get_dtype()}')
  if len(tensor.get_shape()) > MOST_DIMENSIONS:
    raise ValueError(f'the tensor {name!r:.80} of {len(tensor.get_shape())} dimensions')
  array = tensors.get_tensor(name)
  return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array
