"""Batch norm, also over several replicas, and folded into the layer before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nets import layer_parts
from nets.arg_scopes import add_arg_scope
from nets.layer_parts import Linear

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
      return layer_parts.variable(name, channels, initializer=initializer, regularizer=None,
                       trainable=trainable)

    zeros, ones = tf.compat.v1.zeros_initializer(), tf.compat.v1.ones_initializer()
    beta = variable('beta', zeros, trainable) if center else tf.zeros(channels)
    gamma = variable('gamma', ones, trainable) if scale else tf.ones(channels)
    moving_mean = variable('moving_mean', zeros, False)
    moving_variance = variable('moving_variance', ones, False)

    if linear and fold:
      def folded() -> tuple[tf.Tensor, tf.Tensor]:
        factor = tf.math.rsqrt(moving_variance + epsilon) * (gamma if scale else 1.0)
        return linear.scaled(factor, (beta if center else 0.0) - moving_mean * factor)

      weights, biases = fold(sc.name, folded)
      outputs = dataclasses.replace(linear, weights=weights, biases=biases).outputs()
      return layer_parts.keep(end_points, sc.name,
                   outputs if activation_fn is None else activation_fn(outputs))
    images = values if values.shape.rank == 4 else values[:, tf.newaxis, tf.newaxis, :]
    if is_training and not (is_frozen and is_frozen(sc.name)):
      replica = tf.distribute.get_replica_context()
      if is_synchronized and replica and replica.num_replicas_in_sync > 1:
        outputs, mean, variance = normalize_together(images, gamma, beta, epsilon=epsilon,
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
    return layer_parts.keep(
        end_points, sc.name, outputs if activation_fn is None else activation_fn(outputs))


batch_norm.takes_linear = True  # type: ignore[attr-defined]


def normalize_together(images: tf.Tensor, gamma, beta, *, epsilon: float,
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
