"""Checks of image files that run before TensorFlow's decoders see them.

A failed check is a `tf.errors.InvalidArgumentError`, the error of a bad image.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# What Pillow calls a decompression bomb, and the most that TensorFlow decodes of a colour JPEG.
MAX_PIXELS = 178_956_970


class Check(NamedTuple):
  """A condition that a file has to meet.

  Attributes:
    holds: bool scalar.
    expected: Python string; completes the sentence "Expected …".
    received: tensor that is shown if it does not hold.
  """
  holds: tf.Tensor
  expected: str
  received: tf.Tensor


def after(tensor, *checks):
  """Passes a tensor on once all checks hold.

  Args:
    tensor: any tensor; what is computed from the result runs only if the checks hold.
    *checks: `Check`s, in this order: a later one may be meaningless if an earlier one fails.

  Returns:
    The tensor.

  Raises:
    tf.errors.InvalidArgumentError: (when run) says which check failed.
  """
  for holds, expected, received in checks:
    with tf.control_dependencies([tensor]):
      message = tf.strings.format(f'Expected {expected}. Received: {{}}', received)
      check = tf.debugging.Assert(holds, [message])
    with tf.control_dependencies([] if check is None else [check]):
      tensor = tf.identity(tensor)
  return tensor


def size(height, width):
  """The check that an image of this size, given by its header, is not too large to decode."""
  height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
  return Check(tf.abs(height) * tf.abs(width) <= MAX_PIXELS,
               f'at most {MAX_PIXELS:,} pixels, height times width', tf.stack([height, width]))
