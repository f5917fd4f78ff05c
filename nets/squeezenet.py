"""SqueezeNet (Iandola et al. 2016, https://arxiv.org/abs/1602.07360, table 1) and its version 1.1.

The layers are those of the authors' Caffe files (https://github.com/forresti/SqueezeNet) and of
torchvision's `squeezenet1_0` and `squeezenet1_1`; the weights of both fit, each with its own
preprocessing. There is one difference: the authors' 1.0 pads its 1×1 convolution `conv10` with a
border of zeros, whose output, the ReLU of the biases, counts in the mean. Torchvision's 1.0, both
versions 1.1 and this implementation have no border.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from nets import heads, layers
from nets.variants import default_image_size

# Channels of the squeeze convolution and of each of the two expand convolutions, fire2 to fire9.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


@dataclasses.dataclass(frozen=True)
class _Version:
  """The differences between the versions.

  Attributes:
    depth, kernel_size: of the first convolution.
    pools: numbers of the layers followed by a pooling, besides the first one.
    smallest: minimum height and width of an image.
  """
  depth: int
  kernel_size: int
  pools: tuple[int, ...]
  smallest: int


_V1_0 = _Version(96, 7, pools=(4, 8), smallest=21)
_V1_1 = _Version(64, 3, pools=(3, 5), smallest=17)


def squeezenet_arg_scope(weight_decay: float = 0.0002):
  """The arg scope of SqueezeNet: L2 on all weights, the authors' factor and initial values.

  Caffe's Xavier initializer scales by the number of inputs only.
  """
  caffes_xavier = layers.variance_scaling_initializer(factor=1.0, mode='FAN_IN', uniform=True)
  with layers.arg_scope([layers.conv2d], weights_initializer=caffes_xavier,
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


def _pool(net: tf.Tensor, scope: str) -> tf.Tensor:
  """Pools as Caffe does: the output size is rounded up.

  The added row and column are used only where a window needs them; after a ReLU, their zeros change
  no maximum.
  """
  return layers.max_pool2d(tf.pad(net, [[0, 0], [0, 1], [0, 1], [0, 0]]), 3, 2, scope=scope)


def _fire(net: tf.Tensor, squeezed: int, expanded: int, *, scope: str,
          end_points: dict) -> tf.Tensor:
  """A fire module: a 1×1 squeeze, then a 1×1 and a 3×3 expand (figure 1 of the paper)."""
  with tf.compat.v1.variable_scope(scope) as sc:
    net = layers.conv2d(net, squeezed, 1, scope='squeeze')
    net = end_points[sc.name] = tf.concat([layers.conv2d(net, expanded, 1, scope='expand1x1'),
                                           layers.conv2d(net, expanded, 3, scope='expand3x3')], -1)
    return net


def _squeezenet(images, num_classes, version: _Version, *, is_training: bool,
                dropout_keep_prob: float, scope: str) -> tuple[tf.Tensor, dict]:
  heads.check_images(images, version.smallest, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'squeezenet', [images]), \
      layers.arg_scope([layers.conv2d, layers.max_pool2d], end_points=end_points), \
      layers.arg_scope([layers.dropout], is_training=is_training):
    net = layers.conv2d(images, version.depth, version.kernel_size, 2, padding='VALID',
                        scope='conv1')
    net = _pool(net, 'pool1')
    for i, (squeezed, expanded) in enumerate(_FIRES, start=2):
      net = _fire(net, squeezed, expanded, scope=f'fire{i}', end_points=end_points)
      if i in version.pools:
        net = _pool(net, f'pool{i}')
    features = heads.global_pool(net, end_points)
    if not num_classes:
      return heads.squeeze(features), end_points
    net = layers.dropout(net, dropout_keep_prob, scope='drop9')
    net = layers.conv2d(net, num_classes, 1, scope='conv10',
                        weights_initializer=layers.random_normal_initializer(0.01))
    return heads.add_predictions(heads.squeeze(heads.spatial_mean(net)), end_points)


@default_image_size(227)
def squeezenet(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
               dropout_keep_prob: float = 0.5, scope: str = 'squeezenet') -> tuple[tf.Tensor, dict]:
  """SqueezeNet 1.0: a convolution, eight fire modules, a convolutional classifier, a mean.

  Args:
    images: [batch, height, width, channels], at least 21×21.
    num_classes: number of classes; 0 or None returns the mean of `fire9` over the image instead.
    is_training: a Python bool; whether dropout is active.
    dropout_keep_prob: share of the outputs of `fire9` that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes], nonnegative, or features [batch, 512], and the end points.

  Raises:
    ValueError: if the images are too small.
  """
  return _squeezenet(images, num_classes, _V1_0, is_training=is_training,
                     dropout_keep_prob=dropout_keep_prob, scope=scope)


@default_image_size(227)
def squeezenet_1_1(images: tf.Tensor, num_classes: int | None = 1000, is_training: bool = True, *,
                   dropout_keep_prob: float = 0.5,
                   scope: str = 'squeezenet_1_1') -> tuple[tf.Tensor, dict]:
  """SqueezeNet 1.1: like `squeezenet` with half the computation, for images from 17×17 on."""
  return _squeezenet(images, num_classes, _V1_1, is_training=is_training,
                     dropout_keep_prob=dropout_keep_prob, scope=scope)
