"""TFRecord files as TF-Slim writes them: its own datasets, and any others of the same kind."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from datasets import dataset, labels_file, record_files, records, splits


class Source(NamedTuple):
  """How a dataset is stored.

  Attributes:
    file_pattern: the files of a split, '%s' being its name.
    channels: of the images.
    class_names: used without a `labels.txt`; None takes the labels found.
  """
  file_pattern: str
  channels: int = 3
  class_names: tuple[str, ...] | None = None


SOURCES = {
    'cifar10': Source('cifar10_%s.tfrecord'),
    'flowers': Source('flowers_%s_*.tfrecord'),
    # 1,000 classes after one for the background.
    'imagenet': Source('%s-*', class_names=tuple(str(label) for label in range(1001))),
    'mnist': Source('mnist_%s.tfrecord', channels=1),
    'visualwakewords': Source('%s.record-*'),
    'tfrecord': Source('*%s*.tfrecord*'),
}


def get_split(name: str, split_name: str, dataset_dir, *, file_pattern: str | None = None,
              validation_fraction: float = 0.1) -> dataset.Dataset:
  """Makes a split of a folder of TFRecord files.

  Args:
    name: a key of `SOURCES`.
    split_name: 'train', 'validation', 'test' if there are such files.
    dataset_dir: the folder, which may hold a `labels.txt`.
    file_pattern: the files of a split, '%s' being its name, with wildcards; a pattern without
      '%s' is taken to be the training files. None takes the source's own.
    validation_fraction: see `splits.choose`.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError, FileNotFoundError: if files are missing or damaged, or a label is out of range.
  """
  source = SOURCES[name]
  root = Path(dataset_dir)
  pattern = file_pattern or source.file_pattern
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a folder of TFRecord files. '
                            f'Received: {root}.')
  native = _native_splits(root, pattern)
  if not native:
    raise FileNotFoundError(
        f'Expected TFRecord files called {pattern} in {root}, with %s for the split '
        f'({", ".join(splits.KNOWN)}). Received none: check --dataset_dir and --file_pattern'
        + (', or run download_and_convert_data.py.' if name in ('flowers', 'cifar10', 'mnist')
           else '.'))
  chosen, part = splits.choose(split_name, tuple(native), validation_fraction,
                               f'the TFRecord files in {root}')
  files = record_files.scan(native[chosen], _parse_label, kind='image/class/label')
  class_names, open_ended = _class_names(root, source, files)
  check_labels(files, len(class_names))
  examples = records.RecordExamples(files, _parse_image)
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part, validation_fraction))
  return dataset.Dataset(name, split_name, class_names, source.channels, examples,
                         made_split=bool(part), open_ended_labels=open_ended)


def check_labels(files: list[record_files.RecordFile], num_classes: int) -> None:
  """Raises a ValueError that names the first record with a label outside [0, num_classes)."""
  for file in files:
    wrong = np.flatnonzero((file.labels < 0) | (file.labels >= num_classes))
    if len(wrong):
      raise ValueError(
          f'Expected labels in [0, {num_classes}). Received {file.labels[wrong[0]]} in record '
          f'{wrong[0]} of {file.path} ({len(wrong)} such records in this file): check that '
          f'{labels_file.FILENAME} belongs to these files.')


def _native_splits(root: Path, pattern: str) -> dict[str, list[str]]:
  """The files of each split that has any."""
  found = {}
  for split in splits.KNOWN if '%s' in pattern else ('train',):
    path = os.path.join(glob.escape(str(root)), pattern.replace('%s', split))
    files = sorted(file for file in glob.glob(path) if os.path.isfile(file))
    # A loose pattern finds the files of 'validation' for 'val' too.
    if files and not (split == 'val' and files == found.get('validation')):
      found[split] = files
  return found


def _class_names(root: Path, source: Source, files) -> tuple[tuple[str, ...], bool]:
  """The class names, and whether there may be more."""
  path = root / labels_file.FILENAME
  if path.exists():
    return labels_file.read(path), False
  if source.class_names:
    return source.class_names, False
  largest = max((file.labels.max() for file in files if len(file.labels)), default=-1)
  return tuple(str(label) for label in range(largest + 1)), True


def _parse_label(record: tf.Tensor) -> tf.Tensor:
  feature = tf.io.FixedLenFeature([], tf.int64, record_files.NO_LABEL)
  return tf.io.parse_single_example(record, {'image/class/label': feature})['image/class/label']


def _parse_image(record: tf.Tensor) -> tf.Tensor:
  # A record without an image is a bad image, like one that does not decode.
  feature = tf.io.FixedLenFeature([], tf.string, '')
  return tf.io.parse_single_example(record, {'image/encoded': feature})['image/encoded']
