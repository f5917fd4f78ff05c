"""How large a network is, counted on its graph; nothing is computed."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from nets import nets_factory, outline


@dataclasses.dataclass(frozen=True)
class Complexity:
  """The size of a network.

  Attributes:
    parameters: numbers that training changes, without auxiliary heads.
    multiply_adds: multiplications followed by an addition in convolutions and matrix products,
      for one image, as papers count them.
  """
  parameters: int
  multiply_adds: int


def multiply_adds(operation: tf.Operation) -> int:
  """Counts the multiply-adds of an operation; zero unless it multiplies by weights."""
  if operation.type not in ('Conv2D', 'DepthwiseConv2dNative', 'MatMul'):
    return 0
  output, weights = operation.outputs[0].shape, operation.inputs[1].shape
  if operation.type == 'MatMul':
    inputs_of_each = weights[0]
  elif operation.type == 'Conv2D':
    inputs_of_each = math.prod(weights[:3])
  else:
    inputs_of_each = math.prod(weights[:2])
  return math.prod(output) * inputs_of_each


def measure(name: str) -> Complexity:
  """Counts a network at its own image size, with the channels and classes it was made for.

  Args:
    name: a name of `nets_factory.NETS`.

  Raises:
    ValueError: if there is no network of this name.
  """
  net = nets_factory.get_net(name)
  found = outline.trace(name, net.classes,
                        image_shape=[net.image_size, net.image_size, net.channels])
  return Complexity(sum(math.prod(shape) for shape in found.trainable.values()),
                    sum(multiply_adds(op) for op in found.graph.get_operations()))
