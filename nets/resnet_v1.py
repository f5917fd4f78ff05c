"""ResNet V1 (He et al. 2015, https://arxiv.org/abs/1512.03385, table 1), in four layouts.

They differ in the layer that has the stride, which the variables' shapes do not show:

- `resnet_v1_50` to `resnet_v1_200` are TF-Slim's: the 3×3 convolution in a block's last unit.
- `resnet50_keras` to `resnet152_keras` are Keras', whose weights are Caffe's, and the paper's: the
  first 1×1 convolution in a block's first unit. Their convolutions have biases and batch norm.
- `resnet50_torchvision` to `resnet152_torchvision` are torchvision's `resnet50` to `resnet152`,
  known as version 1.5: the 3×3 convolution in a block's first unit.
- `resnet_v1_18` and `resnet_v1_34`, with units of two 3×3 convolutions, are torchvision's
  `resnet18` and `resnet34`, and the paper's: the first convolution in a block's first unit.

The first two compute the same, TF-Slim's with less work, if the pooling's input has an odd size;
otherwise the windows of TF-Slim's pooling are aligned differently.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import heads, layers, resnet_utils
from nets.variants import NetFunction, variant

resnet_arg_scope = resnet_utils.resnet_arg_scope


def biased_batch_norm(linear: layers.Linear) -> tf.Tensor:
  """Adds biases before batch norm: redundant, but Keras' published weights have them."""
  return layers.batch_norm(linear.with_biases())


biased_batch_norm.takes_linear = True  # type: ignore[attr-defined]


def resnet_keras_arg_scope(weight_decay: float = 0.0001):
  """The arg scope of Keras' ResNets: with biases and Keras' batch norm constants."""
  with layers.arg_scope(resnet_arg_scope(weight_decay)), \
      layers.arg_scope([layers.conv2d], normalizer_fn=biased_batch_norm), \
      layers.arg_scope([layers.batch_norm], decay=0.99, epsilon=1.001e-5) as sc:
    return sc


def _shortcut(inputs: tf.Tensor, depth: int, stride: int) -> tf.Tensor:
  """The shortcut of a unit: the inputs, or their projection if the depth differs."""
  if depth == inputs.shape[-1]:
    return resnet_utils.subsample(inputs, stride)
  return layers.conv2d(inputs, depth, 1, stride, activation_fn=None, scope='shortcut')


def bottleneck(inputs: tf.Tensor, depth: int, base_depth: int, *, stride: int, end_points: dict,
               stride_in: str = 'conv2') -> tf.Tensor:
  """The residual unit with three convolutions (figure 5 of the paper, right).

  Args:
    inputs: [batch, height, width, channels].
    depth: number of output channels.
    base_depth: number of channels inside.
    stride: of the convolution `stride_in`.
    end_points: gains the unit's output.
    stride_in: `conv1`, the first 1×1 convolution, or `conv2`, the 3×3.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), depth].
  """
  strides = {'conv1': 1, 'conv2': 1, stride_in: stride}
  with tf.compat.v1.variable_scope('bottleneck_v1') as sc:
    net = layers.conv2d(inputs, base_depth, 1, strides['conv1'], scope='conv1')
    net = resnet_utils.conv2d_same(net, base_depth, 3, stride=strides['conv2'], scope='conv2')
    net = layers.conv2d(net, depth, 1, activation_fn=None, scope='conv3')
    net = end_points[sc.name] = tf.nn.relu(
        _shortcut(inputs, depth, stride) + layers.drop_path(net))
    return net


def basic(inputs: tf.Tensor, depth: int, base_depth: int, *, stride: int,
          end_points: dict) -> tf.Tensor:
  """The residual unit with two convolutions (figure 5 of the paper, left).

  Arguments and result are those of `bottleneck`; the stride is that of the first convolution.
  """
  with tf.compat.v1.variable_scope('basic_v1') as sc:
    net = resnet_utils.conv2d_same(inputs, base_depth, 3, stride=stride, scope='conv1')
    net = layers.conv2d(net, depth, 3, activation_fn=None, scope='conv2')
    net = end_points[sc.name] = tf.nn.relu(
        _shortcut(inputs, depth, stride) + layers.drop_path(net))
    return net


def resnet_v1(images: tf.Tensor, num_classes: int | None = None,
              is_training: bool = True, *, blocks: Sequence[resnet_utils.Block], scope: str,
              unit: Callable = bottleneck,
              pool: Callable = layers.max_pool2d) -> tuple[tf.Tensor, dict]:
  """A convolution, blocks of residual units, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: number of classes; 0 or None returns features instead of logits.
    blocks: the blocks.
    is_training: a Python bool; whether batch norm uses batch statistics.
    scope: name of the network.
    unit: the residual unit, `bottleneck` or `basic`.
    pool: `pool(net, kernel_size, stride, scope=…)`, the pooling after the first convolution.

  Returns:
    Logits [batch, num_classes] or features [batch, depth of the last block], and the end points.
  """
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'resnet_v1', [images]), \
      layers.arg_scope([layers.conv2d], end_points=end_points), \
      layers.arg_scope([layers.batch_norm, layers.drop_path], is_training=is_training):
    net = resnet_utils.conv2d_same(images, 64, 7, stride=2, scope='conv1')
    net = pool(net, 3, 2, scope='pool1')
    net = resnet_utils.stack_blocks(net, blocks, unit, end_points=end_points)
    return resnet_utils.classify(net, num_classes, end_points)


def _slims(num_layers: int) -> NetFunction:
  """TF-Slim's network with `num_layers` layers."""
  name = f'resnet_v1_{num_layers}'
  return variant(resnet_v1, name, image_size=224, scope=name,
                 blocks=resnet_utils.blocks_with_stride_last(num_layers))


def _basic(num_layers: int) -> NetFunction:
  """Torchvision's network with `num_layers` layers, with units of two convolutions."""
  name = f'resnet_v1_{num_layers}'
  return variant(resnet_v1, name, image_size=224, scope=name, unit=basic,
                 blocks=resnet_utils.blocks_with_stride_first(num_layers, expansion=1),
                 pool=resnet_utils.max_pool2d_same)


def _keras(num_layers: int) -> NetFunction:
  """Keras' network with `num_layers` layers, whose published weights are for BGR images."""
  name = f'resnet{num_layers}_keras'
  return variant(resnet_v1, name, image_size=224, scope=name,
                 unit=functools.partial(bottleneck, stride_in='conv1'),
                 blocks=resnet_utils.blocks_with_stride_first(num_layers),
                 pool=resnet_utils.max_pool2d_same)


def _torchvisions(num_layers: int) -> NetFunction:
  """Torchvision's network with `num_layers` layers, with units of three convolutions."""
  name = f'resnet{num_layers}_torchvision'
  return variant(resnet_v1, name, image_size=224, scope=name,
                 blocks=resnet_utils.blocks_with_stride_first(num_layers),
                 pool=resnet_utils.max_pool2d_same)


resnet_v1_18, resnet_v1_34 = _basic(18), _basic(34)
resnet_v1_50, resnet_v1_101, resnet_v1_152, resnet_v1_200 = map(_slims, (50, 101, 152, 200))
resnet50_keras, resnet101_keras, resnet152_keras = map(_keras, (50, 101, 152))
resnet50_torchvision, resnet101_torchvision, resnet152_torchvision = map(
    _torchvisions, (50, 101, 152))
