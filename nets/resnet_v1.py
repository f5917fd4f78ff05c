"""ResNet V1 (He et al. 2015, https://arxiv.org/abs/1512.03385, table 1)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from nets import heads, layers, resnet_utils

resnet_arg_scope = resnet_utils.resnet_arg_scope


def bottleneck(inputs: tf.Tensor, depth: int, depth_bottleneck: int, stride: int,
               end_points: dict) -> tf.Tensor:
  """The residual unit with three convolutions (figure 5 of the paper, right).

  Args:
    inputs: [batch, height, width, channels].
    depth: channels of the result.
    depth_bottleneck: channels inside.
    stride: of the convolution in the middle.
    end_points: gains the unit's output.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), depth].
  """
  with tf.compat.v1.variable_scope('bottleneck_v1') as sc:
    if depth == inputs.shape[-1]:
      shortcut = resnet_utils.subsample(inputs, stride)
    else:
      shortcut = layers.conv2d(inputs, depth, 1, stride, activation_fn=None, scope='shortcut')
    net = layers.conv2d(inputs, depth_bottleneck, 1, scope='conv1')
    net = resnet_utils.conv2d_same(net, depth_bottleneck, 3, stride, scope='conv2')
    net = layers.conv2d(net, depth, 1, activation_fn=None, scope='conv3')
    net = end_points[sc.name] = tf.nn.relu(shortcut + net)
    return net


def resnet_v1(images: tf.Tensor, num_classes: int | None, *, num_units: Sequence[int],
              is_training: bool, scope: str) -> tuple[tf.Tensor, dict]:
  """A convolution, four blocks of bottleneck units, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: width of the logits; 0 or None gives the features before them instead.
    num_units: number of units in each block.
    is_training: a Python bool; whether batch norm uses the batch's own statistics.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 2048], and the end points.
  """
  heads.check_images(images, 1, scope)
  end_points = {}
  with tf.compat.v1.variable_scope(scope, 'resnet_v1', [images]) as sc, \
      layers.arg_scope([layers.conv2d], end_points=end_points), \
      layers.arg_scope([layers.batch_norm], is_training=is_training):
    net = resnet_utils.conv2d_same(images, 64, 7, 2, scope='conv1')
    net = layers.max_pool2d(net, 3, 2, scope='pool1')
    net = resnet_utils.stack_blocks(net, resnet_utils.blocks(num_units), bottleneck, end_points)
    net = heads.global_pool(net, end_points)
    if not num_classes:
      return heads.squeeze(net), end_points
    net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None,
                        scope='logits')
    logits = end_points[f'{sc.name}/spatial_squeeze'] = heads.squeeze(net)
  heads.add_predictions(logits, end_points)
  end_points['predictions'] = end_points['Predictions']  # TF-Slim's spelling for ResNets.
  return logits, end_points


def resnet_v1_50(images: tf.Tensor, num_classes: int | None = None, *, is_training: bool = True,
                 scope: str = 'resnet_v1_50') -> tuple[tf.Tensor, dict]:
  """ResNet V1 with 50 layers; arguments and results as in `resnet_v1`."""
  return resnet_v1(images, num_classes, num_units=(3, 4, 6, 3), is_training=is_training,
                   scope=scope)


resnet_v1_50.default_image_size = 224
