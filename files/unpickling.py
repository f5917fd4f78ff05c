"""Reading arrays from pickles, including `.npy` files of objects, without running any code.

Names in a file are looked up in the table of stand-ins below, which check types, shapes and sizes;
nothing is imported or taken from a real module. `files/pickle_machine.py` interprets the opcodes.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from files.pickle_machine import Named, load
from files.plain_values import check_key, check_tree, leaf_size, shown
from files.raw_tensors import MOST_DIMENSIONS, are_counts, read_bytes
from files.reasons import FAILURES, short_reason

_NPY_MAGIC = b'\x93NUMPY'
_LONGEST_HEADER = 2 ** 16
_HEADER = re.compile(r"\{'descr': '([^']{1,16})', 'fortran_order': (True|False), "
                     r"'shape': \(((?:\d{1,15}L?(?:, ?|(?=\))))*)\),? ?\}\s*")
# They can be nested, and freeing them recurses in C once per level.
_MOST_OBJECT_ARRAYS = 256
_LARGEST_CODE_POINT = 0x10FFFF


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], expected: str,
            advice: str) -> Iterator[tuple[BinaryIO, int]]:
  """Opens a file and converts any error while it is read to one ValueError.

  Args:
    path: the file.
    expected: what it should be.
    advice: what to do if it is not.

  Yields:
    The file, open at its start, and its size in bytes.

  Raises:
    ValueError: for any error raised in the block, and for a folder, a device or a pipe.
    OSError: if it does not exist or may not be read.
  """
  if os.path.exists(path) and not os.path.isfile(path):
    raise ValueError(f'{path} cannot be read. Expected: {expected}. Received: a folder or a '
                     'device. Name the file itself.')
  with open(path, 'rb') as file:
    try:
      yield file, os.fstat(file.fileno()).st_size
    except (MemoryError, *FAILURES) as error:
      reason = short_reason(error)
      if isinstance(error, MemoryError):
        reason = f'data that need more memory than is available or plausible ({reason})'
      elif not isinstance(error, ValueError) or isinstance(error, UnicodeError):
        reason = f'damaged data ({type(error).__name__}: {reason})'
      raise ValueError(f'{path} cannot be read. Expected: {expected}. Received: {reason}. '
                       f'{advice}') from error


def read_pickle(path: str | os.PathLike[str]) -> Any:
  """Reads a pickle or a NumPy file.

  Args:
    path: a `.npy` file of numbers or objects (such as `bvlc_alexnet.npy`), or a pickle of arrays
      from Python 2 or 3.

  Returns:
    Arrays, lists, tuples, dicts, numbers, text and bytes as saved. An object array without
    dimensions (how `np.save` stores a dict) gives its content. Python 2 strings are text, read as
    latin1. Keys are text, bytes or integers. Ordered dicts become plain ones. Some arrays are
    read-only.

  Raises:
    ValueError: if the file is damaged or contains anything else; nothing in it has been run.
    OSError: if it does not exist or may not be read.
  """
  expected = 'a .npy file or a pickle of arrays, lists, dicts, numbers and text'
  advice = ('If it should be one, copy it again; if it contains other objects and you trust it, '
            'save only its arrays (with numpy.savez or safetensors) where it was made.')
  with reading(path, expected, advice) as (file, size):
    if file.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
      return _read_npy(file, size)
    file.seek(0)
    return _read_objects(file, size)


def _read_npy(file: BinaryIO, size: int) -> Any:
  """Reads the rest of a .npy file after its magic."""
  version = file.read(2)
  if version not in (b'\x01\x00', b'\x02\x00', b'\x03\x00'):
    raise ValueError(f'the .npy version {tuple(version)}')
  width = 2 if version[0] == 1 else 4
  length = int.from_bytes(file.read(width), 'little')
  if length > min(_LONGEST_HEADER, size):
    raise ValueError(f'a .npy header of {length:,} bytes')
  header = _HEADER.fullmatch(file.read(length).decode('latin1'))
  if not header:
    raise ValueError('a .npy header without one plain type and shape')
  shape = tuple(int(n.rstrip('L')) for n in header[3].replace(' ', '').split(',') if n)
  left, code = size - file.tell(), header[1].lstrip('<>|=')
  if code.startswith('O'):
    result = _read_objects(file, left)
    if type(result) is not np.ndarray or result.shape != shape:
      raise ValueError(f'a .npy header of the shape {shown(shape)} before something else')
    return result.item() if not shape else result
  dtype = _dtype_of(code).newbyteorder('>' if header[1][0] == '>' else '<')
  if _checked_count(shape) * dtype.itemsize != left:
    raise ValueError(f'a .npy header of the shape {shown(shape)} and type {header[1]} before '
                     f'{left:,} bytes')
  raw = read_bytes(file, left)
  _check_text(raw, dtype)
  return np.ndarray(shape, dtype, raw, order='F' if header[2] == 'True' else 'C')


def _read_objects(file: BinaryIO, size: int) -> Any:
  """Reads a pickle that extends to the end of the file."""
  end = file.tell() + size
  result = load(file, size, NAMES, build=StateBuilder())
  if file.tell() != end:
    raise ValueError(f'{end - file.tell():,} bytes after the pickle')
  check_tree(result, size, leaf_size)
  return result


# Stand-ins. The first argument of each, `spend`, bounds what is copied.

class _Type:
  """A NumPy type while it is read; its byte order is part of its state."""

  def __init__(self, code: str):
    self.dtype = _dtype_of(code)


def _dtype_of(code: Any) -> np.dtype:
  """Returns the type for a code such as 'f4', 'S12' or 'O'."""
  if type(code) is not str or not re.fullmatch(r'[?biufcSUO]\d{0,5}', code):
    raise ValueError(f'the array type {shown(code)}')
  return np.dtype('O' if code[0] == 'O' else code)


def _checked_count(shape: Any) -> int:
  """Returns the number of elements of a shape."""
  if type(shape) is not tuple or len(shape) > MOST_DIMENSIONS or not are_counts(*shape) or (
      not are_counts(math.prod(n for n in shape if n))):
    raise ValueError(f'the shape {shown(shape)}')
  return math.prod(shape)


def _raw(spend: Callable[[int], None], data: Any, *, shape: Any,
         dtype: np.dtype) -> bytes | bytearray:
  """Checks the bytes of an array against its shape; they are text if written by Python 2."""
  size = _checked_count(shape) * dtype.itemsize
  if type(data) not in (bytes, bytearray, str) or len(data) != size:
    length = f'{len(data):,} ' if type(data) in (bytes, bytearray, str) else ''
    raise ValueError(f'an array of {size:,} bytes with {length}{type(data).__name__} as its data')
  spend(size)
  raw = data.encode('latin1') if type(data) is str else data
  _check_text(raw, dtype)
  return raw


def _check_text(raw: bytes | bytearray | np.ndarray, dtype: np.dtype) -> None:
  """Rejects text arrays with invalid characters, on which NumPy would fail later."""
  if dtype.kind == 'U' and len(raw):
    points = np.frombuffer(raw, np.dtype('u4').newbyteorder(dtype.byteorder))
    if points.max() > _LARGEST_CODE_POINT:
      raise ValueError('text with invalid characters')


def _encode(spend, text='', encoding='latin1'):
  """Bytes, as Python 3 writes them for Python 2."""
  if type(text) is not str or encoding != 'latin1':
    raise ValueError(f'text in the encoding {shown(encoding)}')
  spend(len(text))
  return text.encode('latin1')


def _no_bytes(spend):
  del spend
  return b''


def _ordered_dict(spend, pairs=()):
  if type(pairs) not in (list, tuple):
    raise ValueError('an ordered dict of something else than pairs')
  spend(8 * len(pairs))
  result = {}
  for pair in pairs:
    if type(pair) not in (list, tuple) or len(pair) != 2:
      raise ValueError('an ordered dict of something else than pairs')
    check_key(pair[0])
    result[pair[0]] = pair[1]
  return result


def _dtype(spend, code, *settings):
  del spend
  if len(settings) > 2 or any(type(setting) not in (bool, int) for setting in settings):
    raise ValueError('an array type with unknown settings')
  return _Type(code)


def _reconstruct(spend, subtype, *layout):
  del spend
  shape, code = layout
  if subtype is not NAMES['numpy ndarray'] or shape != (0,) or code not in (b'b', 'b'):
    raise ValueError('an array of an unknown class')
  return np.empty(0, np.int8)


def _scalar(spend, kind, data):
  if type(kind) is not _Type or kind.dtype == object:
    raise ValueError('a number of an unknown type')
  return np.ndarray((), kind.dtype, _raw(spend, data, shape=(), dtype=kind.dtype))[()]


def _from_buffer(spend, data, kind, *layout):
  shape, order = layout
  if type(kind) is not _Type or kind.dtype == object or order not in ('C', 'F'):
    raise ValueError('an array of an unknown type')
  raw = _raw(spend, data, shape=shape, dtype=kind.dtype)
  return np.ndarray(shape, kind.dtype, raw, order=order)


class StateBuilder:
  """Applies pickled states to arrays, types and ordered dicts."""

  def __init__(self):
    self._object_arrays = 0

  def __call__(self, spend: Callable[[int], None], target: Any, state: Any) -> None:
    """Changes an object in place.

    Args:
      spend: counts the bytes that are copied.
      target: a `_Type`, a new array, or a dict, whose attributes (PyTorch's `_metadata`) are
        dropped.
      state: the pickled state.

    Raises:
      ValueError: if the target is anything else, or the state is invalid for it.
    """
    if type(target) is dict and type(state) is dict:
      return
    if type(state) is not tuple:
      raise ValueError(f'a state of the type {type(state).__name__}')
    if type(target) is _Type:
      _build_type(target, state)
    elif type(target) is np.ndarray and target.dtype == np.int8 and target.size == 0:
      self._build_array(spend, target, state)
    else:
      raise ValueError(f'a state for the type {type(target).__name__}')

  def _build_array(self, spend: Callable[[int], None], target: np.ndarray,
                   state: tuple[Any, ...]) -> None:
    """Fills a new array; the state is version, shape, type, Fortran order, and data."""
    if len(state) != 5 or type(state[2]) is not _Type or type(state[3]) not in (bool, int):
      raise ValueError('an array with an unknown state')
    _, shape, kind, fortran_order, data = state
    dtype = kind.dtype
    if dtype.kind == 'O':
      if type(data) is not list or len(data) != _checked_count(shape):
        raise ValueError('an array of objects whose data are not a list')
      spend(8 * len(data))
      self._object_arrays += 1
      if self._object_arrays > _MOST_OBJECT_ARRAYS:
        raise ValueError(f'more than {_MOST_OBJECT_ARRAYS} arrays of objects')
    else:
      data = bytes(_raw(spend, data, shape=shape, dtype=dtype))
    # NumPy's annotation expects its own bool; pickles have Python's.
    target.__setstate__((1, shape, dtype, bool(fortran_order), data))  # type: ignore[arg-type]


def _build_type(target: _Type, state: tuple[Any, ...]) -> None:
  """Sets a type's byte order; the state has a version before it, fields of structs after it."""
  if len(state) < 5 or state[1] not in ('<', '>', '|', '=') or any(state[2:5]):
    raise ValueError('a structured array type')
  target.dtype = target.dtype.newbyteorder({'=': '<'}.get(state[1], state[1]))


def _table(entries: dict[str, Callable[..., Any] | None]) -> dict[str, Named]:
  return {name: Named(name, function) for name, function in entries.items()}


NAMES = _table({
  'numpy ndarray': None,
  'numpy dtype': _dtype,
  **{f'{core} {name}': function
     for core in ('numpy.core.multiarray', 'numpy._core.multiarray')
     for name, function in (('_reconstruct', _reconstruct), ('scalar', _scalar))},
  **{f'{core} _frombuffer': _from_buffer
     for core in ('numpy.core.numeric', 'numpy._core.numeric')},
  'collections OrderedDict': _ordered_dict,
  '_codecs encode': _encode,
  '__builtin__ bytes': _no_bytes,
  'builtins bytes': _no_bytes,
})
