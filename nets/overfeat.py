"""OverFeat, the fast model (Sermanet et al. 2013, https://arxiv.org/abs/1312.6229, table 1).

As in TF-Slim, the first convolution has 64 channels; the paper's has 96.
"""

from __future__ import annotations

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size


def overfeat_arg_scope(weight_decay: float = 0.0005):
  """The arg scope of OverFeat: L2 on all weights."""
  with layers.arg_scope([layers.conv2d],
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


@default_image_size(231)
def overfeat(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
             dropout_keep_prob: float = 0.5, scope: str = 'overfeat') -> tuple[tf.Tensor, dict]:
  """Five convolutions, three of them with a pooling, and three fully connected layers.

  Args:
    images: [batch, height, width, channels], at least 231×231. From 263 pixels on, the
      outputs at several positions are averaged.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fc6` and `fc7` that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 4096], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 231, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'overfeat', [images]), \
      layers.arg_scope([layers.conv2d, layers.max_pool2d], end_points=end_points):
    net = layers.conv2d(images, 64, 11, 4, padding='VALID', scope='conv1')
    net = layers.max_pool2d(net, 2, scope='pool1')
    net = layers.conv2d(net, 256, 5, padding='VALID', scope='conv2')
    net = layers.max_pool2d(net, 2, scope='pool2')
    for i, depth in enumerate((512, 1024, 1024), start=3):
      net = layers.conv2d(net, depth, 3, scope=f'conv{i}')
    net = layers.max_pool2d(net, 2, scope='pool5')
    narrow = layers.truncated_normal_initializer(0.005)
    return heads.fully_connected_head(
        net, num_classes, kernel_size=6, width=3072, is_training=is_training,
        dropout_keep_prob=dropout_keep_prob, end_points=end_points, weights_initializer=narrow,
        biases_initializer=layers.constant_initializer(0.1), logits_initializer=narrow)
