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
    message: Python string with a `{}`, for when it does not hold.
    received: tensor that takes the place of `{}`: numbers, or a scalar string. It is never a part
      of the file: an error whose message is no UTF-8 cannot be raised.
  """
  holds: tf.Tensor
  message: str
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
  for holds, message, received in checks:
    with tf.control_dependencies([tensor]):
      check = tf.debugging.Assert(holds, [_filled_in(message, received)])
    with tf.control_dependencies([] if check is None else [check]):
      tensor = tf.identity(tensor)
  return tensor


def _filled_in(message, received):
  """The message with `received` in the place of `{}`; scalar string."""
  if received.dtype != tf.string:
    return tf.strings.format(message, received)
  before, after_it = message.split('{}')
  return tf.strings.join([before, received, after_it])


def size(height, width):
  """The check that an image of this size, given by its header, is not too large to decode."""
  height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
  return Check(tf.abs(height) * tf.abs(width) <= MAX_PIXELS,
               f'Expected at most {MAX_PIXELS:,} pixels. Received height and width: {{}}.',
               tf.stack([height, width]))
