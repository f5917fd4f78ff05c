"""The size of a network, counted from its graph without running it."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from nets import nets_factory, outline


@dataclasses.dataclass(frozen=True)
class Complexity:
  """The size of a network.

  Attributes:
    parameters: number of trainable parameters, without auxiliary heads.
    multiply_adds: number of multiply-adds in convolutions and matrix products per image, as papers
      count them.
  """
  parameters: int
  multiply_adds: int


def multiply_adds(operation: tf.Operation) -> int:
  """Counts the multiply-adds of a layer with weights; zero for other operations."""
  if (operation.type not in ('Conv2D', 'DepthwiseConv2dNative', 'MatMul')
      or operation.inputs[1].op.type == 'Const'):  # As in local response normalization.
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
  """Measures a network at its own image size, with its own numbers of channels and classes.

  Args:
    name: a name of `nets_factory.NETS`.

  Raises:
    ValueError: if there is no network with this name.
  """
  net = nets_factory.get_net(name)
  found = outline.trace(name, net.classes,
                        image_shape=[net.image_size, net.image_size, net.channels])
  return Complexity(sum(math.prod(shape) for shape in found.trainable.values()),
                    sum(multiply_adds(op) for op in found.graph.get_operations()))
