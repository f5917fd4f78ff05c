"""Reads the arrays of an HDF5 file, in a separate process.

HDF5's library hangs and crashes on damaged files. So they are read by this program, which limits
its own time and memory and may crash without affecting its parent. See `weights/hdf5_files.py`.

Usage: python -m slim_zoo.weights.hdf5_child FILE FOLDER SECONDS MEMORY MOST

It writes `arrays` to FOLDER, a safetensors file with all arrays under their paths in FILE, and
`report.json`: {"texts": {group: {attribute: [text, …]}}}, or {"refused": reason}. SECONDS limits
the processor time, MEMORY the address space in bytes, MOST the total size of all arrays in bytes.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import sys
from typing import Any, BinaryIO

import h5py
import numpy as np

from files.reasons import short_reason

_MOST_OBJECTS = 2 ** 17
_DEEPEST = 32
_LONGEST_TEXT = 2 ** 24  # Total bytes of the texts of an attribute.
_TEXTS = re.compile(r'name|backend|model_config|(layer|weight)_names\d*')
_SKIPPED = ('optimizer', 'optimizer_weights')  # At the top; larger than the weights.
_CODES = {'f8': 'F64', 'f4': 'F32', 'f2': 'F16', 'i8': 'I64', 'i4': 'I32', 'i2': 'I16', 'i1': 'I8',
          'u8': 'U64', 'u4': 'U32', 'u2': 'U16', 'u1': 'U8'}
_LAYOUTS = (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED)
_FILTERS = (h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32,
            h5py.h5z.FILTER_LZF)


def _texts(item: h5py.Group | h5py.Dataset) -> dict[str, list[str]]:
  """Reads the attributes that name layers, their variables and the backend of Keras."""
  found: dict[str, list[str]] = {}
  for name in item.attrs:
    if not _TEXTS.fullmatch(name):
      continue
    attribute = h5py.h5a.open(item.id, name.encode())
    kind = attribute.get_type().get_class()
    if math.prod(attribute.shape) == 0:
      found[name] = []  # A layer without variables has another type here.
      continue
    if kind != h5py.h5t.STRING or attribute.get_storage_size() > _LONGEST_TEXT:
      raise ValueError(f'the attribute {name} with something other than text')
    values = np.atleast_1d(item.attrs[name]).ravel().tolist()
    found[name] = [value.decode() if isinstance(value, bytes) else str(value) for value in values]
  return found


def _checked_size(path: str, dataset: h5py.Dataset, most: int) -> int:
  """Returns the bytes of an array that is stored plainly, within the file."""
  if dataset.id.get_type().get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) or (
      dataset.dtype.str[1:] not in _CODES):
    raise ValueError(f'the array {path!r:.80} of something other than plain numbers')
  if dataset.shape is None:
    raise ValueError(f'the array {path!r:.80} without a shape')
  properties = dataset.id.get_create_plist()
  if properties.get_layout() not in _LAYOUTS:
    raise ValueError(f'the array {path!r:.80}, which is a view of others')
  if properties.get_external_count():
    raise ValueError(f'the array {path!r:.80}, whose numbers are in another file')
  if any(properties.get_filter(i)[0] not in _FILTERS for i in range(properties.get_nfilters())):
    raise ValueError(f'the array {path!r:.80} in an unknown compression')
  # A chunk is read as a whole, however small the array.
  shapes = [dataset.shape, *([dataset.chunks] if dataset.chunks else [])]
  size = max(math.prod(shape) for shape in shapes) * dataset.dtype.itemsize
  if size > most:
    raise ValueError(f'the array {path!r:.80} of the shape {tuple(dataset.shape)!s:.80}, of '
                     f'{size:,} bytes, more than the file can be expected to hold')
  return size


def collect(file: h5py.File, most: int) -> tuple[dict[str, h5py.Dataset], dict[str, Any]]:
  """Finds all arrays without reading them.

  Returns:
    `{path: dataset}`, and `{path: {attribute: [text, …]}}`.

  Raises:
    ValueError: for links out of the file or within it, and for unreasonable sizes.
  """
  datasets, texts, seen, left = {}, {}, set(), most
  waiting = [('', file, 0)]
  while waiting:
    path, item, depth = waiting.pop()
    address = h5py.h5o.get_info(item.id).addr
    if address in seen:
      raise ValueError(f'{path!r:.80}, which has two names')
    seen.add(address)
    if len(seen) + len(waiting) > _MOST_OBJECTS or depth > _DEEPEST:
      raise ValueError('too many or too deeply nested groups')
    if found := _texts(item):
      texts[path] = found
    if isinstance(item, h5py.Dataset):
      left -= _checked_size(path, item, left)
      datasets[path] = item
      continue
    if not isinstance(item, h5py.Group):
      raise ValueError(f'{path!r:.80}, which is neither a group nor an array')
    for name in item:
      if not isinstance(item.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f'{path}/{name!r:.80}, which is a link to somewhere else')
      if depth or name not in _SKIPPED:
        waiting.append((f'{path}/{name}' if path else name, item[name], depth + 1))
  return datasets, texts


def write_arrays(output: BinaryIO, datasets: dict[str, h5py.Dataset]) -> None:
  """Writes arrays in the format of safetensors, reading one at a time."""
  header, position = {}, 0
  for path, dataset in datasets.items():
    end = position + math.prod(dataset.shape) * dataset.dtype.itemsize
    header[path] = {'dtype': _CODES[dataset.dtype.str[1:]], 'shape': list(dataset.shape),
                    'data_offsets': [position, end]}
    position = end
  text = json.dumps(header).encode()
  output.write(len(text).to_bytes(8, 'little') + text)
  for dataset in datasets.values():
    output.write(np.asarray(dataset[()], dataset.dtype.newbyteorder('<')).tobytes())


def main(path: str, folder: str, *limits: str) -> int:
  """Reads a file; returns the exit code."""
  seconds, memory, most = limits
  for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, int(seconds)),
                       (resource.RLIMIT_AS, int(memory)),
                       (resource.RLIMIT_FSIZE, int(most) + 2 ** 24)):
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
  try:
    with h5py.File(path, 'r', locking=False) as file:
      datasets, texts = collect(file, int(most))
      with open(os.path.join(folder, 'arrays'), 'wb') as output:
        write_arrays(output, datasets)
    report: dict[str, Any] = {'texts': texts}
  except ValueError as error:
    report = {'refused': str(error)}
  except Exception as error:  # The library may raise anything for a damaged file.
    report = {'refused': f'damaged data ({type(error).__name__}: {short_reason(error)})'}
  with open(os.path.join(folder, 'report.json'), 'w', encoding='utf-8') as output:
    json.dump(report, output)
  return 0


if __name__ == '__main__':
  sys.exit(main(*sys.argv[1:]))
