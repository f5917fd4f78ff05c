"""Inception-ResNet V2 (Szegedy et al. 2016, https://arxiv.org/abs/1602.07261, figures 15 to 19).

As in TF-Slim, the stem is that of Inception V3 and not that of figure 3, and some widths and
numbers of blocks differ from the figures.
"""

from __future__ import annotations

import tensorflow as tf

from nets import heads, inception_blocks, inception_v3, layers
from nets.inception_blocks import AvgPool, Branch, Conv, MaxPool, Mixed
from nets.variants import default_image_size

_STEM = (
    *inception_v3.STEM,
    Mixed('Mixed_5b', (
        (Conv('Conv2d_1x1', 96, 1),),
        (Conv('Conv2d_0a_1x1', 48, 1), Conv('Conv2d_0b_5x5', 64, 5)),
        (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_0b_3x3', 96, 3), Conv('Conv2d_0c_3x3', 96, 3)),
        (AvgPool(), Conv('Conv2d_0b_1x1', 64, 1)))),
)

_BLOCK35 = (  # Figure 16.
    (Conv('Conv2d_1x1', 32, 1),),
    (Conv('Conv2d_0a_1x1', 32, 1), Conv('Conv2d_0b_3x3', 32, 3)),
    (Conv('Conv2d_0a_1x1', 32, 1), Conv('Conv2d_0b_3x3', 48, 3), Conv('Conv2d_0c_3x3', 64, 3)),
)

_REDUCTION_A = Mixed('Mixed_6a', (  # Figure 7, with table 1's numbers.
    (Conv('Conv2d_1a_3x3', 384, 3, 2, 'VALID'),),
    (Conv('Conv2d_0a_1x1', 256, 1), Conv('Conv2d_0b_3x3', 256, 3),
     Conv('Conv2d_1a_3x3', 384, 3, 2, 'VALID')),
    (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),),
))

_BLOCK17 = (  # Figure 17.
    (Conv('Conv2d_1x1', 192, 1),),
    (Conv('Conv2d_0a_1x1', 128, 1), Conv('Conv2d_0b_1x7', 160, (1, 7)),
     Conv('Conv2d_0c_7x1', 192, (7, 1))),
)

_REDUCTION_B = Mixed('Mixed_7a', (  # Figure 18.
    (Conv('Conv2d_0a_1x1', 256, 1), Conv('Conv2d_1a_3x3', 384, 3, 2, 'VALID')),
    (Conv('Conv2d_0a_1x1', 256, 1), Conv('Conv2d_1a_3x3', 288, 3, 2, 'VALID')),
    (Conv('Conv2d_0a_1x1', 256, 1), Conv('Conv2d_0b_3x3', 288, 3),
     Conv('Conv2d_1a_3x3', 320, 3, 2, 'VALID')),
    (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),),
))

_BLOCK8 = (  # Figure 19.
    (Conv('Conv2d_1x1', 192, 1),),
    (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_0b_1x3', 224, (1, 3)),
     Conv('Conv2d_0c_3x1', 256, (3, 1))),
)


_BLOCKS = 40  # Residual ones: 10, 20 and 10.


def inception_resnet_v2_arg_scope(weight_decay: float = 0.00004):
  """The arg scope: batch norm without `gamma`, ReLU, L2 on weights and on biases."""
  decay = layers.l2_regularizer(weight_decay)
  with layers.arg_scope([layers.conv2d, layers.fully_connected],
                        weights_regularizer=decay, biases_regularizer=decay), \
      layers.arg_scope([layers.batch_norm], decay=0.9997, epsilon=0.001), \
      layers.arg_scope([layers.conv2d], activation_fn=tf.nn.relu,
                       normalizer_fn=layers.batch_norm) as sc:
    return sc


def _residual(inputs: tf.Tensor, branches: tuple[Branch, ...], *, scale: float,
              scope: str) -> tf.Tensor:
  """Adds the scaled output of the branches to the inputs (section 3.3 of the paper)."""
  with tf.compat.v1.variable_scope(scope):
    net = inception_blocks.concatenate(inputs, branches)
    net = layers.conv2d(net, inputs.shape[-1], 1, activation_fn=None, normalizer_fn=None,
                        scope='Conv2d_1x1')
    net = layers.drop_path(net)
  return inputs + scale * net


def _residuals(net: tf.Tensor, branches: tuple[Branch, ...], *, scale: float, number: int,
               before: int, scope: str) -> tf.Tensor:
  """Applies so many residual blocks under the scopes `scope`_1 and on, with ReLU after each.

  There are `before` blocks before them.
  """
  for i in range(1, number + 1):
    with layers.arg_scope([layers.drop_path], depth=(before + i) / _BLOCKS):
      net = tf.nn.relu(_residual(net, branches, scale=scale, scope=f'{scope}_{i}'))
  return net


@default_image_size(299)
def inception_resnet_v2(images: tf.Tensor, num_classes: int | None = 1001,
                        is_training: bool = True, *, dropout_keep_prob: float = 0.8,
                        scope: str = 'InceptionResnetV2') -> tuple[tf.Tensor, dict]:
  """A stem, forty residual blocks with two reductions between, a mean and a classifier.

  Args:
    images: [batch, height, width, channels], at least 75 pixels in height and width.
    num_classes: number of classes; 0 or None returns features instead of logits.
    is_training: a Python bool; whether batch norm uses batch statistics, dropout is active
      and, with classes, there is an auxiliary classifier.
    dropout_keep_prob: share of the features that dropout keeps.
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, 1536], and the end points, in training with
    `AuxLogits` [batch, num_classes].

  Raises:
    ValueError: if the images are too small.
  """
  heads.check_images(images, 75, scope)
  end_points: dict[str, tf.Tensor] = {}
  with tf.compat.v1.variable_scope(scope, 'InceptionResnetV2', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout, layers.drop_path],
                       is_training=is_training):
    net = inception_blocks.build(images, _STEM, end_points)
    net = _residuals(net, _BLOCK35, scale=0.17, number=10, before=0, scope='Repeat/block35')
    net = inception_blocks.build(net, [_REDUCTION_A], end_points)
    net = _residuals(net, _BLOCK17, scale=0.10, number=20, before=10, scope='Repeat_1/block17')
    end_points['PreAuxLogits'] = net
    net = inception_blocks.build(net, [_REDUCTION_B], end_points)
    net = _residuals(net, _BLOCK8, scale=0.20, number=9, before=30, scope='Repeat_2/block8')
    net = _residual(net, _BLOCK8, scale=1.0, scope='Block8')
    net = inception_blocks.build(net, [Conv('Conv2d_7b_1x1', 1536, 1)], end_points)
    if is_training and num_classes:
      end_points['AuxLogits'] = inception_blocks.auxiliary_logits(
          end_points['PreAuxLogits'], num_classes, name='Conv2d_2a_5x5', scope='Logits')
    return inception_blocks.connected_head(
        net, num_classes, dropout_keep_prob=dropout_keep_prob, end_points=end_points)
