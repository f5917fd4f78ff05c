"""Reading safetensors files, without the package of that name.

A file is the length of a header, the header (JSON: names, types, shapes, places), and raw numbers
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from files.raw_tensors import (
  BFLOAT16,
  MOST_DIMENSIONS,
  are_counts,
  itemsize,
  lay_over,
  read_bytes,
)
from files.unpickling import reading

_LONGEST_HEADER = 2 ** 24  # Room for 100,000 tensors.
_TYPES = {
  'F64': 'f8', 'F32': 'f4', 'F16': 'f2', 'BF16': BFLOAT16, 'I64': 'i8', 'I32': 'i4', 'I16': 'i2',
  'I8': 'i1', 'U64': 'u8', 'U32': 'u4', 'U16': 'u2', 'U8': 'u1', 'BOOL': '?',
}


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a safetensors file.

  Args:
    path: a `.safetensors` file.

  Returns:
    `{name: array}` in the order of the data. bfloat16 is returned as float32.

  Raises:
    ValueError: if the file is damaged.
    OSError: if it does not exist or may not be read.
  """
  advice = 'Copy it again, or name another file.'
  with reading(path, 'a safetensors file', advice) as (file, size):
    length = int.from_bytes(file.read(8), 'little')
    if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
      raise ValueError(f'a header of {length:,} bytes in a file of {size:,}')
    header = json.loads(file.read(length).decode(), object_pairs_hook=_unique)
    if type(header) is not dict:
      raise ValueError('a header that is no object')
    header.pop('__metadata__', None)
    layout = _checked_layout(header, size - 8 - length)
    return {name: lay_over(read_bytes(file, count), code, shape)
            for name, shape, code, count in layout}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  result = dict(pairs)
  if len(result) != len(pairs):
    raise ValueError('a name that is there twice')
  return result


def _checked_layout(header: Mapping[str, Any],
                    size: int) -> list[tuple[str, tuple[int, ...], str, int]]:
  """Returns (name, shape, type, bytes) of tensors that fill the data without holes or overlaps."""
  entries = []
  for name, entry in header.items():
    if type(entry) is not dict or set(entry) != {'dtype', 'shape', 'data_offsets'}:
      raise ValueError(f'the entry {name!r:.80} without type, shape and offsets')
    shape, offsets = entry['shape'], entry['data_offsets']
    code = _TYPES.get(entry['dtype']) if type(entry['dtype']) is str else None
    if code is None:
      raise ValueError(f'the tensor {name!r:.80} of an unknown type')
    if type(shape) is not list or len(shape) > MOST_DIMENSIONS or not are_counts(*shape) or (
        type(offsets) is not list or len(offsets) != 2 or not are_counts(*offsets)):
      raise ValueError(f'the tensor {name!r:.80} with an unknown shape or place')
    entries.append((offsets[0], offsets[1], name, tuple(shape), code))
  position, layout = 0, []
  for begin, end, name, shape, code in sorted(entries):
    if begin != position or end - begin != math.prod(shape) * itemsize(code):
      raise ValueError(f'the tensor {name!r:.80} of the shape {shape} at the bytes {begin:,} to '
                       f'{end:,}, where {position:,} is next')
    position = end
    layout.append((name, shape, code, end - begin))
  if position != size:
    raise ValueError(f'{size:,} bytes of data for tensors of {position:,}')
  return layout
