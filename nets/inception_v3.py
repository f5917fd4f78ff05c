"""Inception V3 (Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, table 1)."""

from __future__ import annotations

import tensorflow as tf

from nets import heads, inception_blocks, layers
from nets.inception_blocks import AvgPool, Conv, Fork, MaxPool, Mixed
from nets.variants import default_image_size

inception_v3_arg_scope = inception_blocks.inception_arg_scope


def _mixed_5(name: str, pool: int, five_names: tuple[str, str] = ('Conv2d_0a_1x1',
                                                                 'Conv2d_0b_5x5')) -> Mixed:
  """The block of figure 5, with a 5×5 convolution where the figure has a single 3×3."""
  return Mixed(name, (
      (Conv('Conv2d_0a_1x1', 64, 1),),
      (Conv(five_names[0], 48, 1), Conv(five_names[1], 64, 5)),
      (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_0b_3x3', 96, 3), Conv('Conv2d_0c_3x3', 96, 3)),
      (AvgPool(), Conv('Conv2d_0b_1x1', pool, 1))))


def _mixed_6(name: str, depth: int) -> Mixed:
  """The block of figure 6, with n = 7."""
  return Mixed(name, (
      (Conv('Conv2d_0a_1x1', 192, 1),),
      (Conv('Conv2d_0a_1x1', depth, 1), Conv('Conv2d_0b_1x7', depth, (1, 7)),
       Conv('Conv2d_0c_7x1', 192, (7, 1))),
      (Conv('Conv2d_0a_1x1', depth, 1), Conv('Conv2d_0b_7x1', depth, (7, 1)),
       Conv('Conv2d_0c_1x7', depth, (1, 7)), Conv('Conv2d_0d_7x1', depth, (7, 1)),
       Conv('Conv2d_0e_1x7', 192, (1, 7))),
      (AvgPool(), Conv('Conv2d_0b_1x1', 192, 1))))


def _mixed_7(name: str, second_name: str) -> Mixed:
  """The block of figure 7."""
  return Mixed(name, (
      (Conv('Conv2d_0a_1x1', 320, 1),),
      (Conv('Conv2d_0a_1x1', 384, 1),
       Fork((Conv('Conv2d_0b_1x3', 384, (1, 3)), Conv(second_name, 384, (3, 1))))),
      (Conv('Conv2d_0a_1x1', 448, 1), Conv('Conv2d_0b_3x3', 384, 3),
       Fork((Conv('Conv2d_0c_1x3', 384, (1, 3)), Conv('Conv2d_0d_3x1', 384, (3, 1))))),
      (AvgPool(), Conv('Conv2d_0b_1x1', 192, 1))))


STEM = (  # That of Inception-ResNet V2, too.
    Conv('Conv2d_1a_3x3', 32, 3, 2, 'VALID'),
    Conv('Conv2d_2a_3x3', 32, 3, 1, 'VALID'),
    Conv('Conv2d_2b_3x3', 64, 3),
    MaxPool('MaxPool_3a_3x3', 3, 2, 'VALID'),
    Conv('Conv2d_3b_1x1', 80, 1),
    Conv('Conv2d_4a_3x3', 192, 3, 1, 'VALID'),
    MaxPool('MaxPool_5a_3x3', 3, 2, 'VALID'),
)

_STACK = (
    *STEM,
    _mixed_5('Mixed_5b', 32),
    _mixed_5('Mixed_5c', 64, five_names=('Conv2d_0b_1x1', 'Conv_1_0c_5x5')),
    _mixed_5('Mixed_5d', 64),
    Mixed('Mixed_6a', (
        (Conv('Conv2d_1a_1x1', 384, 3, 2, 'VALID'),),
        (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_0b_3x3', 96, 3),
         Conv('Conv2d_1a_1x1', 96, 3, 2, 'VALID')),
        (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),))),
    _mixed_6('Mixed_6b', 128),
    _mixed_6('Mixed_6c', 160),
    _mixed_6('Mixed_6d', 160),
    _mixed_6('Mixed_6e', 192),
    Mixed('Mixed_7a', (
        (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_1a_3x3', 320, 3, 2, 'VALID')),
        (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_0b_1x7', 192, (1, 7)),
         Conv('Conv2d_0c_7x1', 192, (7, 1)), Conv('Conv2d_1a_3x3', 192, 3, 2, 'VALID')),
        (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),))),
    _mixed_7('Mixed_7b', second_name='Conv2d_0b_3x1'),
    _mixed_7('Mixed_7c', second_name='Conv2d_0c_3x1'),
)


@default_image_size(299)
def inception_v3(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
                 dropout_keep_prob: float = 0.8, depth_multiplier: float = 1.0,
                 min_depth: int = 16, scope: str = 'InceptionV3') -> tuple[tf.Tensor, dict]:
  """Five convolutions, eleven Inception blocks, a mean, a classifier; in training another one.

  Args:
    images: [batch, height, width, channels], at least 75 pixels in height and width.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether batch norm uses batch statistics, dropout is active
      and, with classes, there is an auxiliary classifier.
    dropout_keep_prob: share of the features that dropout keeps.
    depth_multiplier: factor of every layer's number of channels, above zero.
    min_depth: minimum number of channels.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 2048 * depth_multiplier], and the end points,
    in training with `AuxLogits` [batch, num_classes].

  Raises:
    ValueError: if `depth_multiplier` is not above zero, or the images are too small.
  """
  depth = inception_blocks.multiplier(depth_multiplier, min_depth)
  heads.check_images(images, 75, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'InceptionV3', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training):
    net = inception_blocks.build(images, _STACK, end_points, depth=depth)
    if is_training and num_classes:
      end_points['AuxLogits'] = _auxiliary_logits(end_points['Mixed_6e'], num_classes, depth)
    return inception_blocks.convolutional_head(
        net, num_classes, dropout_keep_prob=dropout_keep_prob, end_points=end_points)


def _auxiliary_logits(inputs: tf.Tensor, num_classes: int,
                      depth: inception_blocks.Depth) -> tf.Tensor:
  with tf.compat.v1.variable_scope('AuxLogits'):
    net = inception_blocks.auxiliary_features(inputs, 'Conv2d_2a_{}x{}', stddev=0.01, depth=depth)
    net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None,
                        weights_initializer=layers.truncated_normal_initializer(0.001),
                        scope='Conv2d_2b_1x1')
    return heads.squeeze(net)
