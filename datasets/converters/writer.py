"""Writing datasets as TF-Slim's TFRecord files: complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from datasets import labels_file, record_files


class Image(NamedTuple):
  """An encoded image with what TF-Slim's records say of it."""
  encoded: bytes
  image_format: str
  height: int
  width: int
  label: int


def write_dataset(folder, files: dict[str, tuple[int, Iterable[Image]]],
                  class_names: Sequence[str]) -> None:
  """Writes the files of a dataset, and `labels.txt`.

  They are written aside, counted, and renamed when all are complete.

  Args:
    folder: where to.
    files: for each file's name the number of its images, and the images.
    class_names: the classes; the position is the label.

  Raises:
    OSError: if a file cannot be written.
    ValueError: if one does not hold the images that were to be written.
  """
  folder = Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  aside = {name: folder / f'.{name}.part' for name in (*files, labels_file.FILENAME)}
  try:
    for name, (expected, images) in files.items():
      _write_records(aside[name], images)
      count = len(record_files.find_records(str(aside[name]))) - 1
      if count != expected:
        raise ValueError(f'Expected to write {expected} images to {folder / name}. '
                         f'Received {count} when counting them: is the disk full?')
    labels_file.write(aside[labels_file.FILENAME], class_names)
    for name, path in aside.items():
      os.replace(path, folder / name)
  finally:
    for path in aside.values():
      path.unlink(missing_ok=True)


def _write_records(path: Path, images: Iterable[Image]) -> None:
  try:
    with tf.io.TFRecordWriter(os.fsencode(path)) as writer:
      for image in images:
        writer.write(serialize(image))
  except tf.errors.OpError as error:
    raise OSError(f'Could not write {path}: {error.message}. Is the disk full?') from error


def serialize(image: Image) -> bytes:
  """An image as a serialized tf.train.Example with TF-Slim's keys."""
  def of_bytes(value):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

  def of_int(value):
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

  return tf.train.Example(features=tf.train.Features(feature={
      'image/encoded': of_bytes(image.encoded),
      'image/format': of_bytes(image.image_format.encode()),
      'image/class/label': of_int(image.label),
      'image/height': of_int(image.height),
      'image/width': of_int(image.width),
  })).SerializeToString()


def encode_png(pixels, label: int) -> Image:
  """An `Image` of uint8 pixels [height, width, channels]."""
  return Image(tf.io.encode_png(pixels).numpy(), 'png', *pixels.shape[:2], label)
