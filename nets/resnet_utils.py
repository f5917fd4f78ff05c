"""Parts shared by the residual networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import heads, layers

# Number of units in each of the four blocks, by the network's number of layers with weights.
UNITS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
         152: (3, 8, 36, 3), 200: (3, 24, 36, 3)}
_BASE_DEPTHS = (64, 128, 256, 512)


@dataclasses.dataclass(frozen=True)
class Block:
  """Residual units of the same depth.

  Attributes:
    base_depth: number of channels of a unit's convolutions.
    depth: number of channels of a unit's output, which may be larger.
    strides: stride of each unit.
  """
  base_depth: int
  depth: int
  strides: tuple[int, ...]


def blocks_with_stride_last(num_layers: int) -> tuple[Block, ...]:
  """Returns the blocks of TF-Slim's ResNets, whose last unit has the stride.

  Args:
    num_layers: a key of `UNITS`.
  """
  return tuple(Block(base_depth, base_depth * 4, (*[1] * (count - 1), stride))
               for base_depth, count, stride
               in zip(_BASE_DEPTHS, UNITS[num_layers], (2, 2, 2, 1), strict=True))


def blocks_with_stride_first(num_layers: int, expansion: int = 4) -> tuple[Block, ...]:
  """Returns the blocks of the paper's ResNets, whose first unit has the stride.

  Args:
    num_layers: a key of `UNITS`.
    expansion: ratio of a unit's output channels to its convolutions' channels.
  """
  return tuple(Block(base_depth, base_depth * expansion, (stride, *[1] * (count - 1)))
               for base_depth, count, stride
               in zip(_BASE_DEPTHS, UNITS[num_layers], (1, 2, 2, 2), strict=True))


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


def conv2d_same(inputs: tf.Tensor, num_outputs: int, kernel_size: int, *,
                stride: int, scope: str) -> tf.Tensor:
  """Applies a convolution whose padding does not depend on the image size.

  With a stride, TensorFlow's SAME aligns the windows of even and odd images differently; this
  equals a convolution of stride 1 whose result is subsampled.

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


def max_pool2d_same(inputs: tf.Tensor, kernel_size: int, stride: int, *,
                    scope: str) -> tf.Tensor:
  """Applies a max pooling whose padding does not depend on the image size.

  Args:
    inputs: [batch, height, width, channels], nonnegative, as after a ReLU: padding with zeros then
      changes no maximum.
    kernel_size, stride, scope: as in `layers.max_pool2d`.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), channels].
  """
  before = (kernel_size - 1) // 2
  margins = [before, kernel_size - 1 - before]
  return layers.max_pool2d(tf.pad(inputs, [[0, 0], margins, margins, [0, 0]]), kernel_size, stride,
                           padding='VALID', scope=scope)


def stack_blocks(net: tf.Tensor, blocks: Sequence[Block], unit: Callable, *,
                 end_points: dict) -> tf.Tensor:
  """Applies blocks, in the scopes `block1/unit_1`, `block1/unit_2` and so on.

  Args:
    net: [batch, height, width, channels].
    blocks: the blocks.
    unit: `unit(net, depth, base_depth, stride=…, end_points=…)`.
    end_points: gains each block's output.

  Returns:
    The last block's output.
  """
  count, number = sum(len(block.strides) for block in blocks), 0
  for i, block in enumerate(blocks, start=1):
    with tf.compat.v1.variable_scope(f'block{i}') as sc:
      for j, stride in enumerate(block.strides, start=1):
        number += 1
        with tf.compat.v1.variable_scope(f'unit_{j}'), \
            layers.arg_scope([layers.drop_path], depth=number / count):
          net = unit(net, block.depth, block.base_depth, stride=stride, end_points=end_points)
    end_points[sc.name] = net
  return net


def classify(net: tf.Tensor, num_classes: int | None,
             end_points: dict) -> tuple[tf.Tensor, dict]:
  """Applies global average pooling and the classifier.

  Args:
    net: [batch, height, width, channels].
    num_classes: number of classes; 0 or None omits the classifier.
    end_points: gains `global_pool`, and with classes `…/logits`, `…/spatial_squeeze`, `Logits`,
      `Predictions` and `predictions`, TF-Slim's spelling for residual networks.

  Returns:
    Logits [batch, num_classes] or features [batch, channels], and the end points.
  """
  scope = tf.compat.v1.get_variable_scope().name
  net = heads.global_pool(net, end_points)
  if not num_classes:
    return heads.squeeze(net), end_points
  net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None, scope='logits')
  logits = end_points[f'{scope}/spatial_squeeze'] = heads.squeeze(net)
  heads.add_predictions(logits, end_points)
  end_points['predictions'] = end_points['Predictions']
  return logits, end_points
