"""Learning rate schedules: TF-Slim's three with its warm-up, and later ones."""

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
      with its warm-up (cosine, one_cycle).
    decay_factor: factor of each decay (exponential, multi_step, plateau).
    end_learning_rate: final rate of the polynomial decay.
    warmup_steps: steps of a linear rise from 0 to `learning_rate`; the lower of this and the
      decayed rate is used, as in TF-Slim. Has no effect on one_cycle, which rises by itself.
    milestones: steps of the decays of multi_step.
    cycles: number of cosines, one after the other.
  """
  decay_type: str
  learning_rate: float
  decay_steps: int = 1
  decay_factor: float = 0.94
  end_learning_rate: float = 0.0001
  warmup_steps: int = 0
  milestones: tuple[int, ...] = ()
  cycles: int = 1

  def __post_init__(self):
    if self.decay_type not in DECAYS:
      raise unknown_name('learning rate decay', self.decay_type, DECAYS)

  def __call__(self, step: tf.Tensor) -> tf.Tensor:
    """Returns the rate, float32 and scalar, at an integer step (the first step is 0)."""
    # float32 represents steps exactly only up to 2**24.
    step = tf.cast(step, tf.float64)
    rate = DECAYS[self.decay_type](self, step)
    if self.warmup_steps and self.decay_type != 'one_cycle':
      rate = tf.minimum(rate, self.learning_rate * step / self.warmup_steps)
    return tf.cast(rate, tf.float32)


def describe(schedule: Schedule, end: int | None, steps_per_epoch: float) -> str:
  """Describes a schedule by its rates, and by epochs of all examples.

  Args:
    schedule: the schedule.
    end: number of steps of the run; None without an end.
    steps_per_epoch: of all examples.
  """
  text = f'Learning rate: {schedule.decay_type}, {schedule.learning_rate:g}'
  if schedule.warmup_steps and schedule.decay_type != 'one_cycle':
    text += f' after a warm-up of {schedule.warmup_steps / steps_per_epoch:.3g} epochs'
  if schedule.decay_type == 'exponential':
    text += (f', times {schedule.decay_factor:g} every '
             f'{schedule.decay_steps / steps_per_epoch:.3g} epochs')
  elif schedule.decay_type == 'multi_step':
    epochs = ', '.join(f'{step / steps_per_epoch:.3g}' for step in schedule.milestones)
    text += f', times {schedule.decay_factor:g} after {epochs} epochs'
  elif schedule.decay_type == 'plateau':
    text += f', times {schedule.decay_factor:g} when validations no longer improve'
  elif schedule.decay_type == 'polynomial':
    text += (f', falls to {schedule.end_learning_rate:g} in '
             f'{schedule.decay_steps / steps_per_epoch:.3g} epochs')
  if end and schedule.decay_type != 'plateau':
    text += (f'; {last_rate(schedule, end):.3g} in the last of {end} steps, '
             f'{end / steps_per_epoch:.3g} epochs')
  return f'{text}.'


def last_rate(schedule: Schedule, end: int) -> float:
  """Returns the rate of the last step of a run of that many steps."""
  return float(schedule(tf.constant(end - 1, tf.int64)))


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
  """Half a cosine to 0 after the warm-up, `cycles` times.

  (Loshchilov and Hutter 2017, arXiv:1608.03983, with warm restarts of equal length.)
  """
  length = max(schedule.decay_steps - schedule.warmup_steps, 1) / schedule.cycles
  cycles = tf.maximum(step - schedule.warmup_steps, 0) / length
  done = tf.minimum(cycles - tf.minimum(tf.floor(cycles), schedule.cycles - 1), 1)
  return schedule.learning_rate * (1 + tf.cos(math.pi * done)) / 2


def _multi_step(schedule: Schedule, step: tf.Tensor) -> tf.Tensor:
  """Decays at each milestone."""
  passed = tf.reduce_sum(tf.cast(step >= tf.constant(schedule.milestones, tf.float64), tf.float64))
  return schedule.learning_rate * tf.cast(schedule.decay_factor, tf.float64) ** passed


def _one_cycle(schedule: Schedule, step: tf.Tensor) -> tf.Tensor:
  """Rises to the rate and falls, along cosines; PyTorch's `OneCycleLR` with its defaults.

  (Smith and Topin 2017, arXiv:1708.07120.)
  """
  peak, end = _RISING * schedule.decay_steps - 1, schedule.decay_steps - 1
  start = schedule.learning_rate / _ONE_CYCLE_START
  final = start / _ONE_CYCLE_END

  def along_cosine(first: float, last: float, done: tf.Tensor) -> tf.Tensor:
    return last + (first - last) / 2 * (1 + tf.cos(math.pi * tf.clip_by_value(done, 0, 1)))

  return tf.where(step <= peak, along_cosine(start, schedule.learning_rate, step / peak),
                  along_cosine(schedule.learning_rate, final, (step - peak) / (end - peak)))


_RISING, _ONE_CYCLE_START, _ONE_CYCLE_END = 0.3, 25, 1e4
DECAYS = {'cosine': _cosine, 'exponential': _exponential, 'fixed': _fixed,
          'multi_step': _multi_step, 'one_cycle': _one_cycle,
          'plateau': _fixed,  # The loop lowers it; see `loop.ValidationState`.
          'polynomial': _polynomial}
# Those that need the length of the run.
OF_THE_RUN = ('cosine', 'one_cycle')
