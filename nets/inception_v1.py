"""Inception V1, or GoogLeNet (Szegedy et al. 2014, https://arxiv.org/abs/1409.4842, table 1).

As in TF-Slim, with batch norm, without the paper's auxiliary classifiers and local response
normalization, and with 3×3 convolutions instead of the paper's 5×5.
"""

from __future__ import annotations

import tensorflow as tf

from nets import heads, inception_blocks, layers
from nets.inception_blocks import Conv, MaxPool, Mixed
from nets.variants import default_image_size

inception_v1_arg_scope = inception_blocks.inception_arg_scope


def _mixed(name: str, one: int, *, three: tuple[int, int], five: tuple[int, int], pool: int,
           five_name: str = 'Conv2d_0b_3x3') -> Mixed:
  """The block of figure 2b: a row of table 1, where a pair is a reduction and what follows it."""
  return Mixed(name, (
      (Conv('Conv2d_0a_1x1', one, 1),),
      (Conv('Conv2d_0a_1x1', three[0], 1), Conv('Conv2d_0b_3x3', three[1], 3)),
      (Conv('Conv2d_0a_1x1', five[0], 1), Conv(five_name, five[1], 3)),
      (MaxPool('MaxPool_0a_3x3', 3), Conv('Conv2d_0b_1x1', pool, 1))))


_STACK = (
    Conv('Conv2d_1a_7x7', 64, 7, 2),
    MaxPool('MaxPool_2a_3x3', 3, 2),
    Conv('Conv2d_2b_1x1', 64, 1),
    Conv('Conv2d_2c_3x3', 192, 3),
    MaxPool('MaxPool_3a_3x3', 3, 2),
    _mixed('Mixed_3b', 64, three=(96, 128), five=(16, 32), pool=32),
    _mixed('Mixed_3c', 128, three=(128, 192), five=(32, 96), pool=64),
    MaxPool('MaxPool_4a_3x3', 3, 2),
    _mixed('Mixed_4b', 192, three=(96, 208), five=(16, 48), pool=64),
    _mixed('Mixed_4c', 160, three=(112, 224), five=(24, 64), pool=64),
    _mixed('Mixed_4d', 128, three=(128, 256), five=(24, 64), pool=64),
    _mixed('Mixed_4e', 112, three=(144, 288), five=(32, 64), pool=64),
    _mixed('Mixed_4f', 256, three=(160, 320), five=(32, 128), pool=128),
    MaxPool('MaxPool_5a_2x2', 2, 2),
    _mixed('Mixed_5b', 256, three=(160, 320), five=(32, 128), pool=128, five_name='Conv2d_0a_3x3'),
    _mixed('Mixed_5c', 384, three=(192, 384), five=(48, 128), pool=128),
)


@default_image_size(224)
def inception_v1(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
                 dropout_keep_prob: float = 0.8,
                 scope: str = 'InceptionV1') -> tuple[tf.Tensor, dict]:
  """Three convolutions, nine Inception blocks, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether batch norm uses batch statistics and dropout is
      active.
    dropout_keep_prob: share of the features that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 1024], and the end points.
  """
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'InceptionV1', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training):
    with layers.arg_scope([layers.conv2d],
                          weights_initializer=layers.truncated_normal_initializer(0.01)):
      net = inception_blocks.build(images, _STACK, end_points)
    net = end_points['AvgPool_0a_7x7'] = heads.global_pool(net, end_points)
    if not num_classes:
      return heads.squeeze(net), end_points
    with tf.compat.v1.variable_scope('Logits'):
      net = layers.dropout(net, dropout_keep_prob, scope='Dropout_0b')
      net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None,
                          scope='Conv2d_0c_1x1')
  return heads.add_predictions(heads.squeeze(net), end_points)
