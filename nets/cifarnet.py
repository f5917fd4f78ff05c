"""CifarNet: TF-Slim's variant of cuda-convnet's network for CIFAR-10.

Krizhevsky 2012, https://code.google.com/archive/p/cuda-convnet/.
"""

from __future__ import annotations

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size


def cifarnet_arg_scope(weight_decay: float = 0.004):
  """The arg scope of CifarNet: L2 on the fully connected weights only."""
  with layers.arg_scope(
      [layers.conv2d], weights_initializer=layers.truncated_normal_initializer(0.05)), \
      layers.arg_scope(
          [layers.fully_connected], biases_initializer=layers.constant_initializer(0.1),
          weights_initializer=layers.truncated_normal_initializer(0.04),
          weights_regularizer=layers.l2_regularizer(weight_decay)), \
      layers.arg_scope(
          [layers.local_response_normalization], depth_radius=4, bias=1.0, alpha=0.001 / 9,
          beta=0.75) as sc:
    return sc


@default_image_size(32)
def cifarnet(images: tf.Tensor, num_classes: int | None = 10, is_training: bool = False, *,
             dropout_keep_prob: float = 0.5, scope: str = 'CifarNet') -> tuple[tf.Tensor, dict]:
  """Two convolutions with local response normalization and three fully connected layers.

  Args:
    images: [batch, height, width, channels]; at least 4×4; each size has its own variables.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fc3` that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 192], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 4, scope)  # Two poolings by two.
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'CifarNet', [images]):
    net = end_points['conv1'] = layers.conv2d(images, 64, 5, scope='conv1')
    net = end_points['pool1'] = layers.max_pool2d(net, 2, scope='pool1')
    net = layers.local_response_normalization(net, scope='norm1')
    net = end_points['conv2'] = layers.conv2d(net, 64, 5, scope='conv2')
    net = layers.local_response_normalization(net, scope='norm2')
    net = end_points['pool2'] = layers.max_pool2d(net, 2, scope='pool2')
    net = end_points['Flatten'] = layers.flatten(net)
    net = end_points['fc3'] = layers.fully_connected(net, 384, scope='fc3')
    net = layers.dropout(net, dropout_keep_prob, is_training=is_training, scope='dropout3')
    net = end_points['fc4'] = layers.fully_connected(net, 192, scope='fc4')
    end_points['PreLogits'] = net
    if not num_classes:
      return net, end_points
    logits = layers.fully_connected(
        net, num_classes, activation_fn=None, weights_regularizer=None,
        weights_initializer=layers.truncated_normal_initializer(1 / 192),
        biases_initializer=layers.zeros_initializer(), scope='logits')
  return heads.add_predictions(logits, end_points)
