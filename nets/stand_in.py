"""What takes a variable's place while a network is traced without it."""

from __future__ import annotations

import tensorflow as tf


class StandIn:
  """A tensor with as much of a variable's interface as layers and heads of users' own use.

  Attributes:
    tensor: the variable's value at first.
    shape, dtype: of the tensor.
    update: what is to be subtracted from the variable in the end; None if nothing.
  """

  __array_priority__ = 100  # NumPy's arrays leave operators to it, as they do to a variable.
  __iter__ = None  # Python would index without an end.

  def __init__(self, tensor: tf.Tensor):
    self.tensor, self.shape, self.dtype, self.update = tensor, tensor.shape, tensor.dtype, None
    self._value = tensor

  def __tf_tensor__(self, dtype=None, name=None) -> tf.Tensor:
    return self._value

  def read_value(self) -> tf.Tensor:
    """Returns the value, with what was assigned before."""
    return self._value

  value = read_value

  def get_shape(self) -> tf.TensorShape:
    """Returns the shape."""
    return self.shape

  def assign_sub(self, delta) -> tf.Tensor:
    """Notes what is to be subtracted; returns the value after it."""
    delta = tf.convert_to_tensor(delta, self.dtype)
    self.update = delta if self.update is None else self.update + delta
    self._value = tf.stop_gradient(self._value - delta)  # As what is read of a variable again.
    return self._value

  def assign_add(self, delta) -> tf.Tensor:
    """Notes what is to be added; returns the value after it."""
    return self.assign_sub(-tf.convert_to_tensor(delta, self.dtype))

  def assign(self, value) -> tf.Tensor:
    """Notes what is to become the value; returns it."""
    return self.assign_sub(self._value - value)


def _as_of_tensors(operator: str):
  def apply(self: StandIn, *others):
    return getattr(self.read_value(), operator)(*others)

  return apply


for _operator in tf.Tensor.OVERLOADABLE_OPERATORS:
  setattr(StandIn, _operator, _as_of_tensors(_operator))
