"""Examples with random access: image files, or images in memory."""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

import numpy as np
import tensorflow as tf

from datasets import balancing, dataset, pieces, seeds


class IndexedExamples:
  """Examples that can be read in any order, so that an epoch is shuffled completely."""

  is_sequential = False

  def __init__(self, names: Sequence[str], labels: Sequence[int] | np.ndarray, *,
               paths: Sequence[str] | None = None, encoded: Sequence[bytes] | None = None,
               files: Sequence[str] = (), formats: Collection[str] = dataset.ALL_FORMATS):
    """Stores the examples in the order of their source.

    Args:
      names: one unique, stable name per example.
      labels: one label per example.
      paths: the image files; either these or `encoded` must be given.
      encoded: the encoded images.
      files: the files that `encoded` was read from; cached results are invalid if they change.
      formats: see `dataset.Examples`.
    """
    if (paths is None) == (encoded is None):
      raise ValueError('Expected either paths or encoded images. Received both or neither.')
    self.names = tuple(names)
    self.labels = np.asarray(labels, np.int64).reshape(-1)
    self.files = tuple(files if paths is None else paths)
    self.formats = frozenset(formats)
    self._encoded = None if encoded is None else tuple(encoded)
    images = self.files if self._encoded is None else self._encoded
    sizes = {len(self.names), len(self.labels), len(images)}
    if len(sizes) != 1:
      raise ValueError('Expected equal numbers of names, labels and images. '
                       f'Received: {sorted(sizes)}.')

  @property
  def is_of_files(self) -> bool:
    """Whether each image is a file of its own: `files[i]` for example i."""
    return self._encoded is None

  def select(self, keep: np.ndarray) -> IndexedExamples:
    """The examples for which `keep`, bool [num_examples], is true."""
    chosen = np.flatnonzero(keep)

    def pick(items):
      return [items[i] for i in chosen]

    if self._encoded is None:
      return IndexedExamples(pick(self.names), self.labels[chosen], paths=pick(self.files),
                             formats=self.formats)
    return IndexedExamples(pick(self.names), self.labels[chosen], encoded=pick(self._encoded),
                           files=self.files, formats=self.formats)

  def order(self, epoch, *, seed: int, shuffle: bool, skip: int = 0,
            with_images: bool = True) -> tf.data.Dataset:
    """The positions of one epoch: scalar int64s. `with_images` makes no difference here."""
    del with_images
    positions = tf.range(len(self.labels), dtype=tf.int64)
    if shuffle:
      positions = tf.random.experimental.stateless_shuffle(
          positions, seed=seeds.derive(seeds.ORDER, seed, epoch))
    return tf.data.Dataset.from_tensor_slices(positions[skip:])

  def balanced_order(self, epoch, *, seed: int, skip: int = 0) -> tf.data.Dataset:
    """The positions of one class-balanced epoch; see `balancing`.

    Returns:
      A tf.data.Dataset of (position, number of times the example was drawn before): scalar int64s.
    """
    positions, turns = self._balancer.epoch(epoch, seed=seed)
    return tf.data.Dataset.from_tensor_slices((positions[skip:], turns[skip:]))

  def pieces(self) -> list[pieces.Piece]:
    """The examples, divided by their ids."""
    def piece(positions: np.ndarray) -> pieces.Piece:
      files = self.files if self._encoded is not None else [self.files[i] for i in positions]
      return pieces.Piece(positions, files,
                          lambda: tf.data.Dataset.from_tensor_slices(positions))

    return [piece(positions) for positions in pieces.by_id(dataset.ids(self.names))]

  def facts(self, raw) -> dict[str, tf.Tensor]:
    """Label, name and id of the example at a position, without reading its image."""
    names, labels, _ = self._tensors
    name = tf.gather(names, raw)
    return {'label': tf.gather(labels, raw), 'name': name, 'id': dataset.example_id(name)}

  def image(self, raw) -> tf.Tensor:
    """Reads the encoded image at a position."""
    image = tf.gather(self._tensors[2], raw)
    return image if self._encoded is not None else tf.io.read_file(image)

  @functools.cached_property
  def _balancer(self) -> balancing.Balancer:
    return balancing.Balancer(self.labels)

  @functools.cached_property
  def _tensors(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    # Created outside the calling graph, so that no graph contains a copy of the whole list.
    with tf.init_scope():
      images = (dataset.as_strings(self.files) if self._encoded is None
                else tf.constant(np.array(self._encoded, object), tf.string))
      return dataset.as_strings(self.names), tf.constant(self.labels), images
