"""What residual networks are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import layers


@dataclasses.dataclass(frozen=True)
class Block:
  """Residual units of one depth; the last one has the stride.

  Attributes:
    base_depth: channels of a unit's narrow convolutions; its output has four times as many.
    num_units: number of units.
    stride: of the last unit; TF-Slim's networks reduce the image there, others in the first.
  """
  base_depth: int
  num_units: int
  stride: int


def blocks(num_units: Sequence[int]) -> tuple[Block, ...]:
  """Makes the four blocks of a ResNet for ImageNet from their numbers of units."""
  return tuple(Block(base_depth, count, stride) for base_depth, count, stride
               in zip((64, 128, 256, 512), num_units, (2, 2, 2, 1), strict=True))


def resnet_arg_scope(weight_decay: float = 0.0001):
  """The arg scope of residual networks: batch norm and ReLU after convolutions, L2 on weights."""
  with layers.arg_scope([layers.conv2d], normalizer_fn=layers.batch_norm,
                        weights_regularizer=layers.l2_regularizer(weight_decay),
                        weights_initializer=layers.variance_scaling_initializer()), \
      layers.arg_scope([layers.batch_norm], decay=0.997, epsilon=1e-5, scale=True), \
      layers.arg_scope([layers.max_pool2d], padding='SAME') as sc:
    return sc


def subsample(inputs: tf.Tensor, factor: int) -> tf.Tensor:
  """Keeps every `factor`-th row and column of [batch, height, width, channels]."""
  return inputs if factor == 1 else inputs[:, ::factor, ::factor]


def conv2d_same(inputs: tf.Tensor, num_outputs: int, kernel_size: int, stride: int, *,
                scope: str) -> tf.Tensor:
  """Convolves with a padding that does not depend on the image's size.

  With a stride, TensorFlow's SAME centres the windows of even and odd images differently; this
  is the convolution of stride 1 whose result is then subsampled.

  Args:
    inputs: [batch, height, width, channels].
    num_outputs, kernel_size, stride, scope: as in `layers.conv2d`.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), num_outputs].
  """
  if stride == 1:
    return layers.conv2d(inputs, num_outputs, kernel_size, scope=scope)
  before = (kernel_size - 1) // 2
  margins = [before, kernel_size - 1 - before]
  return layers.conv2d(tf.pad(inputs, [[0, 0], margins, margins, [0, 0]]), num_outputs,
                       kernel_size, stride, padding='VALID', scope=scope)


def stack_blocks(net: tf.Tensor, stack: Sequence[Block], unit: Callable,
                 end_points: dict) -> tf.Tensor:
  """Applies blocks, in the scopes `block1/unit_1`, `block1/unit_2` and so on.

  Args:
    net: [batch, height, width, channels].
    stack: the blocks.
    unit: `unit(net, depth, depth_bottleneck, stride, end_points)`.
    end_points: gains each block's output.

  Returns:
    The last block's output.
  """
  for i, block in enumerate(stack, start=1):
    with tf.compat.v1.variable_scope(f'block{i}') as sc:
      for j in range(1, block.num_units + 1):
        stride = block.stride if j == block.num_units else 1
        with tf.compat.v1.variable_scope(f'unit_{j}'):
          net = unit(net, block.base_depth * 4, block.base_depth, stride, end_points)
    end_points[sc.name] = net
  return net
