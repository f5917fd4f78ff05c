"""Stateless seeds: every random choice about data is a function of (purpose, seed, parts)."""

from __future__ import annotations

import tensorflow as tf

# One number per purpose, so that example order and augmentation never share random bits.
ORDER = 1
FILE_ORDER = 2
AUGMENTATION = 3
TURN = 4
MIXING = 5


def derive(purpose: int, seed: int, *parts) -> tf.Tensor:
  """Derives a stateless seed.

  Args:
    purpose: one of the constants above.
    seed: the run's seed.
    *parts: integers or scalar integer tensors, such as an epoch and an example's id.

  Returns:
    int64 [2], for stateless random ops.
  """
  key = tf.constant([purpose, seed], tf.int64)
  for part in parts:
    key = tf.random.experimental.stateless_fold_in(key, tf.cast(part, tf.int64))
  return key


def derive_scalar(purpose: int, seed: int, *parts) -> tf.Tensor:
  """Derives a seed for ops with a single number as seed: scalar int64."""
  return tf.random.stateless_uniform([], derive(purpose, seed, *parts), minval=None, maxval=None,
                                     dtype=tf.int64)
