"""Small datasets that the tests of this folder write and read."""

from __future__ import annotations

import io
import os

import numpy as np
import PIL.Image
import tensorflow as tf

from datasets.converters import writer


def png(value: int, size: int = 4) -> bytes:
  """A grey image of one value, encoded by Pillow."""
  buffer = io.BytesIO()
  PIL.Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(buffer, 'PNG')
  return buffer.getvalue()


def decode(encoded):
  """Decodes a PNG image, using only TensorFlow."""
  return tf.io.decode_png(encoded, channels=3)


def preprocess(encoded, seed):
  """The first pixel's value, and in training a random number in the second pixel."""
  image = tf.cast(decode(encoded)[:2, :2, :1], tf.float32)
  if seed is not None:
    random = tf.random.stateless_uniform([2, 2, 1], seed)
    image = image * [[[1.], [0.]], [[0.], [0.]]] + random * [[[0.], [1.]], [[1.], [1.]]]
  return tf.ensure_shape(image, [2, 2, 1])


def write_folder(root, classes: dict[str, int], prefix: str = '') -> None:
  """Writes the given number of images of each class."""
  value = 0
  for name, count in classes.items():
    (root / name).mkdir(parents=True)
    for i in range(count):
      (root / name / f'{prefix}{i:03d}.png').write_bytes(png(value % 256))
      value += 1


def write_records(path, labels, *, start: int = 0) -> None:
  """Writes TF-Slim records; the value of each image is its number."""
  with tf.io.TFRecordWriter(os.fsencode(path)) as records:
    for i, label in enumerate(labels, start=start):
      records.write(writer.serialize(writer.Image(png(i % 256), 'png', 4, 4, label)))
