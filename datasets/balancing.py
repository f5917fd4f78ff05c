"""The order of a class-balanced epoch: every class has the same number of slots."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from datasets import seeds


class Balancer:
  """Draws the examples of balanced epochs, each with as many slots as there are examples.

  Each class's examples are drawn in one shuffled order after another, across epochs: the numbers of
  times that two examples of a class have been drawn never differ by more than one.
  """

  def __init__(self, labels: np.ndarray):
    """Prepares the tables.

    Args:
      labels: int64 [num_examples], in the order of the source. Classes without examples get no
        slots.
    """
    _, counts = np.unique(labels, return_counts=True)
    self._num_examples, self._num_classes = len(labels), len(counts)
    with tf.init_scope():
      self._counts = tf.constant(counts, tf.int64)
      self._starts = tf.constant(np.cumsum(counts) - counts, tf.int64)
      self._by_class = tf.constant(np.argsort(labels, kind='stable'), tf.int64)

  def epoch(self, epoch, *, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws one epoch.

    Args:
      epoch: an integer or a scalar int64 tensor.
      seed: the run's seed; the result is a function of both.

    Returns:
      (position of each slot's example, number of times it was drawn before): int64 [num_examples]
      each.
    """
    epoch = tf.cast(epoch, tf.int64)
    positions, turns = self._draw(self._drawn_before(epoch), self._drawn_before(epoch + 1), seed)
    order = tf.random.experimental.stateless_shuffle(
        tf.range(self._num_examples), seed=seeds.derive(seeds.ORDER, seed, epoch))
    return tf.gather(positions, order), tf.gather(turns, order)

  def _drawn_before(self, epoch: tf.Tensor) -> tf.Tensor:
    """Number of slots that each class had before an epoch: int64 [classes].

    The slots left over after equal shares go to the classes in turn, across epochs.
    """
    share, remain = divmod(self._num_examples, self._num_classes)
    classes = tf.range(self._num_classes, dtype=tf.int64)
    return epoch * share + (epoch * remain + self._num_classes - 1 - classes) // self._num_classes

  def _draw(self, first: tf.Tensor, end: tf.Tensor, seed: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the slots [first, end) of each class, one class after the other."""
    first_turn = first // self._counts
    num_turns = (end - 1) // self._counts - first_turn + 1
    # One row per example and turn that the slots touch, one turn after the other.
    rows = num_turns * self._counts
    row_class = tf.repeat(tf.range(self._num_classes, dtype=tf.int64), rows)
    number = tf.range(tf.reduce_sum(rows)) - tf.gather(tf.cumsum(rows, exclusive=True), row_class)
    count = tf.gather(self._counts, row_class)
    turn = tf.gather(first_turn, row_class) + number // count
    position = tf.gather(self._by_class, tf.gather(self._starts, row_class) + number % count)
    group = tf.gather(tf.cumsum(num_turns, exclusive=True), row_class) + number // count
    # Sort each turn by hashes; the stable sort by group then keeps the groups in their places.
    order = tf.argsort(_hashes(position, turn, seed))
    order = tf.gather(order, tf.argsort(tf.gather(group, order), stable=True))
    slot = tf.gather(first_turn, row_class) * count + number
    drawn = (slot >= tf.gather(first, row_class)) & (slot < tf.gather(end, row_class))
    return tf.boolean_mask(tf.gather(position, order), drawn), tf.boolean_mask(turn, drawn)


def _hashes(position: tf.Tensor, turn: tf.Tensor, seed: int) -> tf.Tensor:
  """A stateless random number for each pair; `seeds` derives only one at a time."""
  texts = tf.strings.join([tf.strings.as_string(turn), tf.strings.as_string(position)], ':')
  return tf.strings.to_hash_bucket_strong(texts, 2**63 - 1, key=[seeds.TURN, seed])
