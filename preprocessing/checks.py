"""Checks of image files that run before TensorFlow's decoders.

A failed check raises `tf.errors.InvalidArgumentError`, the error of a bad image.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

# Pillow's limit for decompression bombs, and TensorFlow's for colour JPEGs.
MAX_PIXELS = 178_956_970


class Check(NamedTuple):
  """A condition for a file.

  Attributes:
    holds: bool scalar.
    message: Python string with a `{}`, the error message if it does not hold.
    received: tensor that replaces `{}`: numbers, or a scalar string. It must not be a part of the
      file, because an error whose message is not UTF-8 cannot be raised.
  """
  holds: tf.Tensor
  message: str
  received: tf.Tensor


def after(tensor, *checks):
  """Returns a tensor after all checks have passed.

  Args:
    tensor: any tensor; computations from the result run only if the checks hold.
    *checks: `Check`s in order; a later one may be meaningless if an earlier one fails.

  Returns:
    The tensor.

  Raises:
    tf.errors.InvalidArgumentError: (when run) with the message of the first check that fails.
  """
  for holds, message, received in checks:
    with tf.control_dependencies([tensor]):
      check = tf.debugging.Assert(holds, [_filled_in(message, received)])
    with tf.control_dependencies([] if check is None else [check]):
      tensor = tf.identity(tensor)
  return tensor


def _filled_in(message, received):
  """Replaces `{}` in a message by `received`; scalar string."""
  if received.dtype != tf.string:
    return tf.strings.format(message, received)
  before, after_it = message.split('{}')
  return tf.strings.join([before, received, after_it])


def size(height, width):
  """The check that an image, whose header states this size, is not too large to decode."""
  height, width = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
  return Check(tf.abs(height) * tf.abs(width) <= MAX_PIXELS,
               f'Expected at most {MAX_PIXELS:,} pixels. Received height and width: {{}}.',
               tf.stack([height, width]))
