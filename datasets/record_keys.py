"""The keys of the image and the label in other people's TFRecords."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import message

from datasets import cache, record_files
from files.reasons import listed

_IMAGES = ('image/encoded', 'image', 'image_raw', 'jpeg', 'encoded', 'img', 'image_bytes')
_LABELS = ('image/class/label', 'label', 'class', 'labels', 'target', 'class_id', 'label_id',
           'image/label')
# Of labels that are texts; the names of classes come before their ids.
_TEXTS = ('image/class/text', 'class/text', 'label', 'class', 'label_name', 'class_name',
          'image/class/synset', *_LABELS)


class Keys(NamedTuple):
  """The keys of the image, a string, and of the label, an int64 or a text."""
  image: str = _IMAGES[0]
  label: str = _LABELS[0]
  is_text: bool = False

  @property
  def note(self) -> str:
    """How the records are read, for the user; '' for TF-Slim's keys."""
    if self == Keys():
      return ''
    return cache.printable(f"Records: images in '{self.image}', labels in '{self.label}'.")

  def parse_image(self, record: tf.Tensor) -> tf.Tensor:
    """Returns the image file in a record; '' if there is none, which counts as a bad image."""
    feature = tf.io.FixedLenFeature([], tf.string, '')
    return tf.io.parse_single_example(record, {self.image: feature})[self.image]

  def parse_label(self, record: tf.Tensor, *, missing: int | str) -> tf.Tensor:
    """Returns the label in a record, int64 or string like `missing`; `missing` if there is none."""
    feature = tf.io.FixedLenFeature([], tf.string if self.is_text else tf.int64, missing)
    return tf.io.parse_single_example(record, {self.label: feature})[self.label]


def find(path: str, chosen: Sequence[str] = ()) -> Keys:
  """Finds the keys in the first record of a file.

  TF-Slim's keys come first, then others that are in use; integers before texts. A file that cannot
  be read has TF-Slim's: reading the labels explains what is wrong with it.

  Args:
    path: a TFRecord file.
    chosen: the keys of the image and the label, if the user names them.

  Raises:
    ValueError: if the record does not have the chosen keys.
  """
  example = tf.train.Example()
  try:
    for record in record_files.read(path, record_files.compression_of(path)).take(1):
      example.ParseFromString(record.numpy())
  except (tf.errors.OpError, message.DecodeError):
    return Keys()
  kinds = {key: (feature.WhichOneof('kind'), len(feature.bytes_list.value)
                 or len(feature.int64_list.value))
           for key, feature in example.features.feature.items()}
  missing = [key for key in chosen if key not in kinds]
  if missing:
    raise ValueError(f'Expected --record_keys={",".join(chosen)} in {cache.printable(path)}. '
                     f'Received no {missing[0]!r} in the first record, which has the keys '
                     f'{listed(sorted(kinds))}.')
  images, labels, texts = (chosen[:1], chosen[1:], chosen[1:]) if chosen else (
      _IMAGES, _LABELS, _TEXTS)
  image = next((key for key in images if kinds.get(key) == ('bytes_list', 1)), images[0])
  for names, kind in ((labels, 'int64_list'), (texts, 'bytes_list')):
    label = next((key for key in names if kinds.get(key) == (kind, 1) and key != image), None)
    if label:
      return Keys(image, label, kind == 'bytes_list')
  return Keys(image, labels[0])
