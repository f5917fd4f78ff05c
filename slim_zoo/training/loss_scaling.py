"""Dynamic loss scaling, which keeps small gradients from becoming 0 in float16.

Micikevicius et al. 2018, Mixed Precision Training (https://arxiv.org/abs/1710.03740), section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Powers of two, so that scaling a gradient and scaling it back changes no digit.
FIRST_SCALE, _LARGEST_SCALE = 2.0 ** 15, 2.0 ** 24
# Consecutive finite steps after which the scale is doubled.
_PATIENCE = 2000


class LossScale:
  """The factor of the loss, in variables that are part of a run's state."""

  def __init__(self, make_variable: Callable[..., tf.Variable]):
    """Creates the variables.

    Args:
      make_variable: `make_variable(value, dtype, aggregation)`.
    """
    of_all = tf.VariableAggregation.ONLY_FIRST_REPLICA
    self._scale = make_variable(FIRST_SCALE, tf.float32, of_all)
    self._good_steps = make_variable(0, tf.int64, of_all)

  def variables(self) -> dict[str, tf.Variable]:
    """Returns the variables by name."""
    return {'loss_scale': self._scale, 'loss_scale_good_steps': self._good_steps}

  def __call__(self) -> tf.Tensor:
    """Returns the current scale, a float32 scalar."""
    return tf.convert_to_tensor(self._scale)

  def update(self, is_finite: tf.Tensor) -> None:
    """Changes the scale after a step; see `next_scale`."""
    scale, good_steps = next_scale(self(), tf.convert_to_tensor(self._good_steps), is_finite)
    self._scale.assign(scale)
    self._good_steps.assign(good_steps)


def next_scale(scale: tf.Tensor, good_steps: tf.Tensor, is_finite: tf.Tensor
               ) -> tuple[tf.Tensor, tf.Tensor]:
  """Returns the scale and the number of consecutive finite steps after a step.

  Args:
    scale: factor of the loss in this step, a float32 scalar.
    good_steps: finite steps since the scale was last changed, an int64 scalar.
    is_finite: whether all gradients of this step are finite, a bool scalar.
  """
  good_steps = tf.where(is_finite, good_steps + 1, 0)
  is_due = good_steps >= _PATIENCE
  grown = tf.where(is_due, tf.minimum(2 * scale, _LARGEST_SCALE), scale)
  return (tf.where(is_finite, grown, tf.maximum(scale / 2, 1.0)),
          tf.where(is_due, tf.zeros([], good_steps.dtype), good_steps))


def are_finite(gradients: list[tf.Tensor]) -> tf.Tensor:
  """Returns whether all numbers are finite, a bool scalar."""
  return tf.reduce_all([tf.reduce_all(tf.math.is_finite(gradient)) for gradient in gradients])
