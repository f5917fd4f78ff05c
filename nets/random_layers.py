"""Layers that are random in training: dropout and dropped paths.

Their random numbers are a function of the examples' keys and of the layer's name (`nets.noise`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from nets import noise
from nets.arg_scopes import add_arg_scope
from nets.layer_parts import full_name, keep


def _scale_kept(inputs: tf.Tensor, keep_prob, *, keys, shape, scope: str) -> tf.Tensor:
  if keys is None:
    raise ValueError(f'{scope} is random in training. Expected an argument of the network or of '
                     "get_network_fn's function: keys=nets.noise.example_keys(seed, step, ids), "
                     'with the step and a different id for each example. Received: none.')
  kept = noise.uniform(keys, shape, scope) < keep_prob
  return tf.where(kept, inputs / tf.cast(keep_prob, inputs.dtype), tf.zeros([], inputs.dtype))


def _example_shape(inputs: tf.Tensor) -> list:
  dynamic = tf.shape(inputs)
  return [dynamic[i] if size is None else size
          for i, size in enumerate(inputs.shape) if i > 0]


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
  name = full_name(scope)
  keep_prob = keep_prob if keep_prob_of_run is None else keep_prob_of_run
  if is_training and keep_prob < 1:
    inputs = _scale_kept(inputs, keep_prob, keys=keys, shape=_example_shape(inputs), scope=name)
  return keep(end_points, name, inputs)


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
  name = full_name(scope)
  if keep_prob_of_run:
    keep_prob = keep_prob_of_run(name.rpartition('/')[0], keep_prob, depth)
  if keep_prob == 1:
    return inputs
  return _scale_kept(inputs, keep_prob, keys=keys, shape=[1] * (inputs.shape.rank - 1), scope=name)


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
  name = full_name(scope)
  if step is None:
    raise ValueError(f'{name} changes during training. Expected the step. Received: None.')
  share = tf.minimum(tf.cast(step, tf.float32) / ramp_steps, 1.0)
  scheduled = 1 - share * (1 - tf.constant(keep_probs, tf.float32))
  width = len(keep_probs)
  factors = _scale_kept(tf.ones([1, width]), scheduled, keys=keys, shape=[width], scope=name)
  return tf.unstack(tf.cast(factors, dtype)[:, :, tf.newaxis, tf.newaxis, tf.newaxis], axis=1)


RANDOM = (dropout, drop_path, scheduled_drop_path)  # Layers that need the examples' keys.
