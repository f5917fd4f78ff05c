"""Inception V2, BN-Inception (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167, figure 5).

As in TF-Slim, the first convolution is separable, as in the paper, with biases instead of batch
norm and without weight decay.
"""

from __future__ import annotations

import tensorflow as tf

from nets import heads, inception_blocks, layers
from nets.inception_blocks import AvgPool, Conv, MaxPool, Mixed
from nets.variants import default_image_size

inception_v2_arg_scope = inception_blocks.inception_arg_scope


def _reduce(depth: int) -> Conv:
  return Conv('Conv2d_0a_1x1', depth, 1, stddev=0.09)


def _mixed(name: str, one: int, *, three: tuple[int, int], double: tuple[int, int], pool: int,
           pooling: AvgPool | MaxPool = AvgPool()) -> Mixed:
  """A row of the paper's figure 5: a pair is a reduction and what follows it, twice in `double`."""
  return Mixed(name, (
      (Conv('Conv2d_0a_1x1', one, 1),),
      (_reduce(three[0]), Conv('Conv2d_0b_3x3', three[1], 3)),
      (_reduce(double[0]), Conv('Conv2d_0b_3x3', double[1], 3),
       Conv('Conv2d_0c_3x3', double[1], 3)),
      (pooling, Conv('Conv2d_0b_1x1', pool, 1, stddev=0.1))))


def _reduction(name: str, three: tuple[int, int], double: tuple[int, int]) -> Mixed:
  """A block that halves height and width; arguments as in `_mixed`."""
  return Mixed(name, (
      (_reduce(three[0]), Conv('Conv2d_1a_3x3', three[1], 3, 2)),
      (_reduce(double[0]), Conv('Conv2d_0b_3x3', double[1], 3),
       Conv('Conv2d_1a_3x3', double[1], 3, 2)),
      (MaxPool('MaxPool_1a_3x3', 3, 2),)))


_STACK = (  # What follows the first convolution.
    MaxPool('MaxPool_2a_3x3', 3, 2),
    Conv('Conv2d_2b_1x1', 64, 1, stddev=0.1),
    Conv('Conv2d_2c_3x3', 192, 3),
    MaxPool('MaxPool_3a_3x3', 3, 2),
    _mixed('Mixed_3b', 64, three=(64, 64), double=(64, 96), pool=32),
    _mixed('Mixed_3c', 64, three=(64, 96), double=(64, 96), pool=64),
    _reduction('Mixed_4a', (128, 160), (64, 96)),
    _mixed('Mixed_4b', 224, three=(64, 96), double=(96, 128), pool=128),
    _mixed('Mixed_4c', 192, three=(96, 128), double=(96, 128), pool=128),
    _mixed('Mixed_4d', 160, three=(128, 160), double=(128, 160), pool=96),
    _mixed('Mixed_4e', 96, three=(128, 192), double=(160, 192), pool=96),
    _reduction('Mixed_5a', (128, 192), (192, 256)),
    _mixed('Mixed_5b', 352, three=(192, 320), double=(160, 224), pool=128),
    _mixed('Mixed_5c', 352, three=(192, 320), double=(192, 224), pool=128,
           pooling=MaxPool('MaxPool_0a_3x3', 3)),
)


@default_image_size(224)
def inception_v2(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
                 dropout_keep_prob: float = 0.8, depth_multiplier: float = 1.0,
                 min_depth: int = 16, scope: str = 'InceptionV2') -> tuple[tf.Tensor, dict]:
  """Three convolutions, ten Inception blocks, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether batch norm uses batch statistics and dropout is
      active.
    dropout_keep_prob: share of the features that dropout keeps.
    depth_multiplier: factor of every layer's number of channels, above zero.
    min_depth: minimum number of channels.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 1024 * depth_multiplier], and the end points.

  Raises:
    ValueError: if `depth_multiplier` is not above zero.
  """
  depth = inception_blocks.multiplier(depth_multiplier, min_depth)
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'InceptionV2', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training):
    # Up to 8 depthwise outputs per channel of an RGB image, in total no more than the layer's.
    net = end_points['Conv2d_1a_7x7'] = layers.separable_conv2d(
        images, depth(64), 7, min(depth(64) // 3, 8), stride=2,
        weights_initializer=layers.truncated_normal_initializer(1.0), scope='Conv2d_1a_7x7')
    net = inception_blocks.build(net, _STACK, end_points, depth=depth)
    return inception_blocks.convolutional_head(
        net, num_classes, dropout_keep_prob=dropout_keep_prob, end_points=end_points)
