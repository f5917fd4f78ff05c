"""The vocabulary of the networks: slim's layers under `arg_scope`, on TensorFlow 2.

`repeat` and the initializers are tf-slim's. The layers have slim's names, arguments, defaults and
variables, but not its code: slim's `batch_norm` needs modules that can no longer be installed, its
`dropout` restarts its random sequence after a resume, its `conv2d` has no groups and is several
times slower than a matrix product where the kernel covers the whole input, and its `arg_scope` is
shared by all threads.

Layers create variables with `tf.compat.v1.get_variable`, which `nets.network.Network` intercepts.

Layers take `end_points`, a dict to which they add their output under their full scope.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_slim
from tf_slim import repeat

from nets.arg_scopes import add_arg_scope, arg_scope, current_arg_scope
from nets.batch_normalization import BATCH_NORM_DECAY, batch_norm
from nets.layer_parts import Linear, full_name, keep, variable
from nets.random_layers import RANDOM, drop_path, dropout, scheduled_drop_path

__all__ = [
    'BATCH_NORM_DECAY', 'RANDOM', 'Linear', 'add_arg_scope', 'arg_scope', 'avg_pool2d',
    'batch_norm', 'constant_initializer', 'conv2d', 'current_arg_scope', 'drop_path', 'dropout',
    'flatten', 'fully_connected', 'l2_regularizer', 'local_response_normalization', 'max_pool2d',
    'random_normal_initializer', 'repeat', 'scheduled_drop_path', 'separable_conv2d',
    'spatial_size', 'truncated_normal_initializer', 'variance_scaling_initializer',
    'xavier_initializer', 'zeros_initializer',
]

variance_scaling_initializer = tf_slim.variance_scaling_initializer
xavier_initializer = tf_slim.xavier_initializer
constant_initializer = tf.compat.v1.constant_initializer
zeros_initializer = tf.compat.v1.zeros_initializer


def l2_regularizer(scale: float) -> Callable[[tf.Tensor], tf.Tensor] | None:
  """Returns the function `scale * sum(weights ** 2) / 2`, or None if `scale` is zero."""
  return (lambda weights: scale * tf.nn.l2_loss(weights)) if scale else None


def truncated_normal_initializer(stddev: float):
  """Normal numbers around zero, redrawn beyond two standard deviations."""
  return tf.compat.v1.truncated_normal_initializer(0.0, stddev)


def random_normal_initializer(stddev: float):
  """Normal numbers around zero."""
  return tf.compat.v1.random_normal_initializer(0.0, stddev)


def _pair(value) -> tuple[int, int]:
  """Reads a size given as one number or as [height, width]."""
  return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def spatial_size(inputs: tf.Tensor) -> tuple[int | None, int | None]:
  """Returns the static height and width of [batch, height, width, channels]."""
  return inputs.shape[1], inputs.shape[2]


def _finish(linear: Linear, *, normalizer_fn, normalizer_params, biases_initializer,
            biases_regularizer, trainable, activation_fn) -> tf.Tensor:
  """Applies the normalizer or the biases, then the activation function."""
  if normalizer_fn is not None:
    inputs = linear if getattr(normalizer_fn, 'takes_linear', False) else linear.outputs()
    outputs = normalizer_fn(inputs, **(normalizer_params or {}))
  elif biases_initializer is not None:
    outputs = linear.with_biases(initializer=biases_initializer, regularizer=biases_regularizer,
                                 trainable=trainable).outputs()
  else:
    outputs = linear.outputs()
  return outputs if activation_fn is None else activation_fn(outputs)


def _is_product(inputs: tf.Tensor, kernel: tuple[int, int], padding: str) -> bool:
  """Returns whether a convolution computes one number per channel from the whole input."""
  size = spatial_size(inputs)
  return (size == kernel and padding == 'VALID') or size == kernel == (1, 1)


def _convolve(inputs, weights, *, stride=1, padding='VALID', rate=1, groups=1) -> tf.Tensor:
  if groups > 1:
    # TensorFlow has no gradient of grouped kernels on CPUs without oneDNN's instructions (AVX-512).
    return tf.concat([_convolve(*part, stride=stride, padding=padding, rate=rate) for part in zip(
        tf.split(inputs, groups, 3), tf.split(weights, groups, 3), strict=True)], 3)
  kernel = (weights.shape[0], weights.shape[1])
  if _is_product(inputs, kernel, padding):
    width = kernel[0] * kernel[1] * weights.shape[2]
    outputs = tf.reshape(inputs, [-1, width]) @ tf.reshape(weights, [width, weights.shape[3]])
    return outputs[:, tf.newaxis, tf.newaxis, :]
  stride = _pair(stride)
  if kernel == (1, 1) and stride != (1, 1):
    # Computes the same. In TensorFlow 2.21, oneDNN's gradient of strided 1×1 convolutions of fewer
    # than 16 channels may write out of bounds and crash the process
    # (https://github.com/uxlfoundation/oneDNN/issues/6035).
    inputs, stride = inputs[:, ::stride[0], ::stride[1]], (1, 1)
  return tf.nn.conv2d(inputs, weights, stride, padding, dilations=_pair(rate))


@add_arg_scope
def conv2d(inputs: tf.Tensor, num_outputs: int, kernel_size, stride=1, padding: str = 'SAME', *,
           rate=1, groups: int = 1, activation_fn: Callable | None = tf.nn.relu,
           normalizer_fn: Callable | None = None, normalizer_params: dict | None = None,
           weights_initializer=None, weights_regularizer=None,
           biases_initializer=zeros_initializer(), biases_regularizer=None, trainable: bool = True,
           end_points: dict | None = None, scope: str | None = None) -> tf.Tensor:
  """Applies a 2D convolution, a normalizer or biases, and an activation function.

  Args:
    inputs: [batch, height, width, channels].
    num_outputs: number of output channels.
    kernel_size, stride, rate: one number, or [height, width].
    padding: 'SAME' or 'VALID'.
    groups: number of groups into which input and output channels are split; each output group sees
      its input group only (Krizhevsky et al. 2012, section 3.2).
    activation_fn: applied at the end.
    normalizer_fn, normalizer_params: as in slim; a normalizer replaces the biases. One with the
      attribute `takes_linear` gets a `Linear` instead of the outputs.
    weights_initializer: Xavier's uniform one by default.
    weights_regularizer, biases_initializer, biases_regularizer, trainable: of the variables.
    end_points: the dict to add the result to, under the layer's full scope.
    scope: name of the layer; variables `weights` [height, width, channels / groups, num_outputs]
      and `biases` [num_outputs].

  Returns:
    [batch, new_height, new_width, num_outputs], of the inputs' type.
  """
  with tf.compat.v1.variable_scope(scope, 'Conv', [inputs]) as sc:
    shape = [*_pair(kernel_size), inputs.shape[-1] // groups, num_outputs]
    weights = variable('weights', shape, trainable=trainable,
                        initializer=weights_initializer or xavier_initializer(),
                        regularizer=weights_regularizer)
    linear = Linear(functools.partial(_convolve, inputs, stride=stride, padding=padding, rate=rate,
                                      groups=groups), weights, num_outputs, inputs.dtype)
    outputs = _finish(linear, normalizer_fn=normalizer_fn, normalizer_params=normalizer_params,
                      biases_initializer=biases_initializer, biases_regularizer=biases_regularizer,
                      trainable=trainable, activation_fn=activation_fn)
    return keep(end_points, sc.name, outputs)


@add_arg_scope
def separable_conv2d(inputs: tf.Tensor, num_outputs: int | None, kernel_size,
                     depth_multiplier: int = 1, stride=1, padding: str = 'SAME', *, rate=1,
                     activation_fn: Callable | None = tf.nn.relu,
                     normalizer_fn: Callable | None = None, normalizer_params: dict | None = None,
                     weights_initializer=None, pointwise_initializer=None, weights_regularizer=None,
                     biases_initializer=zeros_initializer(), biases_regularizer=None,
                     trainable: bool = True, end_points: dict | None = None,
                     scope: str | None = None) -> tf.Tensor:
  """Applies a depthwise convolution and then, with `num_outputs`, a 1×1 convolution.

  Args:
    inputs: [batch, height, width, channels].
    num_outputs: number of output channels; None omits the 1×1 convolution.
    kernel_size, stride, rate: of the depthwise convolution; one number, or [height, width].
    depth_multiplier: number of depthwise outputs per input channel.
    padding, activation_fn, normalizer_fn, normalizer_params, weights_initializer,
      weights_regularizer, biases_initializer, biases_regularizer, trainable, end_points: as in
      `conv2d`.
    pointwise_initializer: `weights_initializer` by default.
    scope: name of the layer; variables `depthwise_weights` [height, width, channels,
      depth_multiplier], `pointwise_weights` [1, 1, channels * depth_multiplier, num_outputs],
      `biases`.

  Returns:
    [batch, new_height, new_width, num_outputs or channels * depth_multiplier].
  """
  weights_initializer = weights_initializer or xavier_initializer()
  with tf.compat.v1.variable_scope(scope, 'SeparableConv2d', [inputs]) as sc:
    channels = inputs.shape[-1]
    weights = variable('depthwise_weights', [*_pair(kernel_size), channels, depth_multiplier],
                        initializer=weights_initializer, regularizer=weights_regularizer,
                        trainable=trainable)
    linear = Linear(
        lambda weights: tf.nn.depthwise_conv2d(inputs, weights, [1, *_pair(stride), 1], padding,
                                               dilations=_pair(rate)),
        weights, channels * depth_multiplier, inputs.dtype)
    if num_outputs is not None:
      weights = variable('pointwise_weights', [1, 1, channels * depth_multiplier, num_outputs],
                          trainable=trainable, regularizer=weights_regularizer,
                          initializer=pointwise_initializer or weights_initializer)
      linear = Linear(functools.partial(_convolve, linear.outputs()), weights, num_outputs,
                      inputs.dtype)
    outputs = _finish(linear, normalizer_fn=normalizer_fn, normalizer_params=normalizer_params,
                      biases_initializer=biases_initializer, biases_regularizer=biases_regularizer,
                      trainable=trainable, activation_fn=activation_fn)
    return keep(end_points, sc.name, outputs)


@add_arg_scope
def fully_connected(inputs: tf.Tensor, num_outputs: int, *,
                    activation_fn: Callable | None = tf.nn.relu,
                    normalizer_fn: Callable | None = None, normalizer_params: dict | None = None,
                    weights_initializer=None, weights_regularizer=None,
                    biases_initializer=zeros_initializer(), biases_regularizer=None,
                    trainable: bool = True, end_points: dict | None = None,
                    scope: str | None = None) -> tf.Tensor:
  """Multiplies [batch, inputs] by `weights` [inputs, num_outputs]; the rest as in `conv2d`.

  Returns:
    [batch, num_outputs], of the inputs' type.
  """
  with tf.compat.v1.variable_scope(scope, 'fully_connected', [inputs]) as sc:
    weights = variable('weights', [inputs.shape[-1], num_outputs],
                        initializer=weights_initializer or xavier_initializer(),
                        regularizer=weights_regularizer, trainable=trainable)
    linear = Linear(functools.partial(tf.matmul, inputs), weights, num_outputs, inputs.dtype)
    outputs = _finish(linear, normalizer_fn=normalizer_fn,
                      normalizer_params=normalizer_params, biases_initializer=biases_initializer,
                      biases_regularizer=biases_regularizer, trainable=trainable,
                      activation_fn=activation_fn)
    return keep(end_points, sc.name, outputs)


@add_arg_scope
def max_pool2d(inputs: tf.Tensor, kernel_size, stride=2, padding: str = 'VALID', *,
               end_points: dict | None = None, scope: str = 'MaxPool2D') -> tf.Tensor:
  """Returns the maximum of each window of [batch, height, width, channels]."""
  outputs = tf.nn.max_pool2d(inputs, _pair(kernel_size), _pair(stride), padding)
  return keep(end_points, full_name(scope), outputs)


@add_arg_scope
def avg_pool2d(inputs: tf.Tensor, kernel_size, stride=2, padding: str = 'VALID', *,
               end_points: dict | None = None, scope: str = 'AvgPool2D') -> tf.Tensor:
  """Returns the mean of each window of [batch, height, width, channels], without the padding."""
  outputs = tf.nn.avg_pool2d(inputs, _pair(kernel_size), _pair(stride), padding)
  return keep(end_points, full_name(scope), outputs)


def _inverse_power(values: tf.Tensor, exponent: float) -> tf.Tensor:
  """1 / values ** exponent, by roots where the usual exponents allow it."""
  if exponent == 0.5:
    return tf.math.rsqrt(values)
  if exponent == 0.75:
    root = tf.math.rsqrt(values)
    return root * tf.sqrt(root)
  return tf.pow(values, -exponent)


@add_arg_scope
def local_response_normalization(inputs: tf.Tensor, *, depth_radius: int = 5, bias: float = 1.0,
                                 alpha: float = 1.0, beta: float = 0.5,
                                 end_points: dict | None = None,
                                 scope: str = 'LRN') -> tf.Tensor:
  """Normalizes each element by its neighbours in adjacent channels.

  Computed in float32, on recent GPUs by default with products in TF32 (Krizhevsky et al. 2012,
  section 3.3). Arguments and defaults are those of `tf.nn.local_response_normalization`.

  Args:
    inputs: [batch, height, width, channels].
    depth_radius: number of adjacent channels on either side.
    bias, alpha, beta: the divisor is (bias + alpha * sum of squares) ** beta.
    end_points: the dict to add the result to.
    scope: name of the layer.

  Returns:
    A tensor of the inputs' shape and type.
  """
  # A product with a band matrix: forwards and backwards, two to three times as fast on a CPU as
  # TensorFlow's own operation, whose gradient takes powers element by element.
  channels = inputs.shape[-1]
  index = np.arange(channels)
  band = np.abs(index[:, None] - index) <= depth_radius
  values = tf.cast(inputs, tf.float32)
  sums = tf.matmul(tf.reshape(tf.square(values), [-1, channels]), alpha * band.astype(np.float32))
  divisor = bias + tf.reshape(sums, tf.shape(values))
  outputs = values * _inverse_power(divisor, beta)
  return keep(end_points, full_name(scope), tf.cast(outputs, inputs.dtype))


@add_arg_scope
def flatten(inputs: tf.Tensor, *, end_points: dict | None = None,
            scope: str = 'Flatten') -> tf.Tensor:
  """Reshapes [batch, ...] to [batch, numbers], in row-major order."""
  width = 1
  for size in inputs.shape[1:]:
    width *= size
  return keep(end_points, full_name(scope), tf.reshape(inputs, [-1, width]))
