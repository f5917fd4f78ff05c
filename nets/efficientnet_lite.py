"""EfficientNet-Lite: EfficientNet (Tan and Le 2019, https://arxiv.org/abs/1905.11946) for phones.

Without squeeze-and-excite, with ReLU6, and with a first and a last convolution of fixed width
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite). TF-Slim does
not have it; the names of the variables are ours, in TF-Slim's style.
"""

from __future__ import annotations

import math

import tensorflow as tf

from nets import heads, layers
from nets.inverted_residual import inverted_residual, round_depth
from nets.variants import variant

# Kernel, number of blocks, expansion, depth, stride of the first block:
# stages 2 to 8 of table 1.
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 3, 6, 80, 2),
           (5, 3, 6, 112, 1), (5, 4, 6, 192, 2), (3, 1, 6, 320, 1))

# The last block is dropped for nearly this share of the examples, the first for none.
_DROP_PATH = 0.2


def efficientnet_lite_arg_scope(weight_decay: float = 0.00001):
  """The arg scope of EfficientNet-Lite: batch norm and ReLU6, L2 on all weights and biases."""
  initializer = tf.compat.v1.variance_scaling_initializer(2.0, 'fan_out', 'untruncated_normal')
  uniform = tf.compat.v1.variance_scaling_initializer(1 / 3, 'fan_out', 'uniform')
  regularizer = layers.l2_regularizer(weight_decay)
  with layers.arg_scope([layers.conv2d, layers.separable_conv2d], activation_fn=tf.nn.relu6,
                        normalizer_fn=layers.batch_norm, weights_initializer=initializer,
                        weights_regularizer=regularizer), \
      layers.arg_scope([layers.fully_connected], weights_initializer=uniform,
                       weights_regularizer=regularizer, biases_regularizer=regularizer), \
      layers.arg_scope([layers.batch_norm], decay=0.99, epsilon=0.001, scale=True) as sc:
    return sc


def _blocks(width: float, depth: float) -> list[dict]:
  """Returns the arguments of each block, scaled."""
  blocks = []
  for i, (kernel_size, repeats, expansion, channels, stride) in enumerate(_STAGES):
    if 0 < i < len(_STAGES) - 1:
      repeats = math.ceil(repeats * depth)
    blocks += [{'depth': round_depth(channels * width), 'kernel_size': kernel_size,
                'stride': 1 if j else stride, 'expansion': expansion} for j in range(repeats)]
  return blocks


def efficientnet_lite(images: tf.Tensor, num_classes: int | None = 1000,
                      is_training: bool = True, *, width: float, depth: float,
                      dropout_keep_prob: float = 0.8, scope: str) -> tuple[tf.Tensor, dict]:
  """A convolution, inverted residual blocks, a convolution, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: number of classes; 0 or None returns features instead of logits.
    width: factor of the blocks' numbers of channels.
    depth: factor of the number of blocks in each stage except the first and the last.
    is_training: a Python bool; whether batch norm uses batch statistics and dropout and
      drop path are active.
    dropout_keep_prob: share of the features that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 1280], and the end points: `stem`, `block_0`
    and so on with those that `inverted_residual` adds, `head`.
  """
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'efficientnet_lite', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout, layers.drop_path],
                       is_training=is_training):
    net = end_points['stem'] = layers.conv2d(images, 32, 3, 2, scope='stem')
    blocks = _blocks(width, depth)
    for i, block in enumerate(blocks):
      expanded = block.pop('expansion') * net.shape[-1]
      with layers.arg_scope([layers.drop_path], depth=i / len(blocks)):
        net = inverted_residual(net, expanded=expanded, activation_fn=tf.nn.relu6,
                                keep_prob=1 - _DROP_PATH * i / len(blocks), end_points=end_points,
                                name=f'block_{i}', scope=f'block_{i}', **block)
    net = end_points['head'] = layers.conv2d(net, 1280, 1, scope='head')
    net = heads.squeeze(heads.global_pool(net, end_points))
    if not num_classes:
      return net, end_points
    net = layers.dropout(net, dropout_keep_prob, scope='dropout')
    logits = layers.fully_connected(net, num_classes, activation_fn=None, scope='logits')
  return heads.add_predictions(logits, end_points)


efficientnet_lite0 = variant(efficientnet_lite, 'efficientnet_lite0', image_size=224,
                             scope='efficientnet_lite0', width=1.0, depth=1.0)
efficientnet_lite1 = variant(efficientnet_lite, 'efficientnet_lite1', image_size=240,
                             scope='efficientnet_lite1', width=1.0, depth=1.1)
efficientnet_lite2 = variant(efficientnet_lite, 'efficientnet_lite2', image_size=260,
                             scope='efficientnet_lite2', width=1.1, depth=1.2,
                             dropout_keep_prob=0.7)
efficientnet_lite3 = variant(efficientnet_lite, 'efficientnet_lite3', image_size=280,
                             scope='efficientnet_lite3', width=1.2, depth=1.4,
                             dropout_keep_prob=0.7)
efficientnet_lite4 = variant(efficientnet_lite, 'efficientnet_lite4', image_size=300,
                             scope='efficientnet_lite4', width=1.4, depth=1.8,
                             dropout_keep_prob=0.7)
