"""VGG (Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556, table 1: A, D and E)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size

_DEPTHS = (64, 128, 256, 512, 512)


def vgg_arg_scope(weight_decay: float = 0.0005):
  """The arg scope of VGG: L2 on all weights."""
  with layers.arg_scope([layers.conv2d],
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


def vgg(images: tf.Tensor, num_classes: int | None, *, repeats: Sequence[int], is_training: bool,
        dropout_keep_prob: float, scope: str) -> tuple[tf.Tensor, dict]:
  """Five blocks of 3×3 convolutions and three fully connected layers.

  Args:
    images: [batch, height, width, channels], at least 224×224. From 256 pixels on, the
      outputs at several positions are averaged.
    num_classes: number of classes; 0 or None returns features instead of logits.
    repeats: number of convolutions in each block.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fc6` and `fc7` that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 4096], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 224, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'vgg', [images]), \
      layers.arg_scope([layers.conv2d, layers.max_pool2d], end_points=end_points):
    net = images
    for i, (count, depth) in enumerate(zip(repeats, _DEPTHS, strict=True), start=1):
      net = layers.repeat(net, count, layers.conv2d, depth, 3, scope=f'conv{i}')
      net = layers.max_pool2d(net, 2, scope=f'pool{i}')
    return heads.fully_connected_head(net, num_classes, kernel_size=7, is_training=is_training,
                                      dropout_keep_prob=dropout_keep_prob, end_points=end_points)


@default_image_size(224)
def vgg_a(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
          dropout_keep_prob: float = 0.5, scope: str = 'vgg_a') -> tuple[tf.Tensor, dict]:
  """VGG with 11 layers; arguments and results as in `vgg`."""
  return vgg(images, num_classes, repeats=(1, 1, 2, 2, 2), is_training=is_training,
             dropout_keep_prob=dropout_keep_prob, scope=scope)


@default_image_size(224)
def vgg_16(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
           dropout_keep_prob: float = 0.5, scope: str = 'vgg_16') -> tuple[tf.Tensor, dict]:
  """VGG with 16 layers; arguments and results as in `vgg`."""
  return vgg(images, num_classes, repeats=(2, 2, 3, 3, 3), is_training=is_training,
             dropout_keep_prob=dropout_keep_prob, scope=scope)


@default_image_size(224)
def vgg_19(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
           dropout_keep_prob: float = 0.5, scope: str = 'vgg_19') -> tuple[tf.Tensor, dict]:
  """VGG with 19 layers; arguments and results as in `vgg`."""
  return vgg(images, num_classes, repeats=(2, 2, 4, 4, 4), is_training=is_training,
             dropout_keep_prob=dropout_keep_prob, scope=scope)
