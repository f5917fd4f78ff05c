"""Reading name-based checkpoints of TensorFlow 1 and of this project."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

AVERAGE_SUFFIX = '/ExponentialMovingAverage'
# What TensorFlow's reader raises; a data file that is cut short is an IndexError.
_FAILURES = (tf.errors.OpError, RuntimeError, ValueError, IndexError, OSError)


class Checkpoint:
  """A checkpoint that is open for reading.

  Attributes:
    prefix: its path without suffixes.
    shapes: `{name: shape}` of everything in it.
  """

  def __init__(self, prefix: str):
    self.prefix = prefix
    try:
      self._reader = tf.train.load_checkpoint(prefix)
      self.shapes = {name: tuple(shape)
                     for name, shape in self._reader.get_variable_to_shape_map().items()}
    except _FAILURES as error:
      raise self._damaged(error) from error

  def _damaged(self, error: Exception) -> ValueError:
    reason = str(error).split('\n')[0]
    return ValueError(f'The checkpoint {self.prefix} cannot be read; it is cut short or damaged '
                      f'({reason}). Copy it again, or name another one; a training run goes on '
                      'from an older one when the damaged files are removed.')

  def read(self, name: str) -> np.ndarray:
    """Reads one tensor.

    Raises:
      ValueError: if the file is cut short or damaged.
    """
    try:
      return self._reader.get_tensor(name)
    except _FAILURES as error:
      raise self._damaged(error) from error
