"""MobileNet V1 (Howard et al. 2017, https://arxiv.org/abs/1704.04861, table 1)."""

from __future__ import annotations

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size, variant

# Depth and stride of the first convolution, then of the depthwise separable ones.
_LAYERS = ((32, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1),
           (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1))


def mobilenet_v1_arg_scope(weight_decay: float = 0.00004):
  """The arg scope of MobileNet V1: batch norm, ReLU6, L2 on all weights except depthwise ones."""
  with layers.arg_scope([layers.conv2d, layers.separable_conv2d],
                        weights_initializer=layers.truncated_normal_initializer(0.09),
                        activation_fn=tf.nn.relu6, normalizer_fn=layers.batch_norm), \
      layers.arg_scope([layers.batch_norm], decay=0.9997, epsilon=0.001, scale=True), \
      layers.arg_scope([layers.conv2d],
                       weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


@default_image_size(224)
def mobilenet_v1(images: tf.Tensor, num_classes: int | None = 1000, *, is_training: bool = True,
                 dropout_keep_prob: float = 0.999, depth_multiplier: float = 1.0,
                 min_depth: int = 8, scope: str = 'MobilenetV1') -> tuple[tf.Tensor, dict]:
  """A convolution, thirteen depthwise separable convolutions, a mean and a classifier.

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
  if depth_multiplier <= 0:
    raise ValueError(f'Expected depth_multiplier > 0. Received: {depth_multiplier}.')
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'MobilenetV1', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training):
    net = images
    for i, (depth, stride) in enumerate(_LAYERS):
      depth, name = max(int(depth * depth_multiplier), min_depth), f'Conv2d_{i}'
      if i == 0:
        net = end_points[name] = layers.conv2d(net, depth, 3, stride, scope=name)
        continue
      net = end_points[f'{name}_depthwise'] = layers.separable_conv2d(
          net, None, 3, stride=stride, scope=f'{name}_depthwise')
      net = end_points[f'{name}_pointwise'] = layers.conv2d(net, depth, 1,
                                                            scope=f'{name}_pointwise')
    net = end_points['AvgPool_1a'] = heads.global_pool(net, end_points)
    if not num_classes:
      return heads.squeeze(net), end_points
    with tf.compat.v1.variable_scope('Logits'):
      net = layers.dropout(net, dropout_keep_prob, scope='Dropout_1b')
      net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None,
                          scope='Conv2d_1c_1x1')
  return heads.add_predictions(heads.squeeze(net), end_points)

mobilenet_v1_075 = variant(mobilenet_v1, 'mobilenet_v1_075', depth_multiplier=0.75)
mobilenet_v1_050 = variant(mobilenet_v1, 'mobilenet_v1_050', depth_multiplier=0.5)
mobilenet_v1_025 = variant(mobilenet_v1, 'mobilenet_v1_025', depth_multiplier=0.25)
