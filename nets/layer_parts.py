"""What the layers are made of: their variables, names and linear parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from nets import stand_in


def full_name(scope: str) -> str:
  """Returns the name of a layer below the current variable scope."""
  outer = tf.compat.v1.get_variable_scope().name
  return f'{outer}/{scope}' if outer else scope


def keep(end_points: dict | None, scope: str, outputs: tf.Tensor) -> tf.Tensor:
  """Adds the outputs of a layer to the end points and returns them."""
  if end_points is not None:
    end_points[scope] = outputs
  return outputs


def _keeps_variables() -> bool:
  """Returns whether `tf.compat.v1.get_variable` returns the same variable in the next call."""
  if tf.compat.v1.get_variable_scope().custom_getter:
    return True
  if tf.executing_eagerly():
    return False
  # tf.compat.v1.wrap_function keeps variables; a function of tf.function does not.
  graph, names = tf.compat.v1.get_default_graph(), []
  while graph is not None and tf.inside_function():
    names.append(getattr(graph, 'name', ''))
    graph = getattr(graph, 'outer_graph', None)
  return not names or 'wrapped_function' in names


def variable(name: str, shape, *, initializer, regularizer, trainable) -> tf.Tensor:
  """Returns the float32 variable of this name in the current variable scope, as in slim."""
  if not _keeps_variables():
    raise ValueError(
        f'{tf.compat.v1.get_variable_scope().name}/{name}: expected a network that is called in a '
        'tf.Graph, which keeps its variables. Received: an eager call, or one in a tf.function, '
        'which would have new random weights every time. Build the network once with '
        'nets_factory.build_network(name, image_shape=[height, width, channels], num_classes=…), '
        'and call that.')
  return tf.compat.v1.get_variable(name, shape, tf.float32, initializer=initializer,
                                   regularizer=regularizer, trainable=trainable)


@dataclasses.dataclass(frozen=True)
class Linear:
  """A convolution or product that is not computed yet, so that `batch_norm` can scale its weights.

  Attributes:
    function: weights, of the type that the layer computes in -> the outputs.
    weights: float32; the last axes are those of the output channels.
    num_outputs: number of output channels.
    dtype: what the layer computes in.
    biases: float32 [num_outputs]; None for none.
  """
  function: Callable[[tf.Tensor], tf.Tensor]
  weights: tf.Tensor
  num_outputs: int
  dtype: tf.DType
  biases: tf.Tensor | None = None

  @property
  def has_variables(self) -> bool:
    """Whether the weights are a variable; where no one uses the outputs, they are a substitute."""
    return not isinstance(self.weights, tf.Tensor | stand_in.StandIn)

  def outputs(self) -> tf.Tensor:
    """Computes it."""
    outputs = self.function(tf.cast(self.weights, self.dtype))
    if self.biases is None:
      return outputs
    return tf.nn.bias_add(outputs, tf.cast(self.biases, self.dtype))

  def with_biases(self, *, initializer=tf.compat.v1.zeros_initializer(), regularizer=None,
                  trainable: bool = True) -> Linear:
    """Adds a variable `biases`."""
    biases = variable('biases', [self.num_outputs], initializer=initializer,
                       regularizer=regularizer, trainable=trainable)
    return dataclasses.replace(self, biases=biases)

  def scaled(self, scale: tf.Tensor, biases: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weights and biases of outputs · scale + biases; both are [num_outputs]."""
    last = self.weights.shape[-1]
    # The outputs of depthwise weights have two axes: channels, and outputs of each.
    factors = scale if last == self.num_outputs else tf.reshape(scale, [-1, last])
    if self.biases is not None:
      biases += self.biases * scale
    return tf.cast(self.weights * factors, self.dtype), tf.cast(biases, self.dtype)
