"""The AlexNets.

`alexnet_v2` is TF-Slim's, the one-column network of Krizhevsky 2014 ("One weird trick for
parallelizing convolutional neural networks", https://arxiv.org/abs/1404.5997).
`alexnet_torchvision` is torchvision's, from the same paper, with other depths and padding.
`alexnet` is the network of Krizhevsky, Sutskever and Hinton 2012 as Caffe publishes it
(`bvlc_alexnet`, https://github.com/BVLC/caffe/tree/master/models/bvlc_alexnet): two groups and
local response normalization. `caffenet` is the same with the first two poolings before
the normalization (`bvlc_reference_caffenet`); its weights have the same shapes but are not
interchangeable with those of `alexnet`.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size, variant


@dataclasses.dataclass(frozen=True)
class _Conv:
  """A convolution and the layers after it."""
  num_outputs: int
  kernel_size: int
  stride: int = 1
  padding: str = 'SAME'
  groups: int = 1
  bias: float = 0.1
  has_norm: bool = False
  has_pool: bool = False


_ALEXNET_V2 = (
    _Conv(64, 11, stride=4, padding='VALID', has_pool=True),
    _Conv(192, 5, has_pool=True),
    _Conv(384, 3),
    _Conv(384, 3),
    _Conv(256, 3, has_pool=True),
)

_ALEXNET_TORCHVISION = (
    _Conv(64, 11, stride=4, padding='VALID', bias=0.0, has_pool=True),
    _Conv(192, 5, bias=0.0, has_pool=True),
    _Conv(384, 3, bias=0.0),
    _Conv(256, 3, bias=0.0),
    _Conv(256, 3, bias=0.0, has_pool=True),
)

_ALEXNET = (
    _Conv(96, 11, stride=4, padding='VALID', bias=0.0, has_norm=True, has_pool=True),
    _Conv(256, 5, groups=2, has_norm=True, has_pool=True),
    _Conv(384, 3, bias=0.0),
    _Conv(384, 3, groups=2),
    _Conv(256, 3, groups=2, has_pool=True),
)


def alexnet_v2_arg_scope(weight_decay: float = 0.0005):
  """The arg scope of `alexnet_v2`: L2 on all weights."""
  with layers.arg_scope([layers.conv2d],
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


def alexnet_torchvision_arg_scope(weight_decay: float = 0.0001):
  """The arg scope of `alexnet_torchvision`: L2 on all weights, PyTorch's initial weights."""
  pytorchs = layers.variance_scaling_initializer(factor=1 / 3, mode='FAN_IN', uniform=True)
  with layers.arg_scope([layers.conv2d], weights_initializer=pytorchs,
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


def alexnet_arg_scope(weight_decay: float = 0.0005):
  """The arg scope of `alexnet`: L2 on all weights, Caffe's initial values and normalization.

  Caffe divides alpha by the window size and TensorFlow does not: Caffe's 1e-4 for five channels is
  2e-5 here.
  """
  with layers.arg_scope([layers.conv2d],
                        weights_regularizer=layers.l2_regularizer(weight_decay),
                        weights_initializer=layers.random_normal_initializer(0.01)), \
      layers.arg_scope([layers.local_response_normalization], depth_radius=2, bias=1.0,
                       alpha=2e-5, beta=0.75) as sc:
    return sc


def _convolutions(net: tf.Tensor, convs: tuple[_Conv, ...], *,
                  pools_first: bool = False) -> tf.Tensor:
  """Applies conv1, norm1, pool1, conv2, … where they exist, or pool1 before norm1."""
  for i, conv in enumerate(convs, start=1):
    net = layers.conv2d(net, conv.num_outputs, conv.kernel_size, conv.stride, conv.padding,
                        groups=conv.groups, scope=f'conv{i}',
                        biases_initializer=layers.constant_initializer(conv.bias))
    if conv.has_norm and not pools_first:
      net = layers.local_response_normalization(net, scope=f'norm{i}')
    if conv.has_pool:
      net = layers.max_pool2d(net, 3, 2, scope=f'pool{i}')
    if conv.has_norm and pools_first:
      net = layers.local_response_normalization(net, scope=f'norm{i}')
  return net


@default_image_size(224)
def alexnet_v2(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
               dropout_keep_prob: float = 0.5,
               scope: str = 'alexnet_v2') -> tuple[tf.Tensor, dict]:
  """TF-Slim's AlexNet: one column, no local response normalization.

  Args:
    images: [batch, height, width, channels], at least 195×195. From 227 pixels on, the
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
  heads.check_images(images, 195, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'alexnet_v2', [images]), \
      layers.arg_scope([layers.conv2d, layers.max_pool2d], end_points=end_points):
    net = _convolutions(images, _ALEXNET_V2)
    narrow = layers.truncated_normal_initializer(0.005)
    return heads.fully_connected_head(
        net, num_classes, kernel_size=5, is_training=is_training,
        dropout_keep_prob=dropout_keep_prob, end_points=end_points, weights_initializer=narrow,
        biases_initializer=layers.constant_initializer(0.1), logits_initializer=narrow)


@default_image_size(227)
def alexnet(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
            dropout_keep_prob: float = 0.5, pools_first: bool = False,
            scope: str = 'alexnet') -> tuple[tf.Tensor, dict]:
  """Caffe's AlexNet. Its published weights are for BGR images with the mean subtracted.

  `fc6` to `fc8` are convolutions with TF-Slim's shapes, as in every other network here: Caffe's
  matrix [9216, 4096] of `fc6`, with its rows in the order height, width, channel, is reshaped to
  [6, 6, 256, 4096].

  Args:
    images: [batch, height, width, channels], at least 227×227. From 259 pixels on, the
      outputs at several positions are averaged.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fc6` and `fc7` that dropout keeps.
    pools_first: whether the first two poolings come before the normalization.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 4096], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 227, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'alexnet', [images]), \
      layers.arg_scope([layers.conv2d, layers.max_pool2d, layers.local_response_normalization],
                       end_points=end_points):
    net = _convolutions(images, _ALEXNET, pools_first=pools_first)
    return heads.fully_connected_head(
        net, num_classes, kernel_size=6, is_training=is_training,
        dropout_keep_prob=dropout_keep_prob, end_points=end_points,
        weights_initializer=layers.random_normal_initializer(0.005),
        biases_initializer=layers.constant_initializer(0.1),
        logits_initializer=layers.random_normal_initializer(0.01))

caffenet = variant(alexnet, 'caffenet', pools_first=True, scope='caffenet')


@default_image_size(224)
def alexnet_torchvision(images: tf.Tensor, num_classes: int | None = 1000,
                        is_training: bool = True, *, dropout_keep_prob: float = 0.5,
                        scope: str = 'alexnet_torchvision') -> tuple[tf.Tensor, dict]:
  """The AlexNet of torchvision, for its published weights: one column, a border of two pixels.

  `fc6` is a convolution here, as in every other network; torchvision pools other maps than the 6×6
  of its own image size to 6×6, where this network averages the answers of several places.

  Args:
    images: [batch, height, width, channels], at least 223×223. From 255 pixels on, the
      outputs at several positions are averaged.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `pool5` and `fc6` that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 4096], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 223, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'alexnet_torchvision', [images]), \
      layers.arg_scope([layers.conv2d, layers.max_pool2d], end_points=end_points):
    bordered = tf.pad(images, [[0, 0], [2, 2], [2, 2], [0, 0]])
    net = _convolutions(bordered, _ALEXNET_TORCHVISION)
    net = layers.dropout(net, dropout_keep_prob, is_training=is_training, scope='dropout5')
    return heads.fully_connected_head(
        net, num_classes, kernel_size=6, is_training=is_training,
        dropout_keep_prob=dropout_keep_prob, drops_features=False, end_points=end_points)
