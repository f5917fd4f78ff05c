"""The keys of the image and the label in other people's TFRecords."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf
from google.protobuf import message

from datasets import record_files
from files import cache, image_types
from files.reasons import listed

_IMAGES = ('image/encoded', 'image', 'image_raw', 'jpeg', 'encoded', 'img', 'image_bytes')
_LABELS = ('image/class/label', 'label', 'class', 'labels', 'target', 'class_id', 'label_id',
           'image/label')
# Of labels that are texts; the names of classes come before their ids.
_TEXTS = ('image/class/text', 'class/text', 'label', 'class', 'label_name', 'class_name',
          'image/class/synset', *_LABELS)
# Of the size of images that are not encoded: height and width.
_SIZES = (('height', 'width'), ('image/height', 'image/width'), ('rows', 'cols'), ('h', 'w'),
          ('image_height', 'image_width'))
_CHANNELS = (1, 3)
# Control character that separates units of text, which labels do not contain.
SEPARATOR = '\x1f'
# Records in which labels are looked for, if some have none.
_LOOKED_AT = 1000
# Bytes per pixel of other types and other numbers of channels.
_OTHERS = (2, 4, 6, 8, 12, 16, 24)


class Pixels(NamedTuple):
  """How images that are not encoded are stored: uint8 [height, width, channels].

  Attributes:
    height, width: the keys of the size.
    channels: 1 or 3.
  """
  height: str
  width: str
  channels: int


class Keys(NamedTuple):
  """Where the image and the label are.

  Attributes:
    image: the key of the image, a string.
    label: the key of the label, an int64 or a text.
    is_text: whether the label is a text.
    pixels: how images are stored; None if they are encoded, for example as JPEG.
  """
  image: str = _IMAGES[0]
  label: str = _LABELS[0]
  is_text: bool = False
  pixels: Pixels | None = None

  @property
  def note(self) -> str:
    """How the records are read, for the user; '' for TF-Slim's keys."""
    if self == Keys():
      return ''
    how = '' if self.pixels is None else (
        f", not encoded, uint8 ['{self.pixels.height}', '{self.pixels.width}', "
        f'{self.pixels.channels}]')
    return cache.printable(f"Records: images in '{self.image}'{how}; labels in '{self.label}'.")

  def parse_image(self, record: tf.Tensor) -> tf.Tensor:
    """Returns the image file in a record; '' if there is none, which counts as a bad image."""
    features = {self.image: tf.io.FixedLenFeature([], tf.string, '')}
    if self.pixels is None:
      return tf.io.parse_single_example(record, features)[self.image]
    features |= {key: tf.io.FixedLenFeature([], tf.int64, 0) for key in self.pixels[:2]}
    parsed = tf.io.parse_single_example(record, features)
    pixels = tf.io.decode_raw(parsed[self.image], tf.uint8)
    shape = tf.stack([*(parsed[key] for key in self.pixels[:2]), self.pixels.channels])
    is_whole = tf.reduce_all(shape > 0) & (tf.reduce_prod(shape) == tf.size(pixels, tf.int64))
    return tf.cond(is_whole, lambda: tf.io.encode_png(tf.reshape(pixels, shape), compression=0),
                   lambda: tf.constant(''))

  def parse_label(self, record: tf.Tensor, *, missing: int | str) -> tf.Tensor:
    """Returns the label in a record, int64 or string like `missing`; `missing` if there is none."""
    feature = tf.io.FixedLenFeature([], tf.string if self.is_text else tf.int64, missing)
    return tf.io.parse_single_example(record, {self.label: feature})[self.label]

  def parse_labels(self, record: tf.Tensor) -> tf.Tensor:
    """Returns all labels in a record as a text, separated by `SEPARATOR`, which also begins it."""
    feature = tf.io.VarLenFeature(tf.string if self.is_text else tf.int64)
    values = tf.io.parse_single_example(record, {self.label: feature})[self.label].values
    texts = values if self.is_text else tf.strings.as_string(values)
    return SEPARATOR + tf.strings.reduce_join(texts, separator=SEPARATOR)


def labels_in(text: str) -> tuple[str, ...]:
  """Returns the labels in the result of `Keys.parse_labels`."""
  return tuple(filter(None, text.split(SEPARATOR)[1:]))


def find(path: str, chosen: Sequence[str] = (), *, is_multi: bool = False) -> Keys:
  """Finds the keys in the first record of a file.

  TF-Slim's keys come first, then others that are in use; integers before texts. A file that cannot
  be read has TF-Slim's: reading the labels explains what is wrong with it.

  Args:
    path: a TFRecord file.
    chosen: the keys of the image and the label, if the user names them.
    is_multi: whether a record may have several labels, or none; then the first record with labels
      is used.

  Raises:
    ValueError: if the record does not have the chosen keys, if its image is neither encoded nor
      uint8 of its size, or if `is_multi` and no record has labels.
  """
  example = tf.train.Example()
  kinds: dict[str, tuple[str | None, int]] = {}
  images, labels, texts = (chosen[:1], chosen[1:], chosen[1:]) if chosen else (
      _IMAGES, _LABELS, _TEXTS)
  try:
    records = record_files.read(path, record_files.compression_of(path))
    for record in records.take(_LOOKED_AT if is_multi else 1):
      example.ParseFromString(record.numpy())
      kinds = {key: (feature.WhichOneof('kind'), len(feature.bytes_list.value)
                     or len(feature.int64_list.value))
               for key, feature in example.features.feature.items()}
      if is_multi:
        kinds |= {key: (kind, min(count, 1)) for key, (kind, count) in kinds.items()}
      if any(kinds.get(key, (None, 0))[1] for key in (*labels, *texts)):
        break
  except (tf.errors.OpError, message.DecodeError):
    return Keys()
  missing = [key for key in chosen if key not in kinds]
  if missing:
    raise ValueError(f'Expected --record_keys={",".join(chosen)} in {cache.printable(path)}. '
                     f'Received no {missing[0]!r} in the first record, which has the keys '
                     f'{listed(sorted(kinds))}.')
  image = next((key for key in images if kinds.get(key) == ('bytes_list', 1)), images[0])
  pixels = _pixels(example.features.feature, image, path)
  for names, kind in ((labels, 'int64_list'), (texts, 'bytes_list')):
    label = next((key for key in names if kinds.get(key) == (kind, 1) and key != image), None)
    if label:
      return Keys(image, label, kind == 'bytes_list', pixels)
  if is_multi:
    raise ValueError(f'--multi_label: expected integers or texts under one of {listed(labels)} in '
                     f'{cache.printable(path)}. Received none in its first {_LOOKED_AT:,} records, '
                     f'which have the keys {listed(sorted(kinds))}. Name the keys: '
                     '--record_keys=IMAGE,LABEL.')
  return Keys(image, labels[0], pixels=pixels)


def _pixels(features: Mapping[str, tf.train.Feature], image: str, path: str) -> Pixels | None:
  """How the image of a record with a size is stored; None if it is encoded, or has no size."""
  content = features[image].bytes_list.value[:1] if image in features else []
  if not content or not content[0] or image_types.format_of_bytes(content[0]):
    return None
  for height, width in _SIZES:
    size = [features[key].int64_list.value[:1] for key in (height, width) if key in features]
    if len(size) == 2 and all(size) and all(side[0] > 0 for side in size):
      channels = len(content[0]) / (size[0][0] * size[1][0])
      if channels not in (*_CHANNELS, *_OTHERS):
        return None  # Damaged, which reading it tells.
      if channels in _OTHERS:
        raise ValueError(
            f'Expected images that are encoded (such as JPEG), or uint8 with 1 or 3 channels. '
            f'Received {cache.printable(path)}, whose first record has {len(content[0])} bytes in '
            f'{image!r} for {height} {size[0][0]} and {width} {size[1][0]}. Write them as PNG '
            'or JPEG, for example with tf.io.encode_png.')
      return Pixels(height, width, int(channels))
  return None
