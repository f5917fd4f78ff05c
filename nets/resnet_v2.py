"""ResNet V2 (He et al. 2016, https://arxiv.org/abs/1603.05027, figure 4e), in TF-Slim's layout."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from nets import heads, layers, resnet_utils
from nets.variants import NetFunction, variant

resnet_arg_scope = resnet_utils.resnet_arg_scope


def bottleneck(inputs: tf.Tensor, depth: int, base_depth: int, *, stride: int,
               end_points: dict) -> tf.Tensor:
  """The residual unit whose batch norm and ReLU come before the convolutions.

  Args:
    inputs: [batch, height, width, channels], neither normalized nor activated.
    depth: number of output channels.
    base_depth: number of channels inside.
    stride: of the convolution in the middle.
    end_points: gains the unit's output.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), depth].
  """
  linear: dict[str, Any] = {'activation_fn': None, 'normalizer_fn': None}
  with tf.compat.v1.variable_scope('bottleneck_v2') as sc:
    preact = layers.batch_norm(inputs, activation_fn=tf.nn.relu, scope='preact')
    if depth == inputs.shape[-1]:
      shortcut = resnet_utils.subsample(inputs, stride)
    else:
      shortcut = layers.conv2d(preact, depth, 1, stride, scope='shortcut', **linear)
    net = layers.conv2d(preact, base_depth, 1, scope='conv1')
    net = resnet_utils.conv2d_same(net, base_depth, 3, stride=stride, scope='conv2')
    net = layers.conv2d(net, depth, 1, scope='conv3', **linear)
    net = end_points[sc.name] = shortcut + layers.drop_path(net)
    return net


def resnet_v2(images: tf.Tensor, num_classes: int | None = None,
              is_training: bool = True, *, num_layers: int, scope: str) -> tuple[tf.Tensor, dict]:
  """A convolution, four blocks of bottleneck units, batch norm, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: number of classes; 0 or None returns features instead of logits.
    num_layers: 50, 101, 152 or 200.
    is_training: a Python bool; whether batch norm uses batch statistics.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 2048], and the end points.
  """
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  blocks = resnet_utils.blocks_with_stride_last(num_layers)
  with tf.compat.v1.variable_scope(scope, 'resnet_v2', [images]), \
      layers.arg_scope([layers.conv2d], end_points=end_points), \
      layers.arg_scope([layers.batch_norm, layers.drop_path], is_training=is_training):
    # The first unit begins with batch norm: the convolution before it has biases instead.
    with layers.arg_scope([layers.conv2d], activation_fn=None, normalizer_fn=None):
      net = resnet_utils.conv2d_same(images, 64, 7, stride=2, scope='conv1')
    net = layers.max_pool2d(net, 3, 2, scope='pool1')
    net = resnet_utils.stack_blocks(net, blocks, bottleneck, end_points=end_points)
    net = layers.batch_norm(net, activation_fn=tf.nn.relu, scope='postnorm')
    return resnet_utils.classify(net, num_classes, end_points)


def _variant(num_layers: int) -> NetFunction:
  name = f'resnet_v2_{num_layers}'
  return variant(resnet_v2, name, image_size=224, scope=name, num_layers=num_layers)


resnet_v2_50, resnet_v2_101, resnet_v2_152, resnet_v2_200 = map(_variant, (50, 101, 152, 200))
