"""MNIST, from its four IDX files: http://yann.lecun.com/exdb/mnist/."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.converters import writer
from files.downloads import Resource

# The original site refuses automatic downloads; this mirror has the same files.
_URL = 'https://storage.googleapis.com/cvdf-datasets/mnist/'
RESOURCES = (
    Resource(_URL + 'train-images-idx3-ubyte.gz', 9912422,
             ('sha256', '440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609')),
    Resource(_URL + 'train-labels-idx1-ubyte.gz', 28881,
             ('sha256', '3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c')),
    Resource(_URL + 't10k-images-idx3-ubyte.gz', 1648877,
             ('sha256', '8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6')),
    Resource(_URL + 't10k-labels-idx1-ubyte.gz', 4542,
             ('sha256', 'f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6')),
)
_FILES = {'mnist_train.tfrecord': 'train', 'mnist_test.tfrecord': 't10k'}
_CLASS_NAMES = ('zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')


def filenames() -> list[str]:
  """The record files that `convert` writes."""
  return list(_FILES)


def convert(source: Path, dataset_dir) -> None:
  """Converts a folder of the four IDX files, compressed or not.

  Args:
    source: the folder.
    dataset_dir: folder to write the records to.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if a file is damaged, or images and labels do not match.
  """
  files = {}
  for filename, prefix in _FILES.items():
    images = _read(source, f'{prefix}-images-idx3-ubyte', ndim=3)
    labels = _read(source, f'{prefix}-labels-idx1-ubyte', ndim=1)
    if len(images) != len(labels) or labels.max(initial=0) >= len(_CLASS_NAMES):
      raise ValueError(f'Expected a label from 0 to 9 for each of the {len(images)} images of '
                       f'{prefix} in {source}. Received {len(labels)} labels up to '
                       f'{labels.max(initial=0)}.')
    files[filename] = (len(images), _images(images, labels))
  writer.write_dataset(dataset_dir, files, _CLASS_NAMES)


def _images(images: np.ndarray, labels: np.ndarray) -> Iterator[writer.Image]:
  for pixels, label in zip(images, labels, strict=True):
    yield writer.encode_png(pixels[:, :, np.newaxis], int(label))


def _read(source: Path, name: str, *, ndim: int) -> np.ndarray:
  """Reads an IDX file: four bytes with type and rank, the big-endian sizes, then the data."""
  path = next((path for path in (source / f'{name}.gz', source / name) if path.is_file()), None)
  if path is None:
    raise FileNotFoundError(f'Expected {name}.gz of MNIST in {source}. Received a folder that does '
                            'not contain it.')
  try:
    data = gzip.decompress(path.read_bytes()) if path.suffix == '.gz' else path.read_bytes()
  except (EOFError, zlib.error, gzip.BadGzipFile) as error:
    raise ValueError(f'Expected a complete gzip file. Received: {path} ({error}). Download or '
                     'copy it again.') from error
  header = 4 * (1 + ndim)
  shape = struct.unpack(f'>{ndim}I', data[4:header]) if len(data) >= header else (1,) * ndim
  if data[:4] != bytes([0, 0, 8, ndim]) or len(data) != header + math.prod(shape):
    raise ValueError(f'Expected a complete IDX file of bytes with {ndim} dimensions. '
                     f'Received: {path} of {len(data)} bytes. Download or copy it again.')
  return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
