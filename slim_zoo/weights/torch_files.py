"""Reading PyTorch's state dicts, without PyTorch and without running code.

A state dict is a pickle whose tensors refer to a storage, an offset, a shape and strides; storages
are raw numbers outside the pickle. Since PyTorch 1.6 they are uncompressed members of a zip
archive; before, they followed the pickle in the same file
(https://docs.pytorch.org/docs/stable/notes/serialization.html).
"""

from __future__ import annotations

import collections
import dataclasses
import io
import math
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, cast

import numpy as np

from files.pickle_machine import Named, UnknownNameError, load
from files.plain_values import check_tree, leaf_size, shown
from files.raw_tensors import (
  BFLOAT16,
  MOST_DIMENSIONS,
  are_counts,
  itemsize,
  lay_over,
  read_bytes,
)
from files.unpickling import NAMES, StateBuilder, reading
from slim_zoo.weights import other_formats

_LEGACY_MAGIC = 0x1950a86a20f9469cfc6c
_LEGACY_PROTOCOL = 1001
_MOST_MEMBERS = 2 ** 17
_LONGEST_KEY = 256

_STORAGES = {
  'DoubleStorage': 'f8', 'FloatStorage': 'f4', 'HalfStorage': 'f2', 'BFloat16Storage': BFLOAT16,
  'LongStorage': 'i8', 'IntStorage': 'i4', 'ShortStorage': 'i2', 'CharStorage': 'i1',
  'ByteStorage': 'u1', 'BoolStorage': '?',
}
# Keys of the state dict in checkpoints of whole training runs, in the order of the search.
_WRAPPERS = ('state_dict', 'model', 'model_state_dict', 'net', 'network', 'weights', 'ema',
             'state_dict_ema', 'model_ema')


@dataclasses.dataclass(frozen=True)
class _Storage:
  """Numbers outside the pickle; in old files, a view starts at element `first` of its root."""
  key: str
  code: str
  numel: int
  root_numel: int
  first: int = 0


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """A tensor whose storage has not been read yet; sizes are in elements."""
  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  @property
  def nbytes(self) -> int:
    return math.prod(self.shape) * (4 if self.storage.code == BFLOAT16
                                    else itemsize(self.storage.code))


def read_torch(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a state dict written by `torch.save`, in either of its formats.

  Args:
    path: a `.pth` or `.pt` file: a state dict, or a dict with one under a usual name, such as
      'state_dict', or under any name if there is no other; its other entries are not returned.

  Returns:
    `{name: array}` in the file's order. bfloat16 is returned as float32. Tensors that shared their
    storage may still share it.

  Raises:
    ValueError: if the file is damaged, has objects other than tensors, containers, numbers and
      text, or has no state dict; nothing in it has been run.
    OSError: if it does not exist or cannot be read.
  """
  advice = ('If it should be one, copy it again; if you trust it, save only model.state_dict() '
            'where the file was made.')
  expected = 'a PyTorch state dict of tensors, as torch.save writes it'
  try:
    with reading(path, expected, advice) as (file, size):
      start = file.read(4)
      file.seek(0)
      return _read_zip(file, size) if start == b'PK\x03\x04' else _read_legacy(file, size)
  except ValueError as error:
    if not isinstance(error.__cause__, UnknownNameError) or not re.fullmatch(
        r'[A-Za-z_][\w.]*', error.__cause__.name):  # A damaged file can have any name.
      raise
    found = other_formats.whole_module(error.__cause__.name)
    raise ValueError(f'{path} cannot be read. Expected: {expected}. Received: {found}') from error


# The zip format.

def _read_zip(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
  with zipfile.ZipFile(file) as archive:
    members = _checked_members(archive.infolist(), size)
    pickles = [name for name in members if name.count('/') == 1 and name.endswith('/data.pkl')]
    if len(pickles) != 1:
      raise ValueError('a zip archive without one data.pkl in its folder')
    root = pickles[0].rpartition('/')[0]
    order = _byte_order(archive, members.get(f'{root}/byteorder'))
    info = members[pickles[0]]
    raw = io.BytesIO(archive.read(info))
    state = _state_dict(_load(raw, info.file_size, size))

    def read(storage: _Storage) -> np.ndarray:
      member = members.get(f'{root}/data/{storage.key}')
      if member is None or member.file_size != storage.root_numel * itemsize(storage.code):
        found = 'no such member' if member is None else f'{member.file_size:,} bytes'
        raise ValueError(f'the storage {storage.key!r:.40} of {storage.root_numel:,} × '
                         f'{itemsize(storage.code)} bytes, for which the archive has {found}')
      with archive.open(member) as source:
        return read_bytes(cast(BinaryIO, source), member.file_size)

    return _arrays(state, order, read)


def _checked_members(infos: Iterable[zipfile.ZipInfo], size: int) -> dict[str, zipfile.ZipInfo]:
  """Rejects members that are compressed, encrypted, repeated, or larger than the file."""
  members: dict[str, zipfile.ZipInfo] = {}
  total = 0
  for info in infos:
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
      raise ValueError(f'the compressed member {info.filename!r:.80}; PyTorch compresses none')
    if info.filename in members or info.flag_bits & 1:
      raise ValueError(f'the member {info.filename!r:.80}, twice or encrypted')
    members[info.filename] = info
    total += info.file_size
    if total > size or len(members) > _MOST_MEMBERS:
      raise ValueError(f'a zip archive of {len(members):,} members with {total:,} bytes, in a file '
                       f'of {size:,}')
  return members


def _byte_order(archive: zipfile.ZipFile, info: zipfile.ZipInfo | None) -> str:
  """Returns '<' or '>'; older files, without this entry, are little endian."""
  if info is None:
    return '<'
  orders = {b'little': '<', b'big': '>'}
  text = archive.read(info) if info.file_size < 16 else b''
  if text not in orders:
    raise ValueError(f'the byte order {text!r}')
  return orders[text]


# The old format.

def _read_legacy(file: BinaryIO, size: int) -> dict[str, np.ndarray]:
  def plain() -> Any:
    return load(file, size - file.tell(), {}, build=StateBuilder())

  if file.read(1) != b'\x80':
    raise ValueError('a file in neither of its two formats (that of PyTorch before 0.1.11 is not '
                     'supported)')
  file.seek(0)
  if plain() != _LEGACY_MAGIC or plain() != _LEGACY_PROTOCOL:
    raise ValueError('a pickle without the magic number of PyTorch')
  system = plain()
  if type(system) is not dict or type(system.get('little_endian')) is not bool:
    raise ValueError('a file that does not state its byte order')
  storages: dict[str, _Storage] = {}
  state = _state_dict(_load(file, size - file.tell(), size, storages=storages))
  keys = plain()
  if type(keys) is not list or not all(type(key) is str for key in keys) or (
      sorted(keys) != sorted(storages)):
    raise ValueError("a list of storages that differs from the tensors'")
  starts = {}
  for key in keys:
    start, length = file.tell(), storages[key].root_numel
    if int.from_bytes(file.read(8), 'little') != length or (
        start + 8 + length * itemsize(storages[key].code) > size):
      raise ValueError(f'the storage {key!r:.40}, which does not have {length:,} elements or '
                       'extends beyond the end of the file')
    starts[key] = start + 8
    file.seek(length * itemsize(storages[key].code), os.SEEK_CUR)
  if file.tell() != size:
    raise ValueError(f'{size - file.tell():,} bytes after the last storage')

  def read(storage: _Storage) -> np.ndarray:
    file.seek(starts[storage.key])
    return read_bytes(file, storage.root_numel * itemsize(storage.code))

  return _arrays(state, '<' if system['little_endian'] else '>', read)


# Pickles with tensors.

def _load(file: BinaryIO, size: int, file_size: int, *,
          storages: dict[str, _Storage] | None = None) -> Any:
  """Reads the pickle of a state dict and records its storages, whose sizes must agree."""
  storages = {} if storages is None else storages

  def persistent(reference: Any) -> _Storage:
    storage = _storage(reference)
    known = storages.setdefault(storage.key, storage)
    if known.root_numel * itemsize(known.code) != storage.root_numel * itemsize(storage.code):
      raise ValueError(f'the storage {storage.key!r:.40} with two sizes')
    return storage

  result = load(file, size, _NAMES, build=StateBuilder(), persistent=persistent)
  check_tree(result, file_size, lambda value: (
    value.nbytes if type(value) is _Tensor else leaf_size(value)))
  return result


def _storage(reference: Any) -> _Storage:
  """Reads ('storage', class, key, device, elements[, a view's (key, first, elements)])."""
  if type(reference) is not tuple or len(reference) not in (5, 6) or reference[0] != 'storage':
    raise ValueError('a reference to something other than a storage')
  _, kind, key, _, numel = reference[:5]
  code = kind.value if type(kind) is Named else None
  if code is None or type(key) is not str or len(key) > _LONGEST_KEY or not are_counts(numel):
    raise ValueError('a storage of an unknown kind')
  view = reference[5] if len(reference) == 6 else None
  if view is None:
    return _Storage(key, code, numel, numel)
  if type(view) is not tuple or len(view) != 3 or not are_counts(*view[1:]) or (
      view[1] + view[2] > numel):
    raise ValueError(f'a view that is not within the storage {key!r:.40}')
  return _Storage(key, code, view[2], numel, view[1])


def _rebuild_tensor(spend, storage, offset, *layout):
  """Makes a tensor from its pickled form; arguments after shape and strides concern training."""
  del spend
  shape, strides = layout[:2]
  if type(storage) is not _Storage or not are_counts(offset):
    raise ValueError('a tensor without a storage')
  if type(shape) is not tuple or type(strides) is not tuple or not (
      len(shape) == len(strides) <= MOST_DIMENSIONS and are_counts(*shape, *strides)):
    raise ValueError('a tensor whose shape and strides do not match')
  count = math.prod(shape)
  end = offset + 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
  # A stride of 0 would make a large array from a small storage.
  if count > storage.numel or (count and end > storage.numel) or offset > storage.numel:
    raise ValueError(f'a tensor of the shape {shape}, strides {strides} and offset {offset} in a '
                     f'storage of {storage.numel:,} elements')
  return _Tensor(storage, offset, shape, strides)


def _rebuild_parameter(spend, tensor, *other):
  del spend, other
  if type(tensor) is not _Tensor:
    raise ValueError('a parameter that is not a tensor')
  return tensor


def _size(spend, shape=()):
  del spend
  if type(shape) not in (tuple, list) or len(shape) > MOST_DIMENSIONS or not are_counts(*shape):
    raise ValueError('a torch.Size of something other than a few integers')
  return tuple(shape)


def _device(spend, name, index=0):
  del spend
  if type(name) is not str or len(name) > 32 or not are_counts(index):
    raise ValueError('an unknown device')
  return name


def _options(spend):
  """An argparse.Namespace, saved with the model by training programs; its entries are dropped."""
  del spend
  return {}


_FUNCTIONS: dict[str, Callable[..., Any]] = {
  'torch._utils _rebuild_tensor': _rebuild_tensor,
  'torch._utils _rebuild_tensor_v2': _rebuild_tensor,
  'torch._utils _rebuild_parameter': _rebuild_parameter,
  'torch Size': _size,
  'torch device': _device,
  'argparse Namespace': _options,
}
_NAMES = {
  **NAMES,
  **{name: Named(name, function) for name, function in _FUNCTIONS.items()},
  **{f'{module} {name}': Named(name, value=code)
     for module in ('torch', 'torch.cuda') for name, code in _STORAGES.items()},
}


# From tensors to arrays.

def _state_dict(root: Any) -> dict[str, _Tensor]:
  """Finds the state dict in the saved object, and says where, if it is not the object itself."""
  while type(root) is dict and (found := _inner(root)):
    name, others = found
    print(f'The weights are those in {name!r} of the file.'
          + (f' Not used: {", ".join(map(repr, others))}.' if others else ''), file=sys.stderr)
    root = root[name]
  if type(root) is not dict or not root:
    raise ValueError(f'{shown(root)}, with no state dict')
  for name, value in root.items():
    if type(name) is not str or type(value) is not _Tensor:
      raise ValueError(f'the entry {shown(name)} of the type {type(value).__name__}, which is '
                       f'neither a named tensor nor {" or ".join(_WRAPPERS)}')
  return root


def _inner(root: dict) -> tuple[str, list[str]] | None:
  """The entry under a usual name, or else the only one that is a state dict; None without one.

  Returns:
    Its name, and the names of others that are state dicts.
  """
  found = [name for name, value in root.items()
           if type(name) is str and type(value) is dict and value and all(
               type(key) is str and type(tensor) is _Tensor for key, tensor in value.items())]
  usual = [name for name in _WRAPPERS if type(root.get(name)) is dict]
  chosen = usual[0] if usual else found[0] if len(found) == 1 else None
  return None if chosen is None else (chosen, [name for name in found if name != chosen])


def _arrays(state: Mapping[str, _Tensor], order: str,
            read: Callable[[_Storage], np.ndarray]) -> dict[str, np.ndarray]:
  """Reads every storage once and makes arrays from them."""
  users = collections.Counter(tensor.storage.key for tensor in state.values())
  kept: dict[str, np.ndarray] = {}
  result = {}
  for name, tensor in state.items():
    storage = tensor.storage
    raw = kept[storage.key] if storage.key in kept else read(storage)
    users[storage.key] -= 1
    if users[storage.key]:
      kept[storage.key] = raw
    else:
      kept.pop(storage.key, None)
    result[name] = _array(tensor, raw, order)
  return result


def _array(tensor: _Tensor, raw: np.ndarray, order: str) -> np.ndarray:
  """Makes an array from the bytes of its storage."""
  size, first = itemsize(tensor.storage.code), tensor.storage.first + tensor.offset
  return lay_over(raw, tensor.storage.code, tensor.shape, order=order, offset=first * size,
                  strides=[stride * size for stride in tensor.strides])
