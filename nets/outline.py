"""The outline of a network: the shapes of its variables and tensors, without creating variables."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import end_points, layers, nets_factory
from nets.record import Net


@dataclasses.dataclass(frozen=True)
class Outline:
  """The variables and tensors of a network in inference.

  Attributes:
    trainable: `{name: shape}` of the trainable variables, in the order of the layers.
    others: `{name: shape}` of the other variables.
    output: the logits or features that the network returns.
    end_points: `{name: tensor}`.
    graph: the graph, with placeholders as variables.
  """
  trainable: dict[str, tuple[int, ...]]
  others: dict[str, tuple[int, ...]]
  output: tf.Tensor
  end_points: dict[str, tf.Tensor]
  graph: tf.Graph

  def operations(self) -> list[tf.Operation]:
    """Lists the operations that the output depends on."""
    seen, waiting = {}, [self.output.op]
    while waiting:
      op = waiting.pop()
      if op.name not in seen:
        seen[op.name] = op
        waiting += [tensor.op for tensor in op.inputs]
    return list(seen.values())


def trace(name: str, num_classes: int | None, *, image_shape: Sequence[int]) -> Outline:
  """Traces a network for one image; several times faster than with variables.

  Args:
    name: a name of `nets_factory.NETS`.
    num_classes: number of classes; 0 or None returns features instead of logits.
    image_shape: [height, width, channels].

  Raises:
    ValueError: if there is no network with this name, or if the images are too small for it.
  """
  return _trace(nets_factory.get_network_fn(name, num_classes), image_shape)


def trace_up_to(net: Net, end_point: str, *, num_classes: int | None,
                image_shape: Sequence[int]) -> Outline:
  """Traces a network for one image up to one of its end points, which is its output.

  Args:
    net: the network's record.
    end_point: its full name.
    num_classes: number of classes, for end points that depend on it.
    image_shape: [height, width, channels].

  Raises:
    ValueError: if there is no such end point, or if the images are too small.
  """
  function = end_points.up_to(net.function, end_point)

  def features(images: tf.Tensor) -> tuple[tf.Tensor, dict]:
    with layers.arg_scope(net.arg_scope(weight_decay=0.0)):
      return function(images, num_classes, is_training=False)

  return _trace(features, image_shape)


def _trace(network_fn: Callable, image_shape: Sequence[int]) -> Outline:
  shapes: dict[bool, dict[str, tuple[int, ...]]] = {True: {}, False: {}}

  def answer(getter, name, *, shape, dtype, trainable=True, **unused):
    del getter, unused  # The default getter of get_variable, and its other arguments.
    shapes[trainable is not False][name] = tuple(shape)
    return tf.compat.v1.placeholder(dtype, shape)

  with tf.Graph().as_default() as graph, tf.compat.v1.variable_scope(
      tf.compat.v1.get_variable_scope(), custom_getter=answer):
    images = tf.compat.v1.placeholder(tf.float32, [1, *image_shape])
    output, found = network_fn(images)
  return Outline(shapes[True], shapes[False], output, found, graph)
