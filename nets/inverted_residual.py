"""The inverted residual block of MobileNet V2 and V3 and EfficientNet-Lite.

Sandler et al. 2018, https://arxiv.org/abs/1801.04381, section 3.4; with squeeze-and-excite and the
hard activations, Howard et al. 2019, https://arxiv.org/abs/1905.02244, sections 5.2 and 5.3.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from nets import heads, layers


def round_depth(depth: float) -> int:
  """Rounds a number of channels to a multiple of 8 that is at least 90% of it, and at least 8."""
  rounded = max(8, int(depth + 4) // 8 * 8)
  return rounded if rounded >= 0.9 * depth else rounded + 8


def hard_swish(inputs: tf.Tensor) -> tf.Tensor:
  """`inputs * sigmoid(inputs)`, with a piecewise linear sigmoid."""
  return inputs * tf.nn.relu6(inputs + 3) / 6


def _gate(inputs: tf.Tensor) -> tf.Tensor:
  # TF-Slim's published weights were trained with this approximation of 1/6; the exact value changes
  # the logits by about 1/2000 of their standard deviation.
  return tf.nn.relu6(inputs + 3) * 0.16667


def squeeze_excite(inputs: tf.Tensor) -> tf.Tensor:
  """Scales each channel by a factor in [0, 1], computed by two layers from all channels' means.

  Args:
    inputs: [batch, height, width, channels].

  Returns:
    A tensor of the inputs' shape and type.
  """
  channels = inputs.shape[-1]
  with tf.compat.v1.variable_scope('squeeze_excite'), \
      layers.arg_scope([layers.conv2d], normalizer_fn=None):
    net = heads.spatial_mean(inputs)
    net = layers.conv2d(net, round_depth(channels / 4), 1, activation_fn=tf.nn.relu, scope='Conv')
    net = layers.conv2d(net, channels, 1, activation_fn=_gate, scope='Conv_1')
  return inputs * net


def inverted_residual(inputs: tf.Tensor, depth: int, *, expanded: int, kernel_size: int = 3,
                      stride: int = 1, activation_fn: Callable = tf.nn.relu,
                      has_squeeze_excite: bool = False, is_fused: bool = False,
                      is_residual: bool = True, keep_prob: float = 1.0, end_points: dict,
                      name: str, scope: str) -> tf.Tensor:
  """Applies a 1×1 expansion, a depthwise convolution and a 1×1 projection, and adds the inputs.

  Args:
    inputs: [batch, height, width, channels].
    depth: number of output channels.
    expanded: number of channels inside; there is no expansion unless it exceeds the inputs'.
    kernel_size, stride: of the depthwise convolution.
    activation_fn: after the expansion and the depthwise convolution; the projection has none.
    has_squeeze_excite: whether there is a squeeze-and-excite before the projection.
    is_fused: whether the expansion is a full convolution with this kernel and stride, instead of a
      1×1 and a depthwise one.
    is_residual: whether the inputs are added if they have the shape of the result.
    keep_prob: in training, share of the examples that keep the block, if the inputs are added.
    end_points: gains `<name>/expansion_output`, if there is one, `<name>/depthwise_output`,
      `<name>/projection_output` and `<name>/output`, and `<name>`, which is the same.
    name: prefix of the end points.
    scope: name of the block; layers `expand`, `depthwise`, `squeeze_excite`, `project`.

  Returns:
    [batch, ceil(height / stride), ceil(width / stride), depth].
  """
  with tf.compat.v1.variable_scope(scope):
    net = inputs
    if expanded > inputs.shape[-1]:
      size, step = (kernel_size, stride) if is_fused else (1, 1)
      net = layers.conv2d(net, expanded, size, step, activation_fn=activation_fn, scope='expand')
      end_points[f'{name}/expansion_output'] = net
    if not is_fused:
      net = layers.separable_conv2d(net, None, kernel_size, stride=stride,
                                    activation_fn=activation_fn, scope='depthwise')
      end_points[f'{name}/depthwise_output'] = net
    if has_squeeze_excite:
      net = squeeze_excite(net)
    net = layers.conv2d(net, depth, 1, activation_fn=None, scope='project')
    end_points[f'{name}/projection_output'] = net
    if is_residual and stride == 1 and depth == inputs.shape[-1]:
      net = inputs + layers.drop_path(net, keep_prob, scope='drop_path')
    end_points[name] = end_points[f'{name}/output'] = net
    return net
