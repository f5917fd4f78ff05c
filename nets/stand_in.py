"""What takes a variable's place while a network is traced without it."""

from __future__ import annotations

import tensorflow as tf


class StandIn:
  """A tensor with as much of a variable's interface as layers use.

  Attributes:
    value: the tensor.
    shape, dtype: of the tensor.
    update: what a layer wants subtracted from the variable; None if nothing.
  """

  def __init__(self, value: tf.Tensor):
    self.value, self.shape, self.dtype, self.update = value, value.shape, value.dtype, None

  def __tf_tensor__(self, dtype=None, name=None) -> tf.Tensor:
    return self.value

  def __sub__(self, other) -> tf.Tensor:
    return self.value - other

  def assign_sub(self, delta: tf.Tensor) -> tf.Tensor:
    """Notes what is to be subtracted."""
    self.update = delta
    return tf.identity(delta)
