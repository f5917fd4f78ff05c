"""Features in NumPy's `.npz` files; read them with `np.load(path)['features']`.

The arrays are features, labels, names, class_names and facts, a JSON text. None contains objects,
so none is pickled.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np

from files.unpickling import reading
from slim_zoo.features.features import ADVICE, Features
from slim_zoo.features.header import Header

_EXPECTED = 'an .npz file with the arrays features, labels, names, class_names and facts'
# Errors raised for damaged data and array headers, besides those `reading` handles.
_FAILURES = (lzma.LZMAError, SyntaxError, tokenize.TokenError, zlib.error)


def write(path: str | os.PathLike[str], features: Features) -> None:
  """Writes a file chunk by chunk; the features may be larger than memory.

  Raises:
    OSError: if there is no space or it cannot be written.
  """
  small = {'labels': features.labels, 'names': np.array(features.names),
           'class_names': np.array(features.class_names, str),
           'facts': np.array(json.dumps(features.facts))}
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
    for name, array in small.items():
      with archive.open(f'{name}.npy', 'w', force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)
    with archive.open('features.npy', 'w', force_zip64=True) as file:
      values = features.values
      np.lib.format.write_array_header_1_0(file, {
          'descr': '<f4', 'fortran_order': False, 'shape': values.shape})
      for rows in features.chunks():
        file.write(values[rows].astype('<f4', copy=False).tobytes())


def read(path: str | os.PathLike[str]) -> Features:
  """Reads a file into memory.

  Raises:
    ValueError: if it is damaged or has other content.
    OSError: if it does not exist or cannot be read.
  """
  with _opened(path) as archive:
    class_names, facts = _about(archive)
    return Features(_array(archive, 'features'), _array(archive, 'labels'),
                    tuple(_array(archive, 'names').tolist()), class_names, facts)


def read_header(path: str | os.PathLike[str]) -> Header:
  """Reads the header of a file, without features.

  Raises:
    ValueError: if it is damaged or has other content.
    OSError: if it does not exist or cannot be read.
  """
  # The ZIP file is None only once it is closed.
  with _opened(path) as archive, \
      archive.zip.open('features.npy') as file:  # type: ignore[union-attr]
    if np.lib.format.read_magic(file) != (1, 0):
      raise ValueError('features with an unknown header')
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return Header(shape[0], tuple(shape[1:]), *_about(archive))


@contextlib.contextmanager
def _opened(path) -> Iterator[np.lib.npyio.NpzFile]:
  with reading(path, _EXPECTED, ADVICE) as (file, _):
    try:
      with np.load(file, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
          raise ValueError('a single array')
        yield archive
    except _FAILURES as error:
      raise ValueError(f'damaged data ({error})') from error


def _about(archive: np.lib.npyio.NpzFile) -> tuple[tuple[str, ...], dict]:
  facts = json.loads(str(_array(archive, 'facts')[()]))
  if not isinstance(facts, dict):
    raise ValueError('facts that are not a JSON object')
  return tuple(_array(archive, 'class_names').tolist()), facts


def _array(archive: np.lib.npyio.NpzFile, name: str) -> np.ndarray:
  found = archive[name]
  if not isinstance(found, np.ndarray):  # Members that are not arrays are returned as bytes.
    raise ValueError(f'no array as {name}')
  return found
