"""The loop of a training run: step, maybe log, maybe validate, maybe save, until it ends."""

from __future__ import annotations

import dataclasses
import math
import signal
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from slim_zoo.evaluation.evaluator import AnyMeasurement
from slim_zoo.evaluation.outcomes import AnyOutcomes
from slim_zoo.training import signals
from slim_zoo.training.progress import Progress, Stopwatch
from slim_zoo.training.recorder import Recorder
from slim_zoo.training.signals import StopRequests
from slim_zoo.training.trainer import Steps, Trainer
from slim_zoo.training.workers import ALONE, Workers

# Measures the network, and says what it predicts; or returns None if its argument says to give up.
Validate = Callable[[Callable[[], bool]], tuple[AnyMeasurement, AnyOutcomes] | None]
# How the metrics of a measurement are compared, by the names of `Measurement.scalars`.
BEST_METRICS = {'top_1': max, 'top_5': max, 'mean_recall': max, 'loss': min,
                'mean_average_precision': max, 'f1': max}
# The steps of one call take about this long, in seconds; a signal waits until they are done.
_SECONDS_A_CALL = 1.0


@dataclasses.dataclass(frozen=True)
class Plan:
  """Schedule of a run, in steps, except for the two intervals in seconds.

  Attributes:
    last_step: step at which the run ends; None for no end.
    log_every, validate_every, save_every: steps between these events; None for never.
    save_seconds, histogram_seconds: time between checkpoints and between histograms.
    steps_per_epoch: converts steps to the epochs that are shown.
    best_metric: a name in `BEST_METRICS`.
    patience: stop after this many validations without a better one; None for never.
    plateau_patience: lower the learning rate after this many; None for never.
    plateau_factor: factor of the learning rate then.
  """
  last_step: int | None
  log_every: int
  validate_every: int | None
  save_every: int | None
  save_seconds: float
  histogram_seconds: float
  steps_per_epoch: float
  best_metric: str = 'top_1'
  patience: int | None = None
  plateau_patience: int | None = None
  plateau_factor: float = 1.0


@dataclasses.dataclass
class ValidationState:
  """Validation results of a run so far; saved with each checkpoint.

  Attributes:
    best_value, best_step: the best validation; None before the first.
    validations_since_best: number of validations since then.
    stopped_early: whether patience ended the run.
    validation_due: whether a signal interrupted the validation of this step, which is then repeated
      when the run is resumed.
    validations_on_plateau: number of validations since the best, or since the learning rate was
      lowered.
    rate_drops: how often it was lowered.
  """
  best_value: float | None = None
  best_step: int | None = None
  validations_since_best: int = 0
  stopped_early: bool = False
  validation_due: bool = False
  validations_on_plateau: int = 0
  rate_drops: int = 0

  def note(self, step: int, value: float, metric: str) -> bool:
    """Records a validation; returns whether it is the best. NaN and infinity never are."""
    better = math.isfinite(value) and (self.best_value is None or (
        value != self.best_value and BEST_METRICS[metric](value, self.best_value) == value))
    if better:
      self.best_value, self.best_step, self.validations_since_best = value, step, 0
      self.validations_on_plateau = 0
    else:
      self.validations_since_best += 1
      self.validations_on_plateau += 1
    return better

  def leaves_plateau(self, patience: int | None) -> bool:
    """Returns whether it is time to lower the learning rate, and notes it."""
    if not patience:
      self.validations_on_plateau = 0  # It is only counted for this purpose.
      return False
    if self.validations_on_plateau < patience:
      return False
    self.validations_on_plateau = 0
    self.rate_drops += 1
    return True


class NonFiniteLossError(ValueError):
  """The loss, or a variable, became infinite or NaN."""


def fit(trainer: Trainer, batches: Iterator, plan: Plan, *, validation_state: ValidationState,
        recorder: Recorder, progress: Progress, save: Callable[[], None],
        save_best: Callable[[], None], validate: Validate | None,
        workers: Workers = ALONE) -> signal.Signals | None:
  """Trains until the plan's last step, early stopping, or a signal.

  Args:
    trainer: the trainer, at the step from which the run continues.
    batches: iterator over training batches, from that step on.
    plan: schedule of the run.
    validation_state: state of the run so far; updated in place.
    recorder, progress: receive the measurements.
    save: writes a checkpoint of the trainer and the validation state.
    save_best: writes the checkpoint of the best validation so far.
    validate: measures the network as an evaluation does, but stops and returns None as soon as
      the function that it is called with returns true; None without a validation split.
    workers: of the run. The chief decides what depends on the time, and a signal to any of them
      ends the run of all at the same step.

  Returns:
    The signal that ended the run, or None.

  Raises:
    NonFiniteLossError: names the step and the learning rate; nothing of that step is saved.
  """
  step = saved_step = trainer.step
  since_log: list[Steps] = []
  since_save, since_histograms, pace = Stopwatch(), None, 1
  ended_by: signal.Signals | None = None

  def lower_rate() -> None:
    trainer.rate_scale = plan.plateau_factor ** validation_state.rate_drops

  if plan.plateau_patience and validation_state.rate_drops:
    lower_rate()
    progress.say(f'learning rate: times {trainer.rate_scale:.3g} of the first, as lowered before')
  with StopRequests() as requests:
    def is_asked_to_stop() -> bool:
      nonlocal ended_by
      ended_by = ended_by or signals.first(workers.total(signals.counts(requests.received)))
      return ended_by is not None

    def validate_now(validate: Validate) -> None:
      validation_state.validation_due = True
      progress.pause('validating')
      examined = validate(is_asked_to_stop)
      if examined:
        validation_state.validation_due = False
        found, outcomes = examined
        _take_in(step, found, plan, state=validation_state, recorder=recorder, progress=progress,
                 save_best=save_best)
        recorder.draw(step, int(step / plan.steps_per_epoch), outcomes,
                      is_last=step == plan.last_step or validation_state.stopped_early)
        if validation_state.leaves_plateau(plan.plateau_patience):
          lower_rate()
          progress.say(f'learning rate lowered: times {trainer.rate_scale:.3g} of the first')

    if validate and validation_state.validation_due:
      validate_now(validate)
      save()
    while step != plan.last_step and not validation_state.stopped_early and not is_asked_to_stop():
      pace, due = map(int, workers.of_chief([
          pace, since_histograms is None or since_histograms.seconds >= plan.histogram_seconds]))
      count = min(pace, _next_event(step, plan) - step)
      watch = Stopwatch()
      steps = trainer.run(batches, count, with_gradients=bool(due))
      pace = max(1, min(4 * pace, round(count * _SECONDS_A_CALL / max(watch.seconds, 1e-9))))
      _check_finite(steps, step)
      step += count
      progress.advance(step, watch.seconds, f'loss {np.mean(steps.loss):.4f}, accuracy '
                       f'{np.mean(steps.accuracy):.3f}')
      if due:
        recorder.histograms(step, trainer.network.variables, steps.gradients)
        since_histograms = Stopwatch()
        steps = dataclasses.replace(steps, gradients={})  # As large as all trained variables.
      since_log.append(steps)
      if step % plan.log_every == 0 or step == plan.last_step:
        _log(step, since_log, plan, recorder=recorder, progress=progress)
        since_log = []
      if validate and plan.validate_every and (
          step % plan.validate_every == 0 or step == plan.last_step):
        validate_now(validate)
      is_late, = workers.of_chief([since_save.seconds >= plan.save_seconds])
      if (plan.save_every and step % plan.save_every == 0) or is_late:
        save()
        saved_step, since_save = step, Stopwatch()
    if step != saved_step:
      save()
    is_asked_to_stop()  # Phases that would follow must not start.
    return ended_by


def _next_event(step: int, plan: Plan) -> int:
  """Returns the next step after which something is due."""
  events = [(step // every + 1) * every
            for every in (plan.log_every, plan.validate_every, plan.save_every) if every]
  return min(events if plan.last_step is None else [*events, plan.last_step])


def _check_finite(steps: Steps, first: int) -> None:
  bad = np.flatnonzero(~np.isfinite(steps.objective))
  if len(bad):
    raise NonFiniteLossError(
        f'The loss became {steps.objective[bad[0]]} at step {first + int(bad[0]) + 1}, with the '
        f'learning rate {steps.learning_rate[bad[0]]:.6g}.')


def check_state(state: Mapping[str, tf.Tensor], step: int) -> None:
  """Keeps a broken state from being saved: an update can break it even if the loss was finite.

  Raises:
    NonFiniteLossError: names the first variable that holds an infinite number or NaN.
  """
  for name, value in state.items():
    if value.dtype.is_floating and not bool(tf.reduce_all(tf.math.is_finite(value))):
      raise NonFiniteLossError(f'{name} became infinite or NaN by step {step}.')


def _log(step: int, since_log: list[Steps], plan: Plan, *, recorder: Recorder,
         progress: Progress) -> None:
  means = {name: float(np.mean(np.concatenate([getattr(s, name) for s in since_log])))
           for name in ('loss', 'objective', 'accuracy')}
  rate = float(since_log[-1].learning_rate[-1])
  epoch = step / plan.steps_per_epoch
  progress.log(f'epoch {epoch:.2f}, loss {means["loss"]:.4f} (objective '
               f'{means["objective"]:.4f}), accuracy {means["accuracy"]:.4f}, learning rate '
               f'{rate:.4g}')
  recorder.scalars(step, {'epoch': epoch, **means, 'learning_rate': rate,
                          'images_per_second': progress.images_per_second})


def _take_in(step: int, found: AnyMeasurement, plan: Plan, *, state: ValidationState,
             recorder: Recorder, progress: Progress, save_best: Callable[[], None]) -> None:
  scalars = found.scalars()
  recorder.scalars(step, {'epoch': step / plan.steps_per_epoch,
                          **{f'validation_{name}': value for name, value in scalars.items()}})
  recorder.flush()
  value = scalars[plan.best_metric]
  better = state.note(step, value, plan.best_metric)
  progress.say(f'validation at step {step}: {found.text()}'
               + (' (best so far)' if better else ''))
  if better:
    save_best()
  elif plan.patience and state.validations_since_best >= plan.patience:
    state.stopped_early = True
    progress.say(f'stopping early: {state.validations_since_best} validations without a '
                 f'better {plan.best_metric} than {state.best_value} at step '
                 f'{state.best_step}')
