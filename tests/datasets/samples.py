"""Small datasets that the tests of this folder write and read."""

from __future__ import annotations

import dataclasses
import io
import os
import threading
from concurrent import futures

import numpy as np
import PIL.Image
import tensorflow as tf

from datasets.converters import writer
from files import cache


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


@dataclasses.dataclass
class Reader:
  """One of several readers of a dataset, which here are threads."""
  index: int
  count: int
  texts: list[str]
  barrier: threading.Barrier

  def gather(self, text: str, what: str) -> list[str]:
    del what
    self.texts[self.index] = text
    self.barrier.wait()
    received = list(self.texts)
    self.barrier.wait()
    return received


class Readers:
  """Several readers, each with a cache of its own, as on several machines.

  Attributes:
    kept: for each reader, what it has in its cache.
  """

  def __init__(self, count: int, monkeypatch):
    self.kept: list[dict] = [{} for _ in range(count)]
    self._local = threading.local()
    monkeypatch.setattr(cache, 'load', lambda key: self.kept[self._local.index].get(key))
    monkeypatch.setattr(cache, 'store', lambda key, value: self.kept[self._local.index].update(
        {key: value}))

  @property
  def index(self) -> int:
    """The position of the reader that asks."""
    return self._local.index

  def call(self, function) -> list:
    """Calls a function of a reader in all of them at the same time; returns the results."""
    count = len(self.kept)
    texts, barrier = [''] * count, threading.Barrier(count, timeout=60)

    def one(index: int):
      self._local.index = index
      return function(Reader(index, count, texts, barrier))

    with futures.ThreadPoolExecutor(count) as pool:
      return list(pool.map(one, range(count)))
