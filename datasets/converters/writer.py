"""Writing datasets as TF-Slim's TFRecord files, completely or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from datasets import labels_file, record_files
from files.replacing import replacing, sync


class Image(NamedTuple):
  """An encoded image, with the facts that TF-Slim's records contain."""
  encoded: bytes
  image_format: str
  height: int
  width: int
  label: int


def write_dataset(folder, files: Mapping[str, tuple[int, Iterable[Image]]],
                  class_names: Sequence[str]) -> None:
  """Writes the files of a dataset, and `labels.txt`.

  They are written under temporary names, counted, and renamed when all are complete.

  Args:
    folder: folder to write to.
    files: for each file name, the number of its images and the images.
    class_names: the classes; the position is the label.

  Raises:
    OSError: if a file cannot be written.
    ValueError: if a file has a different number of images.
  """
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  aside = {name: folder / f'.{name}.part' for name in (*files, labels_file.FILENAME)}
  try:
    for name, (expected, images) in files.items():
      count = _write_records(aside[name], map(serialize, images))
      if count != expected:
        raise ValueError(f'Expected {expected} images in {folder / name}. Received: {count}.')
    labels_file.write(aside[labels_file.FILENAME], class_names)
    for name, path in aside.items():
      os.replace(path, folder / name)
  finally:
    for path in aside.values():
      path.unlink(missing_ok=True)


def write_file(path: Path, records: Iterable[bytes]) -> None:
  """Writes one file of records, completely or not at all.

  Args:
    path: the file.
    records: the serialized records.

  Raises:
    OSError: if the file cannot be written, or cannot be read back.
  """
  with replacing(path) as aside:
    _write_records(aside, records)


def _write_records(path: Path, records: Iterable[bytes]) -> int:
  """Writes records and reads each of them back; returns their number."""
  written = []
  try:
    with tf.io.TFRecordWriter(os.fsencode(path)) as writer:
      for record in records:
        writer.write(record)
        written.append(_digest(record))
    sync(path)
    read = [_digest(record) for record in record_files.read(str(path)).as_numpy_iterator()]
  except tf.errors.OpError as error:
    raise OSError(f'Could not write {path}: {error.message}. Is the disk full?') from error
  if read != written:
    raise OSError(f'Could not write {path}: {len(written)} records were written, and '
                  f'{len(read)}, or others, were read back. Is the disk full or damaged?')
  return len(written)


def _digest(data: bytes) -> bytes:
  return hashlib.blake2b(data, digest_size=16).digest()


def serialize(image: Image) -> bytes:
  """Serializes an image as a tf.train.Example with TF-Slim's keys."""
  return example({'image/encoded': image.encoded, 'image/format': image.image_format.encode(),
                  'image/class/label': image.label, 'image/height': image.height,
                  'image/width': image.width})


def example(features: Mapping[str, bytes | int | np.ndarray]) -> bytes:
  """Serializes features as a tf.train.Example; the same features are always the same bytes.

  Args:
    features: for each key, bytes, an integer, or an array of float32 or int64, [values].
  """
  return tf.train.Example(features=tf.train.Features(feature={
      key: _feature(value) for key, value in features.items()})).SerializeToString(
          deterministic=True)


def _feature(value: bytes | int | np.ndarray) -> tf.train.Feature:
  if isinstance(value, bytes):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
  if isinstance(value, np.ndarray) and value.dtype == np.float32:
    return tf.train.Feature(float_list=tf.train.FloatList(value=value))
  return tf.train.Feature(int64_list=tf.train.Int64List(value=np.atleast_1d(value)))


def encode_png(pixels, label: int) -> Image:
  """Encodes uint8 pixels [height, width, channels] as an `Image`."""
  height, width = pixels.shape[:2]
  return Image(tf.io.encode_png(pixels).numpy(), 'png', height, width, label)
