"""A substitute for variables while a network is traced without them."""

from __future__ import annotations

import tensorflow as tf


class StandIn:
  """A tensor with the part of a variable's interface that layers and custom heads use.

  Attributes:
    tensor: the variable's initial value.
    shape, dtype: of the tensor.
    update: the tensor to subtract from the variable at the end; None if there is none.
  """

  __array_priority__ = 100  # NumPy's arrays defer to its operators, as to a variable's.
  __iter__ = None  # Without it, Python would index forever.

  def __init__(self, tensor: tf.Tensor):
    self.tensor, self.shape, self.dtype, self.update = tensor, tensor.shape, tensor.dtype, None
    self._value = tensor

  def __tf_tensor__(self, dtype=None, name=None) -> tf.Tensor:
    return self._value

  def read_value(self) -> tf.Tensor:
    """Returns the value, including earlier assignments."""
    return self._value

  value = read_value

  def get_shape(self) -> tf.TensorShape:
    """Returns the shape."""
    return self.shape

  def assign_sub(self, delta) -> tf.Tensor:
    """Records a subtraction; returns the new value."""
    delta = tf.convert_to_tensor(delta, self.dtype)
    self.update = delta if self.update is None else self.update + delta
    self._value = tf.stop_gradient(self._value - delta)  # Like a variable that is read again.
    return self._value

  def assign_add(self, delta) -> tf.Tensor:
    """Records an addition; returns the new value."""
    return self.assign_sub(-tf.convert_to_tensor(delta, self.dtype))

  def assign(self, value) -> tf.Tensor:
    """Records an assignment; returns the new value."""
    return self.assign_sub(self._value - value)


def _as_of_tensors(operator: str):
  def apply(self: StandIn, *others):
    return getattr(self.read_value(), operator)(*others)

  return apply


for _operator in tf.Tensor.OVERLOADABLE_OPERATORS:
  setattr(StandIn, _operator, _as_of_tensors(_operator))
