"""Features as TFRecords of `tf.train.Example`, with TF-Slim's keys for images.

Each has `image/filename`, `image/class/label`, `image/class/text` and `features`, flattened. The
first one also has `about`, a JSON text with the number of examples, their shape, the class names
and the facts. So there is only one file, every record is an example, and other readers ignore the
extra key.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from files.unpickling import reading
from slim_zoo.features.features import ADVICE, Features, collect, file_name
from slim_zoo.features.header import Header, header_of, header_text

_EXPECTED = 'a .tfrecord file of features that extract_features.py wrote'
_NAME, _LABEL, _TEXT = 'image/filename', 'image/class/label', 'image/class/text'
_VALUES, _ABOUT = 'features', 'about'
_BATCH = 256


def write(path: str | os.PathLike[str], features: Features) -> None:
  """Writes a file example by example; the features may be larger than memory.

  Raises:
    OSError: if there is no space or it cannot be written.
  """
  about = {_ABOUT: _bytes(header_text(features.header).encode())}
  try:
    with tf.io.TFRecordWriter(os.fsencode(path)) as file:
      for row, name in enumerate(features.names):
        label = int(features.labels[row])
        example = {
            _NAME: _bytes(file_name(name)),
            _LABEL: tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            _TEXT: _bytes(file_name(features.class_name(label))),
            _VALUES: tf.train.Feature(
                float_list=tf.train.FloatList(value=features.values[row].reshape(-1)))}
        if row == 0:
          example |= about
        file.write(tf.train.Example(features=tf.train.Features(feature=example))
                   .SerializeToString())
  except tf.errors.OpError as error:
    raise OSError(f'{path} cannot be written: {error.message}') from error


def read(path: str | os.PathLike[str]) -> Features:
  """Reads a file into memory.

  Raises:
    ValueError: if it is damaged or has other content.
    OSError: if it does not exist or cannot be read.
  """
  header = read_header(path)
  with _reading(path) as size:
    if 4 * header.num_examples * header.width > size:
      raise ValueError(f'fewer than {header.num_examples} examples of the shape {header.shape}')
    spec = {_NAME: tf.io.FixedLenFeature([], tf.string),
            _LABEL: tf.io.FixedLenFeature([], tf.int64),
            _VALUES: tf.io.FixedLenFeature([header.width], tf.float32)}
    found = (tf.io.parse_example(batch, spec) for batch in _records(path).batch(_BATCH))
    return collect(header, ((batch[_NAME].numpy().tolist(), batch[_LABEL].numpy(),
                             batch[_VALUES].numpy()) for batch in found))


def read_header(path: str | os.PathLike[str]) -> Header:
  """Reads the header of a file, without features.

  Raises:
    ValueError: if it is damaged or has other content.
    OSError: if it does not exist or cannot be read.
  """
  with _reading(path):
    for record in _records(path).take(1):
      spec = {_ABOUT: tf.io.FixedLenFeature([], tf.string, '')}
      text = tf.io.parse_single_example(record, spec)[_ABOUT].numpy()
      if not text:
        raise ValueError(f'a first record without {_ABOUT!r}')
      return header_of(text)
    raise ValueError('an empty file')


def _records(path: str | os.PathLike[str]) -> tf.data.TFRecordDataset:
  return tf.data.TFRecordDataset(tf.constant(os.fsencode(path)))


@contextlib.contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[int]:
  with reading(path, _EXPECTED, ADVICE) as (_, size):
    try:
      yield size
    except tf.errors.OpError as error:
      raise ValueError(f'damaged data ({type(error).__name__})') from error


def _bytes(value: bytes) -> Any:
  return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
