"""Learning rate schedules: TF-Slim's three, and its warm-up."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from files.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A learning rate as a function of the step.

  Attributes:
    decay_type: a name in `DECAYS`.
    learning_rate: the initial rate.
    decay_steps: steps between decays (exponential), or of the whole decay (polynomial).
    decay_factor: factor of each exponential decay.
    end_learning_rate: final rate of the polynomial decay.
    warmup_steps: steps of a linear rise from 0 to `learning_rate`; the lower of this and the
      decayed rate is used, as in TF-Slim.
  """
  decay_type: str
  learning_rate: float
  decay_steps: int = 1
  decay_factor: float = 0.94
  end_learning_rate: float = 0.0001
  warmup_steps: int = 0

  def __post_init__(self):
    if self.decay_type not in DECAYS:
      raise unknown_name('learning rate decay', self.decay_type, DECAYS)

  def __call__(self, step: tf.Tensor) -> tf.Tensor:
    """Returns the rate, float32 and scalar, at an integer step (the first step is 0)."""
    # float32 represents steps exactly only up to 2**24.
    step = tf.cast(step, tf.float64)
    rate = DECAYS[self.decay_type](self, step)
    if self.warmup_steps:
      rate = tf.minimum(rate, self.learning_rate * step / self.warmup_steps)
    return tf.cast(rate, tf.float32)


def _fixed(schedule: Schedule, step: tf.Tensor) -> tf.Tensor:
  return tf.constant(schedule.learning_rate, tf.float64) + 0 * step


def _exponential(schedule: Schedule, step: tf.Tensor) -> tf.Tensor:
  """A staircase: constant within each `decay_steps`."""
  return schedule.learning_rate * tf.cast(schedule.decay_factor, tf.float64) ** tf.floor(
      step / schedule.decay_steps)


def _polynomial(schedule: Schedule, step: tf.Tensor) -> tf.Tensor:
  """A straight line to `end_learning_rate`, constant from there on."""
  left = 1 - tf.minimum(step, schedule.decay_steps) / schedule.decay_steps
  return (schedule.learning_rate - schedule.end_learning_rate) * left + schedule.end_learning_rate


DECAYS = {'fixed': _fixed, 'exponential': _exponential, 'polynomial': _polynomial}
