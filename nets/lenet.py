"""LeNet: TF-Slim's variant of LeNet-5.

LeCun et al. 1998, "Gradient-based learning applied to document recognition",
http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf.
"""

from __future__ import annotations

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size


def lenet_arg_scope(weight_decay: float = 0.0):
  """The arg scope of LeNet: L2 on all weights, truncated normal of deviation 0.1."""
  with layers.arg_scope([layers.conv2d, layers.fully_connected],
                        weights_regularizer=layers.l2_regularizer(weight_decay),
                        weights_initializer=layers.truncated_normal_initializer(0.1)) as sc:
    return sc


@default_image_size(28)
def lenet(images: tf.Tensor, num_classes: int | None = 10, is_training: bool = False, *,
          dropout_keep_prob: float = 0.5, scope: str = 'LeNet') -> tuple[tf.Tensor, dict]:
  """Two convolutions and two fully connected layers, for 28×28 digits.

  Args:
    images: [batch, height, width, channels]; at least 4×4; each size has its own variables.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fc3` that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 1024], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 4, scope)  # Two poolings by two.
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'LeNet', [images]):
    net = end_points['conv1'] = layers.conv2d(images, 32, 5, scope='conv1')
    net = end_points['pool1'] = layers.max_pool2d(net, 2, scope='pool1')
    net = end_points['conv2'] = layers.conv2d(net, 64, 5, scope='conv2')
    net = end_points['pool2'] = layers.max_pool2d(net, 2, scope='pool2')
    net = end_points['Flatten'] = layers.flatten(net)
    net = end_points['fc3'] = layers.fully_connected(net, 1024, scope='fc3')
    end_points['PreLogits'] = net
    if not num_classes:
      return net, end_points
    net = end_points['dropout3'] = layers.dropout(net, dropout_keep_prob, is_training=is_training,
                                                  scope='dropout3')
    logits = layers.fully_connected(net, num_classes, activation_fn=None, scope='fc4')
  return heads.add_predictions(logits, end_points)
