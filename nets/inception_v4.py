"""Inception V4 (Szegedy et al. 2016, https://arxiv.org/abs/1602.07261, figures 3 to 9)."""

from __future__ import annotations

import tensorflow as tf

from nets import heads, inception_blocks, layers
from nets.inception_blocks import AvgPool, Conv, Fork, MaxPool, Mixed
from nets.variants import default_image_size

inception_v4_arg_scope = inception_blocks.inception_arg_scope

_STEM = (  # Figure 3.
    Conv('Conv2d_1a_3x3', 32, 3, 2, 'VALID'),
    Conv('Conv2d_2a_3x3', 32, 3, 1, 'VALID'),
    Conv('Conv2d_2b_3x3', 64, 3),
    Mixed('Mixed_3a', (
        (MaxPool('MaxPool_0a_3x3', 3, 2, 'VALID'),),
        (Conv('Conv2d_0a_3x3', 96, 3, 2, 'VALID'),))),
    Mixed('Mixed_4a', (
        (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_1a_3x3', 96, 3, 1, 'VALID')),
        (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_0b_1x7', 64, (1, 7)),
         Conv('Conv2d_0c_7x1', 64, (7, 1)), Conv('Conv2d_1a_3x3', 96, 3, 1, 'VALID')))),
    Mixed('Mixed_5a', (
        (Conv('Conv2d_1a_3x3', 192, 3, 2, 'VALID'),),
        (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),))),
)

_INCEPTION_A = (  # Figure 4.
    (Conv('Conv2d_0a_1x1', 96, 1),),
    (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_0b_3x3', 96, 3)),
    (Conv('Conv2d_0a_1x1', 64, 1), Conv('Conv2d_0b_3x3', 96, 3), Conv('Conv2d_0c_3x3', 96, 3)),
    (AvgPool(), Conv('Conv2d_0b_1x1', 96, 1)),
)

_REDUCTION_A = (  # Figure 7, with table 1's numbers.
    (Conv('Conv2d_1a_3x3', 384, 3, 2, 'VALID'),),
    (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_0b_3x3', 224, 3),
     Conv('Conv2d_1a_3x3', 256, 3, 2, 'VALID')),
    (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),),
)

_INCEPTION_B = (  # Figure 5.
    (Conv('Conv2d_0a_1x1', 384, 1),),
    (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_0b_1x7', 224, (1, 7)),
     Conv('Conv2d_0c_7x1', 256, (7, 1))),
    (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_0b_7x1', 192, (7, 1)),
     Conv('Conv2d_0c_1x7', 224, (1, 7)), Conv('Conv2d_0d_7x1', 224, (7, 1)),
     Conv('Conv2d_0e_1x7', 256, (1, 7))),
    (AvgPool(), Conv('Conv2d_0b_1x1', 128, 1)),
)

_REDUCTION_B = (  # Figure 8.
    (Conv('Conv2d_0a_1x1', 192, 1), Conv('Conv2d_1a_3x3', 192, 3, 2, 'VALID')),
    (Conv('Conv2d_0a_1x1', 256, 1), Conv('Conv2d_0b_1x7', 256, (1, 7)),
     Conv('Conv2d_0c_7x1', 320, (7, 1)), Conv('Conv2d_1a_3x3', 320, 3, 2, 'VALID')),
    (MaxPool('MaxPool_1a_3x3', 3, 2, 'VALID'),),
)

_INCEPTION_C = (  # Figure 6.
    (Conv('Conv2d_0a_1x1', 256, 1),),
    (Conv('Conv2d_0a_1x1', 384, 1),
     Fork((Conv('Conv2d_0b_1x3', 256, (1, 3)), Conv('Conv2d_0c_3x1', 256, (3, 1))))),
    (Conv('Conv2d_0a_1x1', 384, 1), Conv('Conv2d_0b_3x1', 448, (3, 1)),
     Conv('Conv2d_0c_1x3', 512, (1, 3)),
     Fork((Conv('Conv2d_0d_1x3', 256, (1, 3)), Conv('Conv2d_0e_3x1', 256, (3, 1))))),
    (AvgPool(), Conv('Conv2d_0b_1x1', 256, 1)),
)

_STACK: tuple[inception_blocks.Layer, ...] = (  # Figure 9.
    *_STEM,
    *(Mixed(f'Mixed_5{letter}', _INCEPTION_A) for letter in 'bcde'),
    Mixed('Mixed_6a', _REDUCTION_A),
    *(Mixed(f'Mixed_6{letter}', _INCEPTION_B) for letter in 'bcdefgh'),
    Mixed('Mixed_7a', _REDUCTION_B),
    *(Mixed(f'Mixed_7{letter}', _INCEPTION_C) for letter in 'bcd'),
)


@default_image_size(299)
def inception_v4(images: tf.Tensor, num_classes: int | None = 1001, is_training: bool = True, *,
                 dropout_keep_prob: float = 0.8,
                 scope: str = 'InceptionV4') -> tuple[tf.Tensor, dict]:
  """A stem, fourteen Inception blocks with two reductions between, a mean and a classifier.

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
  with tf.compat.v1.variable_scope(scope, 'InceptionV4', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training):
    net = inception_blocks.build(images, _STACK, end_points)
    if is_training and num_classes:
      end_points['AuxLogits'] = inception_blocks.auxiliary_logits(
          end_points['Mixed_6h'], num_classes, name='Conv2d_2a', scope='Aux_logits')
    return inception_blocks.connected_head(
        net, num_classes, dropout_keep_prob=dropout_keep_prob, end_points=end_points)
