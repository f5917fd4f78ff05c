"""Parts shared by MobileNet V2 and V3."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from nets import heads, layers
from nets.inverted_residual import inverted_residual, round_depth
from nets.variants import default_image_size


@dataclasses.dataclass(frozen=True)
class Block:
  """An inverted residual block; the fields are arguments of `inverted_residual`.

  Attributes:
    depth: number of output channels, before the depth multiplier.
    expansion: number of channels inside per input channel.
  """
  depth: int
  expansion: float
  _: dataclasses.KW_ONLY
  kernel_size: int = 3
  stride: int = 1
  activation_fn: Callable = tf.nn.relu
  has_squeeze_excite: bool = False
  is_fused: bool = False
  is_residual: bool = True


@dataclasses.dataclass(frozen=True)
class Architecture:
  """The layers of a MobileNet; numbers of channels are those before the depth multiplier.

  Attributes:
    first: channels of the first convolution, 3×3 with stride 2.
    blocks: the blocks, in order.
    last: channels of the 1×1 convolution after the blocks.
    pooled: channels of the layer between the mean and the classifier; None means no such layer.
    activation_fn: of these three layers.
  """
  first: int
  blocks: tuple[Block, ...]
  last: int
  pooled: int | None
  activation_fn: Callable


def mobilenet_arg_scope(weight_decay: float = 0.00004):
  """The arg scope of MobileNet V2 and V3: batch norm, L2 on all weights except depthwise ones."""
  with layers.arg_scope([layers.conv2d, layers.separable_conv2d],
                        weights_initializer=layers.truncated_normal_initializer(0.09),
                        normalizer_fn=layers.batch_norm), \
      layers.arg_scope([layers.batch_norm], decay=0.997, epsilon=0.001, scale=True), \
      layers.arg_scope([layers.conv2d],
                       weights_regularizer=layers.l2_regularizer(weight_decay)) as sc:
    return sc


@default_image_size(224)
def mobilenet(images: tf.Tensor, num_classes: int | None = 1001, *, architecture: Architecture,
              is_training: bool = True, dropout_keep_prob: float = 0.8,
              depth_multiplier: float = 1.0, finegrain_classification_mode: bool = False,
              scope: str) -> tuple[tf.Tensor, dict]:
  """A convolution, inverted residual blocks, a convolution, a mean and a classifier.

  Args:
    images: [batch, height, width, channels] of any size.
    num_classes: number of classes; 0 or None returns features instead of logits.
    architecture: the layers.
    is_training: a Python bool; whether batch norm uses batch statistics and dropout is
      active.
    dropout_keep_prob: share of the features that dropout keeps.
    depth_multiplier: factor of every layer's number of channels, above zero.
    finegrain_classification_mode: whether a `depth_multiplier` below one does not apply to the last
      layer before the classifier (Sandler et al. 2018, section 6.1).
    scope: name of the network.

  Returns:
    Logits [batch, num_classes] or features [batch, width], and the end points: `layer_1` to
    `layer_N` as in TF-Slim, with those that `inverted_residual` adds for each block.

  Raises:
    ValueError: if `depth_multiplier` is not above zero.
  """
  if depth_multiplier <= 0:
    raise ValueError(f'Expected depth_multiplier > 0. Received: {depth_multiplier}.')
  heads.check_images(images, 1, scope)
  end_points: dict[str, tf.Tensor] = {}
  last_multiplier = depth_multiplier
  if finegrain_classification_mode:
    last_multiplier = max(depth_multiplier, 1)
  with tf.compat.v1.variable_scope(scope, 'Mobilenet', [images]), \
      layers.arg_scope([layers.batch_norm, layers.dropout, layers.drop_path],
                       is_training=is_training):
    net = _layers(images, architecture, depth_multiplier, last_multiplier=last_multiplier,
                  end_points=end_points)
    with tf.compat.v1.variable_scope('Logits'):
      net = heads.global_pool(net, end_points)
      if not num_classes:
        return heads.squeeze(net), end_points
      net = layers.dropout(net, dropout_keep_prob, scope='Dropout')
      net = layers.conv2d(net, num_classes, 1, activation_fn=None, normalizer_fn=None,
                          scope='Conv2d_1c_1x1')
  return heads.add_predictions(heads.squeeze(net), end_points)


def _layers(images: tf.Tensor, architecture: Architecture, depth_multiplier: float, *,
            last_multiplier: float, end_points: dict) -> tf.Tensor:
  """Applies all layers up to the features; `last_multiplier` is that of the last of them."""
  depth = round_depth(architecture.first * depth_multiplier)
  net = end_points['layer_1'] = layers.conv2d(
      images, depth, 3, 2, activation_fn=architecture.activation_fn, scope='Conv')
  for i, block in enumerate(architecture.blocks):
    with layers.arg_scope([layers.drop_path], depth=(i + 1) / len(architecture.blocks)):
      net = _block(net, block, depth_multiplier, end_points=end_points, name=f'layer_{i + 2}',
                   scope=f'expanded_conv_{i}' if i else 'expanded_conv')
  number = len(architecture.blocks) + 2
  depth = round_depth(architecture.last * (last_multiplier if architecture.pooled is None
                                           else depth_multiplier))
  net = end_points[f'layer_{number}'] = layers.conv2d(
      net, depth, 1, activation_fn=architecture.activation_fn, scope='Conv_1')
  if architecture.pooled is None:
    return net
  net = end_points[f'layer_{number + 1}'] = heads.spatial_mean(net)
  net = end_points[f'layer_{number + 2}'] = layers.conv2d(
      net, round_depth(architecture.pooled * last_multiplier), 1, normalizer_fn=None,
      activation_fn=architecture.activation_fn, scope='Conv_2')
  return net


def _block(inputs: tf.Tensor, block: Block, depth_multiplier: float, *, end_points: dict,
           name: str, scope: str) -> tf.Tensor:
  arguments = {field.name: getattr(block, field.name) for field in dataclasses.fields(block)
               if field.name not in ('depth', 'expansion')}
  return inverted_residual(
      inputs, round_depth(block.depth * depth_multiplier),
      expanded=round_depth(block.expansion * inputs.shape[-1]), end_points=end_points, name=name,
      scope=scope, **arguments)
