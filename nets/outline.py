"""The outline of a network: the shapes of all that it consists of, without a variable."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from nets import nets_factory


@dataclasses.dataclass(frozen=True)
class Outline:
  """What a network consists of in inference.

  Attributes:
    trainable: `{name: shape}` of the variables that training changes, in the order of the layers.
    others: the same of the variables that it does not.
    output: what the network returns first: logits, or features.
    end_points: `{name: tensor}`.
    graph: what computes them from the variables, for which placeholders stand.
  """
  trainable: dict[str, tuple[int, ...]]
  others: dict[str, tuple[int, ...]]
  output: tf.Tensor
  end_points: dict[str, tf.Tensor]
  graph: tf.Graph


def trace(name: str, num_classes: int | None, *, image_shape: Sequence[int]) -> Outline:
  """Traces a network for one image, several times quicker than with variables.

  Args:
    name: a name of `nets_factory.NETS`.
    num_classes: width of the logits; 0 or None gives the features before them instead.
    image_shape: [height, width, channels].

  Raises:
    ValueError: if there is no network of this name, or if the images are too small for it.
  """
  shapes: dict[bool, dict[str, tuple[int, ...]]] = {True: {}, False: {}}

  def answer(getter, name, *, shape, dtype, trainable=True, **unused):
    del getter, unused  # get_variable's own way to make a variable, and its other arguments.
    shapes[trainable is not False][name] = tuple(shape)
    return tf.compat.v1.placeholder(dtype, shape)

  with tf.Graph().as_default() as graph, tf.compat.v1.variable_scope(
      tf.compat.v1.get_variable_scope(), custom_getter=answer):
    images = tf.compat.v1.placeholder(tf.float32, [1, *image_shape])
    output, end_points = nets_factory.get_network_fn(name, num_classes)(images)
  return Outline(shapes[True], shapes[False], output, end_points, graph)
