"""Learning rate schedules: TF-Slim's three with its warm-up, and a cosine."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from files.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class Schedule:
  """A learning rate as a function of the step.

  Attributes:
    decay_type: a name in `DECAYS`.
    learning_rate: the initial rate.
    decay_steps: steps between decays (exponential), of the whole decay (polynomial), or of the run
      with its warm-up (cosine).
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


def _cosine(schedule: Schedule, step: tf.Tensor) -> tf.Tensor:
  """Half a cosine after the warm-up (Loshchilov and Hutter 2017, arXiv:1608.03983), to 0."""
  whole = max(schedule.decay_steps - schedule.warmup_steps, 1)
  done = tf.clip_by_value(step - schedule.warmup_steps, 0, whole) / whole
  return schedule.learning_rate * (1 + tf.cos(math.pi * done)) / 2


DECAYS = {'cosine': _cosine, 'exponential': _exponential, 'fixed': _fixed,
          'polynomial': _polynomial}
