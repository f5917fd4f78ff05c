"""The vocabulary of the networks: slim's layers under `arg_scope`, on TensorFlow 2.

`arg_scope` and its relatives, `repeat` and the initializers are tf-slim's. The layers have slim's
names, arguments, defaults and variables, but not its code: slim's `batch_norm` needs modules that
can no longer be installed, its `dropout` restarts its random sequence after a resume, and its
`conv2d` has no groups and is several times slower than a matrix product where the kernel covers the
whole input.

Layers create variables with `tf.compat.v1.get_variable`, which `nets.network.Network` intercepts.

Layers take `end_points`, a dict to which they add their output under their full scope.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_slim
from tf_slim import add_arg_scope, arg_scope, current_arg_scope, repeat

from nets import noise, stand_in

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


def _keep(end_points: dict | None, scope: str, outputs: tf.Tensor) -> tf.Tensor:
  if end_points is not None:
    end_points[scope] = outputs
  return outputs


def _keeps_variables() -> bool:
  """Returns whether `tf.compat.v1.get_variable` returns the same variable in the next call."""
  if tf.compat.v1.get_variable_scope().custom_getter:
    return True
  if tf.executing_eagerly():
    return False
  # tf.compat.v1.wrap_function keeps variables; a function of tf.function does not.
  graph, names = tf.compat.v1.get_default_graph(), []
  while graph is not None and tf.inside_function():
    names.append(getattr(graph, 'name', ''))
    graph = getattr(graph, 'outer_graph', None)
  return not names or 'wrapped_function' in names


def _variable(name, shape, *, initializer, regularizer, trainable) -> tf.Tensor:
  if not _keeps_variables():
    raise ValueError(
        f'{tf.compat.v1.get_variable_scope().name}/{name}: expected a network that is called in a '
        'tf.Graph, which keeps its variables. Received: an eager call, or one in a tf.function, '
        'which would have new random weights every time. Build the network once with '
        'nets_factory.build_network(name, image_shape=[height, width, channels], num_classes=…), '
        'and call that.')
  return tf.compat.v1.get_variable(name, shape, tf.float32, initializer=initializer,
                                   regularizer=regularizer, trainable=trainable)


@dataclasses.dataclass(frozen=True)
class Linear:
  """A convolution or product that is not computed yet, so that `batch_norm` can scale its weights.

  Attributes:
    function: weights, of the type that the layer computes in -> the outputs.
    weights: float32; the last axes are those of the output channels.
    num_outputs: number of output channels.
    dtype: what the layer computes in.
    biases: float32 [num_outputs]; None for none.
  """
  function: Callable[[tf.Tensor], tf.Tensor]
  weights: tf.Tensor
  num_outputs: int
  dtype: tf.DType
  biases: tf.Tensor | None = None

  @property
  def has_variables(self) -> bool:
    """Whether the weights are a variable; where no one uses the outputs, they are a substitute."""
    return not isinstance(self.weights, tf.Tensor | stand_in.StandIn)

  def outputs(self) -> tf.Tensor:
    """Computes it."""
    outputs = self.function(tf.cast(self.weights, self.dtype))
    if self.biases is None:
      return outputs
    return tf.nn.bias_add(outputs, tf.cast(self.biases, self.dtype))

  def with_biases(self, *, initializer=zeros_initializer(), regularizer=None,
                  trainable: bool = True) -> Linear:
    """Adds a variable `biases`."""
    biases = _variable('biases', [self.num_outputs], initializer=initializer,
                       regularizer=regularizer, trainable=trainable)
    return dataclasses.replace(self, biases=biases)

  def scaled(self, scale: tf.Tensor, biases: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the weights and biases of outputs · scale + biases; both are [num_outputs]."""
    last = self.weights.shape[-1]
    # The outputs of depthwise weights have two axes: channels, and outputs of each.
    factors = scale if last == self.num_outputs else tf.reshape(scale, [-1, last])
    if self.biases is not None:
      biases += self.biases * scale
    return tf.cast(self.weights * factors, self.dtype), tf.cast(biases, self.dtype)


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
    weights = _variable('weights', shape, trainable=trainable,
                        initializer=weights_initializer or xavier_initializer(),
                        regularizer=weights_regularizer)
    linear = Linear(functools.partial(_convolve, inputs, stride=stride, padding=padding, rate=rate,
                                      groups=groups), weights, num_outputs, inputs.dtype)
    outputs = _finish(linear, normalizer_fn=normalizer_fn, normalizer_params=normalizer_params,
                      biases_initializer=biases_initializer, biases_regularizer=biases_regularizer,
                      trainable=trainable, activation_fn=activation_fn)
    return _keep(end_points, sc.name, outputs)


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
    weights = _variable('depthwise_weights', [*_pair(kernel_size), channels, depth_multiplier],
                        initializer=weights_initializer, regularizer=weights_regularizer,
                        trainable=trainable)
    linear = Linear(
        lambda weights: tf.nn.depthwise_conv2d(inputs, weights, [1, *_pair(stride), 1], padding,
                                               dilations=_pair(rate)),
        weights, channels * depth_multiplier, inputs.dtype)
    if num_outputs is not None:
      weights = _variable('pointwise_weights', [1, 1, channels * depth_multiplier, num_outputs],
                          trainable=trainable, regularizer=weights_regularizer,
                          initializer=pointwise_initializer or weights_initializer)
      linear = Linear(functools.partial(_convolve, linear.outputs()), weights, num_outputs,
                      inputs.dtype)
    outputs = _finish(linear, normalizer_fn=normalizer_fn, normalizer_params=normalizer_params,
                      biases_initializer=biases_initializer, biases_regularizer=biases_regularizer,
                      trainable=trainable, activation_fn=activation_fn)
    return _keep(end_points, sc.name, outputs)


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
    weights = _variable('weights', [inputs.shape[-1], num_outputs],
                        initializer=weights_initializer or xavier_initializer(),
                        regularizer=weights_regularizer, trainable=trainable)
    linear = Linear(functools.partial(tf.matmul, inputs), weights, num_outputs, inputs.dtype)
    outputs = _finish(linear, normalizer_fn=normalizer_fn,
                      normalizer_params=normalizer_params, biases_initializer=biases_initializer,
                      biases_regularizer=biases_regularizer, trainable=trainable,
                      activation_fn=activation_fn)
    return _keep(end_points, sc.name, outputs)


BATCH_NORM_DECAY = 0.999  # slim's.


@add_arg_scope
def batch_norm(inputs: tf.Tensor | Linear, *, decay: float = BATCH_NORM_DECAY, center: bool = True,
               scale: bool = False, epsilon: float = 0.001, activation_fn: Callable | None = None,
               is_training: bool = True, is_frozen: Callable[[str], bool] | None = None,
               decay_of_run: float | None = None, is_synchronized: bool = False,
               fold: Callable[[str, Callable], tuple] | None = None,
               param_initializers: dict | None = None, trainable: bool = True,
               end_points: dict | None = None, scope: str | None = None) -> tf.Tensor:
  """Normalizes each channel (Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167).

  In training, the batch's own mean and variance are used and the moving averages are updated in
  place; `moving_variance` averages the unbiased variance, as in slim's fused batch norm.

  Args:
    inputs: float32 or bfloat16 [batch, height, width, channels] or [batch, channels]; statistics
      and variables are float32 in either case. Or a `Linear`, which is computed first.
    decay: of the moving averages, in [0, 1].
    center, scale: whether there are `beta` and `gamma`.
    epsilon: added to the variance.
    activation_fn: applied at the end.
    is_training: a Python bool.
    is_frozen: given the layer's full scope, returns whether its moving averages stay unchanged; a
      frozen layer normalizes with them in training too.
    decay_of_run: replaces `decay`, whatever the network says.
    is_synchronized: whether mean and variance are those of the batches of all replicas, which have
      the same size. A replica's function then must not be traced on its own.
    fold: replaces the normalization of a `Linear` layer in inference: function (full scope,
      function that computes weights and biases with the normalization folded in, of nothing but
      variables) -> these.
    param_initializers: `{'gamma': initializer}` and so on, if not ones and zeros.
    trainable: whether `beta` and `gamma` are trainable.
    end_points: the dict to add the result to.
    scope: name of the layer, `BatchNorm` by default; variables `beta`, `gamma`, `moving_mean`,
      `moving_variance` [channels].

  Returns:
    A tensor of the inputs' shape and type.
  """
  linear = (inputs if isinstance(inputs, Linear) and fold and not is_training
            and inputs.has_variables else None)
  values: Any = inputs
  if isinstance(inputs, Linear) and not linear:
    values = inputs.outputs()  # In the layer's scope, so that its operations have TF-Slim's names.
  with tf.compat.v1.variable_scope(scope, 'BatchNorm') as sc:
    channels = [linear.num_outputs if linear else values.shape[-1]]

    def variable(name, default, trainable):
      initializer = (param_initializers or {}).get(name, default)
      return _variable(name, channels, initializer=initializer, regularizer=None,
                       trainable=trainable)

    ones = tf.compat.v1.ones_initializer()
    beta = variable('beta', zeros_initializer(), trainable) if center else tf.zeros(channels)
    gamma = variable('gamma', ones, trainable) if scale else tf.ones(channels)
    moving_mean = variable('moving_mean', zeros_initializer(), False)
    moving_variance = variable('moving_variance', ones, False)

    if linear and fold:
      def folded() -> tuple[tf.Tensor, tf.Tensor]:
        factor = tf.math.rsqrt(moving_variance + epsilon) * (gamma if scale else 1.0)
        return linear.scaled(factor, (beta if center else 0.0) - moving_mean * factor)

      weights, biases = fold(sc.name, folded)
      outputs = dataclasses.replace(linear, weights=weights, biases=biases).outputs()
      return _keep(end_points, sc.name,
                   outputs if activation_fn is None else activation_fn(outputs))
    images = values if values.shape.rank == 4 else values[:, tf.newaxis, tf.newaxis, :]
    if is_training and not (is_frozen and is_frozen(sc.name)):
      replica = tf.distribute.get_replica_context()
      if is_synchronized and replica and replica.num_replicas_in_sync > 1:
        outputs, mean, variance = _normalize_together(images, gamma, beta, epsilon=epsilon,
                                                      replica=replica)
      else:
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            images, gamma, beta, epsilon=epsilon, is_training=True)
      decay = decay if decay_of_run is None else decay_of_run
      updates = [moving_mean.assign_sub((moving_mean - mean) * (1 - decay)),
                 moving_variance.assign_sub((moving_variance - variance) * (1 - decay))]
      if not tf.executing_eagerly() and not tf.inside_function():
        # A session runs only what it fetches; TF-Slim's programs fetch this collection.
        for update in updates:
          tf.compat.v1.add_to_collection(tf.compat.v1.GraphKeys.UPDATE_OPS, update.op)
    else:
      outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
          images, gamma, beta, tf.convert_to_tensor(moving_mean),
          tf.convert_to_tensor(moving_variance), epsilon=epsilon, is_training=False)
    outputs = tf.reshape(outputs, tf.shape(values)) if values.shape.rank != 4 else outputs
    outputs = tf.ensure_shape(outputs, values.shape)
    return _keep(end_points, sc.name, outputs if activation_fn is None else activation_fn(outputs))


batch_norm.takes_linear = True


def _normalize_together(images: tf.Tensor, gamma, beta, *, epsilon: float,
                        replica: tf.distribute.ReplicaContext):
  """Normalizes with the statistics of all replicas; returns as `fused_batch_norm` does.

  The variance is put together from those of the replicas (Chan, Golub and LeVeque 1983): the mean
  of the squares minus the square of the mean would lose digits.
  """
  values = tf.cast(images, tf.float32)
  own_mean, own_variance = tf.nn.moments(values, [0, 1, 2])
  mean = replica.all_reduce(tf.distribute.ReduceOp.MEAN, own_mean)
  variance = replica.all_reduce(tf.distribute.ReduceOp.MEAN,
                                own_variance + tf.square(own_mean - mean))
  outputs = tf.nn.batch_normalization(values, mean, variance, beta, gamma, epsilon)
  count = tf.cast(tf.size(values[..., 0]) * replica.num_replicas_in_sync, tf.float32)
  return tf.cast(outputs, images.dtype), mean, variance * count / tf.maximum(count - 1, 1)


def _scale_kept(inputs: tf.Tensor, keep_prob, keys, shape, scope: str) -> tf.Tensor:
  if keys is None:
    raise ValueError(f'{scope} is random in training. Expected an argument of the network or of '
                     "get_network_fn's function: keys=nets.noise.example_keys(seed, step, ids), "
                     'with the step and a different id for each example. Received: none.')
  kept = noise.uniform(keys, shape, scope) < keep_prob
  return tf.where(kept, inputs / tf.cast(keep_prob, inputs.dtype), tf.zeros([], inputs.dtype))


@add_arg_scope
def dropout(inputs: tf.Tensor, keep_prob: float = 0.5, *, is_training: bool = True,
            keep_prob_of_run: float | None = None, keys: tf.Tensor | None = None,
            end_points: dict | None = None, scope: str = 'Dropout') -> tf.Tensor:
  """Sets random elements to zero in training and scales up the others.

  Args:
    inputs: [batch, ...].
    keep_prob: probability that an element is kept, in (0, 1].
    is_training: a Python bool; False returns the inputs.
    keep_prob_of_run: replaces `keep_prob`, whatever the network says.
    keys: int64 [batch, 2], the examples' keys (`nets.noise`); `Network` passes them.
    end_points: the dict to add the result to.
    scope: name of the layer; its random numbers depend on it.

  Returns:
    A tensor of the inputs' shape and type.
  """
  name = _full_name(scope)
  keep_prob = keep_prob if keep_prob_of_run is None else keep_prob_of_run
  if is_training and keep_prob < 1:
    inputs = _scale_kept(inputs, keep_prob, keys, _example_shape(inputs), name)
  return _keep(end_points, name, inputs)


@add_arg_scope
def drop_path(inputs: tf.Tensor, keep_prob: float = 1.0, *, depth: float = 1.0,
              is_training: bool = True,
              keep_prob_of_run: Callable[[str, float, float], float] | None = None,
              keys: tf.Tensor | None = None, scope: str = 'drop_path') -> tf.Tensor:
  """Drops a whole path for some examples (Huang et al. 2016, https://arxiv.org/abs/1603.09382).

  Args:
    inputs: [batch, height, width, channels].
    keep_prob: probability that an example keeps the path, in (0, 1].
    depth: how deep in the network the path is, up to 1 for the last one.
    is_training: a Python bool; False returns the inputs.
    keep_prob_of_run: replaces the probability: a function of the scope that the path is in, the
      network's probability, and the depth.
    keys, scope: as in `dropout`.
  """
  if not is_training:
    return inputs
  name = _full_name(scope)
  if keep_prob_of_run:
    keep_prob = keep_prob_of_run(name.rpartition('/')[0], keep_prob, depth)
  if keep_prob == 1:
    return inputs
  return _scale_kept(inputs, keep_prob, keys, [1] * (inputs.shape.rank - 1), name)


@add_arg_scope
def scheduled_drop_path(keep_probs: Sequence[float], *, ramp_steps: int,
                        dtype: tf.DType = tf.float32, keys: tf.Tensor | None = None,
                        step: tf.Tensor | None = None,
                        scope: str = 'drop_path') -> list[tf.Tensor]:
  """Draws the dropped paths of a network (Zoph et al. 2017, https://arxiv.org/abs/1707.07012).

  At first every path is kept; the probabilities fall linearly during training. All paths are drawn
  at once: with a `drop_path` for each, the graph of a network of 160 paths would be three times as
  large.

  Args:
    keep_probs: for each path, the final probability that an example keeps it, in (0, 1].
    ramp_steps: number of training steps until these probabilities are reached.
    dtype: of the results.
    keys: int64 [batch, 2], the examples' keys (`nets.noise`); `Network` passes them.
    step: scalar integer, the number of completed training steps; `Network` passes it.
    scope: name of the layer; its random numbers depend on it.

  Returns:
    A factor [batch, 1, 1, 1] for each path: zero, or the reciprocal of the probability.
  """
  name = _full_name(scope)
  if step is None:
    raise ValueError(f'{name} changes during training. Expected the step. Received: None.')
  share = tf.minimum(tf.cast(step, tf.float32) / ramp_steps, 1.0)
  scheduled = 1 - share * (1 - tf.constant(keep_probs, tf.float32))
  width = len(keep_probs)
  factors = _scale_kept(tf.ones([1, width]), scheduled, keys, [width], name)
  return tf.unstack(tf.cast(factors, dtype)[:, :, tf.newaxis, tf.newaxis, tf.newaxis], axis=1)


RANDOM = (dropout, drop_path, scheduled_drop_path)  # Layers that need the examples' keys.


def _full_name(scope: str) -> str:
  outer = tf.compat.v1.get_variable_scope().name
  return f'{outer}/{scope}' if outer else scope


def _example_shape(inputs: tf.Tensor) -> list:
  dynamic = tf.shape(inputs)
  return [dynamic[i] if size is None else size
          for i, size in enumerate(inputs.shape) if i > 0]


@add_arg_scope
def max_pool2d(inputs: tf.Tensor, kernel_size, stride=2, padding: str = 'VALID', *,
               end_points: dict | None = None, scope: str = 'MaxPool2D') -> tf.Tensor:
  """Returns the maximum of each window of [batch, height, width, channels]."""
  outputs = tf.nn.max_pool2d(inputs, _pair(kernel_size), _pair(stride), padding)
  return _keep(end_points, _full_name(scope), outputs)


@add_arg_scope
def avg_pool2d(inputs: tf.Tensor, kernel_size, stride=2, padding: str = 'VALID', *,
               end_points: dict | None = None, scope: str = 'AvgPool2D') -> tf.Tensor:
  """Returns the mean of each window of [batch, height, width, channels], without the padding."""
  outputs = tf.nn.avg_pool2d(inputs, _pair(kernel_size), _pair(stride), padding)
  return _keep(end_points, _full_name(scope), outputs)


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
  return _keep(end_points, _full_name(scope), tf.cast(outputs, inputs.dtype))


@add_arg_scope
def flatten(inputs: tf.Tensor, *, end_points: dict | None = None,
            scope: str = 'Flatten') -> tf.Tensor:
  """Reshapes [batch, ...] to [batch, numbers], in row-major order."""
  width = 1
  for size in inputs.shape[1:]:
    width *= size
  return _keep(end_points, _full_name(scope), tf.reshape(inputs, [-1, width]))
