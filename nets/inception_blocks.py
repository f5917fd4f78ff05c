"""Parts shared by the Inception networks: branches as data, the arg scope, the heads.

A network is a tuple of `Conv`, `MaxPool` and `Mixed`, each with an `apply`. Their names, and so the
names of their variables, are TF-Slim's. Some do not match the layer's actual kernel or position;
published checkpoints use them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import heads, layers

Depth = Callable[[int], int]


@dataclasses.dataclass(frozen=True)
class Conv:
  """A convolution.

  Attributes:
    name: its scope.
    depth: number of output channels, before the network's multiplier.
    kernel: one number, or (height, width).
    stride, padding: as in `layers.conv2d`.
    stddev: of the weights' initial values; None means the arg scope's initializer.
  """
  name: str
  depth: int
  kernel: int | tuple[int, int]
  stride: int = 1
  padding: str = 'SAME'
  stddev: float | None = None

  def apply(self, inputs: tf.Tensor, depth: Depth) -> tf.Tensor:
    """Convolves [batch, height, width, channels]."""
    initial = {} if self.stddev is None else {
        'weights_initializer': layers.truncated_normal_initializer(self.stddev)}
    return layers.conv2d(inputs, depth(self.depth), self.kernel, self.stride, self.padding,
                         scope=self.name, **initial)


@dataclasses.dataclass(frozen=True)
class MaxPool:
  """A max pooling; attributes as in `Conv`."""
  name: str
  kernel: int
  stride: int = 1
  padding: str = 'SAME'

  def apply(self, inputs: tf.Tensor, depth: Depth) -> tf.Tensor:
    """Pools [batch, height, width, channels]."""
    del depth
    return layers.max_pool2d(inputs, self.kernel, self.stride, self.padding, scope=self.name)


@dataclasses.dataclass(frozen=True)
class AvgPool:
  """A 3×3 average pooling that does not count the padding."""
  name: str = 'AvgPool_0a_3x3'

  def apply(self, inputs: tf.Tensor, depth: Depth) -> tf.Tensor:
    """Pools [batch, height, width, channels]."""
    del depth
    return layers.avg_pool2d(inputs, 3, 1, 'SAME', scope=self.name)


@dataclasses.dataclass(frozen=True)
class Fork:
  """Parallel layers at the end of a branch, whose outputs are concatenated."""
  layers: tuple[Conv, ...]

  def apply(self, inputs: tf.Tensor, depth: Depth) -> tf.Tensor:
    """Applies the layers and concatenates their outputs."""
    return tf.concat([layer.apply(inputs, depth) for layer in self.layers], axis=3)


Branch = tuple[Conv | MaxPool | AvgPool | Fork, ...]


@dataclasses.dataclass(frozen=True)
class Mixed:
  """An Inception block: branches with the same input, whose outputs are concatenated."""
  name: str
  branches: tuple[Branch, ...]

  def apply(self, inputs: tf.Tensor, depth: Depth) -> tf.Tensor:
    """Applies the branches under the scope `name` and concatenates their outputs."""
    with tf.compat.v1.variable_scope(self.name):
      return concatenate(inputs, self.branches, depth)


Layer = Conv | MaxPool | Mixed


def _unchanged(depth: int) -> int:
  return depth


def multiplier(depth_multiplier: float, min_depth: int) -> Depth:
  """Returns the function that scales a layer's number of channels.

  Args:
    depth_multiplier: factor of every layer's number of channels, above zero.
    min_depth: minimum number of channels.

  Raises:
    ValueError: if `depth_multiplier` is not above zero.
  """
  if depth_multiplier <= 0:
    raise ValueError(f'Expected depth_multiplier > 0. Received: {depth_multiplier}.')
  return lambda depth: max(int(depth * depth_multiplier), min_depth)


def concatenate(inputs: tf.Tensor, branches: Sequence[Branch],
                depth: Depth = _unchanged) -> tf.Tensor:
  """Applies branches under the scopes `Branch_0`, `Branch_1`, …, and concatenates their outputs."""
  outputs = []
  for i, branch in enumerate(branches):
    net = inputs
    with tf.compat.v1.variable_scope(f'Branch_{i}'):
      for layer in branch:
        net = layer.apply(net, depth)
    outputs.append(net)
  return tf.concat(outputs, axis=3)


def build(inputs: tf.Tensor, stack: Sequence[Layer], end_points: dict, *,
          depth: Depth = _unchanged) -> tf.Tensor:
  """Applies layers and blocks in sequence.

  Args:
    inputs: [batch, height, width, channels].
    stack: the layers and blocks.
    end_points: gains the output of each, under its name.
    depth: from `multiplier`.

  Returns:
    The output of the last one.
  """
  net = inputs
  for layer in stack:
    net = end_points[layer.name] = layer.apply(net, depth)
  return net


def inception_arg_scope(weight_decay: float = 0.00004):
  """The arg scope of Inception V1 to V4: batch norm without `gamma`, ReLU, L2 on weights."""
  with layers.arg_scope([layers.conv2d, layers.fully_connected],
                        weights_regularizer=layers.l2_regularizer(weight_decay)), \
      layers.arg_scope([layers.batch_norm], decay=0.9997, epsilon=0.001), \
      layers.arg_scope([layers.conv2d],
                       weights_initializer=layers.variance_scaling_initializer(),
                       activation_fn=tf.nn.relu, normalizer_fn=layers.batch_norm) as sc:
    return sc


def convolutional_head(inputs: tf.Tensor, num_classes: int | None, *, dropout_keep_prob: float,
                       end_points: dict) -> tuple[tf.Tensor, dict]:
  """The head of Inception V2 and V3: global average pooling, dropout and a 1×1 convolution.

  Args:
    inputs: [batch, height, width, channels].
    num_classes: number of classes; 0 or None returns the pooled features instead.
    dropout_keep_prob: share of the features that dropout keeps.
    end_points: gains `AvgPool_1a`, `PreLogits` and those that `heads` adds.

  Returns:
    Logits [batch, num_classes] or features [batch, channels], and the end points.
  """
  net = end_points['AvgPool_1a'] = heads.global_pool(inputs, end_points)
  if not num_classes:
    return heads.squeeze(net), end_points
  with tf.compat.v1.variable_scope('Logits'):
    net = end_points['PreLogits'] = layers.dropout(net, dropout_keep_prob, scope='Dropout_1b')
    net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None,
                        scope='Conv2d_1c_1x1')
  return heads.add_predictions(heads.squeeze(net), end_points)


def connected_head(inputs: tf.Tensor, num_classes: int | None, *, dropout_keep_prob: float,
                   end_points: dict) -> tuple[tf.Tensor, dict]:
  """The head of Inception V4 and Inception-ResNet: pooling, dropout, a fully connected layer.

  Arguments and results are those of `convolutional_head`; the end point before the classifier is
  `PreLogitsFlatten`, [batch, channels].
  """
  net = heads.squeeze(heads.global_pool(inputs, end_points))
  if not num_classes:
    return net, end_points
  with tf.compat.v1.variable_scope('Logits'):
    net = layers.dropout(net, dropout_keep_prob, scope='Dropout_1b')
    end_points['PreLogitsFlatten'] = net
    logits = layers.fully_connected(net, num_classes, activation_fn=None, scope='Logits')
  return heads.add_predictions(logits, end_points)


def auxiliary_features(inputs: tf.Tensor, name: str, *, stddev: float | None = None,
                       depth: Depth = _unchanged) -> tf.Tensor:
  """Computes the features of an auxiliary classifier (https://arxiv.org/abs/1512.00567, section 4).

  The last kernel is 5×5, which covers its input at the network's own image size. It is smaller for
  smaller images. For larger ones the features are averaged, which averages the logits, since the
  classifier is linear.

  Args:
    inputs: [batch, height, width, channels].
    name: scope of the last convolution.
    stddev: of the initial values of its weights; None means the arg scope's initializer.
    depth: from `multiplier`.

  Returns:
    [batch, 1, 1, depth(768)].
  """
  net = layers.avg_pool2d(inputs, _at_most_5(inputs), 3, scope='AvgPool_1a_5x5')
  net = Conv('Conv2d_1b_1x1', 128, 1).apply(net, depth)
  kernel = _at_most_5(net)
  net = Conv(name.format(*kernel), 768, kernel, padding='VALID', stddev=stddev).apply(net, depth)
  return heads.global_pool(net, {})  # The end point `global_pool` is the main head's.


def auxiliary_logits(inputs: tf.Tensor, num_classes: int, *, name: str, scope: str) -> tf.Tensor:
  """The auxiliary classifier of Inception V4 and Inception-ResNet, fully connected.

  Args:
    inputs: [batch, height, width, channels].
    num_classes: number of classes.
    name: scope of the last convolution.
    scope: of the fully connected layer.

  Returns:
    [batch, num_classes].
  """
  with tf.compat.v1.variable_scope('AuxLogits'):
    net = heads.squeeze(auxiliary_features(inputs, name))
    return layers.fully_connected(net, num_classes, activation_fn=None, scope=scope)


def _at_most_5(inputs: tf.Tensor) -> tuple[int, int]:
  height, width = (5 if size is None else min(size, 5) for size in layers.spatial_size(inputs))
  return height, width
