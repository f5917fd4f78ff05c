"""Writing datasets as TF-Slim's TFRecord files, completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from datasets import labels_file, record_files


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
      _write_records(aside[name], images)
      count = len(record_files.find_records(str(aside[name]))) - 1
      if count != expected:
        raise ValueError(f'Expected {expected} images in {folder / name}. '
                         f'Received: {count}. Is the disk full?')
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
  """Serializes an image as a tf.train.Example with TF-Slim's keys."""
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
  """Encodes uint8 pixels [height, width, channels] as an `Image`."""
  height, width = pixels.shape[:2]
  return Image(tf.io.encode_png(pixels).numpy(), 'png', height, width, label)
