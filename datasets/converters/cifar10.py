"""CIFAR-10, from its binary version: https://www.cs.toronto.edu/~kriz/cifar.html."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets.converters import writer
from files.downloads import Resource

RESOURCES = (Resource(
    'https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz', 170052171,
    ('sha256', 'c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd')),)
_BATCHES = {
    'cifar10_train.tfrecord': tuple(f'data_batch_{i}.bin' for i in range(1, 6)),
    'cifar10_test.tfrecord': ('test_batch.bin',),
}
_CLASS_NAMES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship',
                'truck')
_SIZE = 32
# A label and the red, green and blue planes.
_BYTES = 1 + 3 * _SIZE * _SIZE


def filenames() -> list[str]:
  """The record files that `convert` writes."""
  return list(_BATCHES)


def convert(source: Path, dataset_dir) -> None:
  """Converts the binary version.

  Args:
    source: a folder that contains `data_batch_1.bin` … and `test_batch.bin`, at any depth.
    dataset_dir: folder to write the records to.

  Raises:
    FileNotFoundError: if a file is missing.
    ValueError: if a file is truncated or has labels above 9.
  """
  files = {}
  for filename, batches in _BATCHES.items():
    data = np.concatenate([_read(source, batch) for batch in batches])
    files[filename] = (len(data), _images(data))
  writer.write_dataset(dataset_dir, files, _CLASS_NAMES)


def _read(source: Path, batch: str) -> np.ndarray:
  """Reads a file: uint8 [images, _BYTES]."""
  found = sorted(source.rglob(batch))
  if not found:
    raise FileNotFoundError(f'Expected {batch} of the binary version of CIFAR-10 in {source}. '
                            'Received a folder that does not contain it.')
  data = np.fromfile(found[0], np.uint8)
  if not len(data) or len(data) % _BYTES:
    raise ValueError(f'Expected {_BYTES} bytes per image in {found[0]}. Received {len(data)} bytes '
                     'in total: the file is truncated. Download or copy it again.')
  data = data.reshape(-1, _BYTES)
  if data[:, 0].max() >= len(_CLASS_NAMES):
    raise ValueError(f'Expected labels 0 to 9 in {found[0]}. Received: {data[:, 0].max()}.')
  return data


def _images(data: np.ndarray) -> Iterator[writer.Image]:
  for row in data:
    pixels = row[1:].reshape(3, _SIZE, _SIZE).transpose(1, 2, 0)
    yield writer.encode_png(pixels, int(row[0]))
