"""Random numbers that depend on the example, not on its position in the batch.

A mask that is a function of (seed, step, example, layer) is the same on one replica as on two and
after a resume. `tf.random.stateless_uniform` takes one seed for a whole tensor, so the bits come
from MurmurHash3's 32-bit finaliser (Austin Appleby, public domain) over a per-example key and a
counter, computed in int64, which every device supports.
"""

from __future__ import annotations

import zlib

import tensorflow as tf

_MASK = 0xFFFFFFFF


def _mix(h: tf.Tensor) -> tf.Tensor:
  """MurmurHash3's finaliser on int64 values in [0, 2**32)."""
  shift = tf.bitwise.right_shift
  h = tf.bitwise.bitwise_xor(h, shift(h, tf.constant(16, tf.int64)))
  h = tf.bitwise.bitwise_and(h * 0x85EBCA6B, _MASK)
  h = tf.bitwise.bitwise_xor(h, shift(h, tf.constant(13, tf.int64)))
  h = tf.bitwise.bitwise_and(h * 0xC2B2AE35, _MASK)
  return tf.bitwise.bitwise_xor(h, shift(h, tf.constant(16, tf.int64)))


def _fold(key: tf.Tensor, value) -> tf.Tensor:
  """Mixes the low and the high 32 bits of an integer into keys."""
  value = tf.cast(value, tf.int64)
  high = tf.bitwise.bitwise_and(tf.bitwise.right_shift(value, tf.constant(32, tf.int64)), _MASK)
  low = tf.bitwise.bitwise_and(value, _MASK)
  key = _mix(tf.bitwise.bitwise_xor(key, low) + 0x9E3779B9 & _MASK)
  return _mix(tf.bitwise.bitwise_xor(key, high) + 0x7F4A7C15 & _MASK)


def example_keys(seed: int, step, ids) -> tf.Tensor:
  """Derives a key for each example of a batch.

  Args:
    seed: the run's seed.
    step: scalar integer, the training step.
    ids: int64 [batch], the examples' identifiers in their source.

  Returns:
    int64 [batch, 2], two independent 32-bit keys per example.
  """
  ids = tf.cast(ids, tf.int64)
  keys = [_fold(_fold(_fold(tf.fill(tf.shape(ids), tf.constant(start, tf.int64)), seed), step), ids)
          for start in (0x2545F491, 0x6C078965)]
  return tf.stack(keys, axis=1)


def uniform(keys: tf.Tensor, shape, layer: str) -> tf.Tensor:
  """Draws uniform numbers for each example.

  Args:
    keys: int64 [batch, 2], from `example_keys`.
    shape: shape of one example's numbers; may contain scalar tensors.
    layer: name of the layer; different layers draw different numbers.

  Returns:
    float32 [batch, *shape] in [0, 1), multiples of 2**-24.
  """
  keys = _fold(keys, zlib.crc32(layer.encode()))
  count = tf.cast(tf.reduce_prod(tf.stack(list(shape))), tf.int64)
  counter = tf.range(count, dtype=tf.int64)[tf.newaxis]
  bits = _mix(tf.bitwise.bitwise_and(keys[:, :1] + counter * 0x9E3779B9, _MASK))
  bits = _mix(tf.bitwise.bitwise_xor(bits, keys[:, 1:]))
  numbers = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.int64)), tf.float32) * 2.0**-24
  return tf.reshape(numbers, tf.concat([[-1], tf.stack(list(shape))], axis=0))
