"""Making a trainer and its plan from the config."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nets.network import Network
from slim_zoo.config.flag_values import kept_of
from slim_zoo.config.programs import Train, TrainOnFeatures
from slim_zoo.config.training import Duration, Optimization
from slim_zoo.training import loop, losses, optimizers, schedules
from slim_zoo.training.clipping import Clipping
from slim_zoo.training.inputs import Split
from slim_zoo.training.length import Length
from slim_zoo.training.trainer import Trainer

# Factors of the learning rate, by the number of replicas (Goyal et al. 2017, arXiv:1706.02677,
# section 2.1; Krizhevsky 2014, arXiv:1404.5997, section 5).
_SCALINGS: Mapping[str, Callable[[int], float]] = {
    'none': lambda count: 1, 'linear': lambda count: count, 'sqrt': math.sqrt}
# Options that a table of runs always has.
_MAIN = ('model_name', 'optimizer', 'learning_rate', 'batch_size')


def make_trainer(config: Train | TrainOnFeatures, network: Network, length: Length, *,
                 head: Sequence[str] = (), **more: Any) -> Trainer:
  """Makes a trainer, under the strategy's scope.

  Args:
    config: the settled options.
    network: built for training.
    length: of the run.
    head: scopes of the classifiers.
    **more: further arguments of `Trainer`.
  """
  return Trainer(
      network, optimizer=config.optimization.optimizer, settings=config.settings,
      schedule=make_schedule(config.optimization, config.duration, length),
      batch_size=length.batch_size, seed=config.optimization.seed,
      loss=losses.Loss(config.loss.loss, config.loss.label_smoothing, config.loss.focal_gamma,
                       config.loss.bce_target_threshold),
      weight_decay=config.loss.weight_decay,
      clipping=Clipping(config.optimization.gradient_clip_norm,
                        config.optimization.adaptive_clip_factor, head),
      batches_per_step=length.batches_per_step, **more)


def hyperparameters(config: Train) -> dict[str, bool | int | float | str]:
  """Returns the settings of a run for a table of runs: those that are not the defaults, and a few.

  Values that a run settles by itself, such as an image size, are among them.
  """
  defaults = kept_of(Train())
  return {name: value for name, value in kept_of(config).items()
          if value is not None and (name in _MAIN or value != defaults[name])}


def loss_decay(config: Train | TrainOnFeatures) -> float:
  """Returns the weight decay that is part of the loss."""
  kind = optimizers.get_optimizer(config.optimization.optimizer)
  return 0.0 if kind.decouples_decay else config.loss.weight_decay


def make_schedule(config: Optimization, duration: Duration, length: Length) -> schedules.Schedule:
  """Makes the schedule of the learning rate, in steps.

  Raises:
    ValueError: if a schedule lacks the length of the run, or its milestones.
  """
  kind = config.learning_rate_decay_type
  decay_steps = max(1, length.schedule_steps(config.num_epochs_per_decay))
  if kind in schedules.OF_THE_RUN:
    last_step = _last_step(duration, length)
    if last_step is None:
      raise ValueError(f'--learning_rate_decay_type={kind}: expected the length of the run, since '
                       'the learning rate falls until its end. Received: none. Set --epochs or '
                       '--max_number_of_steps.')
    decay_steps = max(2, last_step)
  milestones = _epochs(config.learning_rate_milestones)
  if kind == 'multi_step' and not milestones:
    raise ValueError('--learning_rate_decay_type=multi_step: expected --learning_rate_milestones. '
                     'Received: none. For example: --learning_rate_milestones=30,60,80')
  return schedules.Schedule(
      config.learning_rate_decay_type,
      config.learning_rate * _SCALINGS[config.scale_learning_rate](length.num_replicas),
      decay_steps=decay_steps,
      decay_factor=config.learning_rate_decay_factor,
      end_learning_rate=config.end_learning_rate,
      warmup_steps=int(config.warmup_epochs * length.num_examples / length.batch_size),
      milestones=tuple(map(length.last_step, milestones)),
      cycles=config.learning_rate_cycles)


def _epochs(text: str | None) -> list[float]:
  """Reads numbers of epochs, separated by commas.

  Raises:
    ValueError: if they are no numbers.
  """
  try:
    epochs = [float(part) for part in (text or '').split(',') if part.strip()]
  except ValueError:
    epochs = [math.nan]
  if not all(0 < epoch < math.inf for epoch in epochs):
    raise ValueError('--learning_rate_milestones: expected numbers of epochs above 0, such as '
                     f'30,60,80. Received: {text}.')
  return epochs


def class_weights(name: str, train: Split, num_classes: int) -> np.ndarray | None:
  """Computes the weights of the classes: float32 [num_classes]; None if there are none."""
  return None if name == 'none' else losses.balanced_class_weights(train.class_counts(num_classes))


def make_plan(config: Train | TrainOnFeatures, length: Length) -> loop.Plan:
  """Makes the plan of a run; by default there is one log line per epoch."""
  optimization, duration, saving = config.optimization, config.duration, config.saving
  on_plateau = optimization.learning_rate_decay_type == 'plateau'
  validate_every = duration.validation_interval_steps
  if not validate_every and duration.validation_interval_epochs:
    validate_every = length.interval(duration.validation_interval_epochs)
  return loop.Plan(
      last_step=_last_step(duration, length),
      log_every=saving.log_every_n_steps or length.interval(1),
      validate_every=validate_every, save_every=saving.save_interval_steps,
      save_seconds=saving.save_interval_secs, histogram_seconds=saving.save_summaries_secs,
      steps_per_epoch=length.steps_per_epoch, best_metric=duration.best_metric,
      patience=duration.early_stopping_patience,
      plateau_patience=optimization.plateau_patience if on_plateau else None,
      plateau_factor=optimization.learning_rate_decay_factor)


def _last_step(duration: Duration, length: Length) -> int | None:
  """Returns the number of steps of a run; None without an end."""
  if duration.max_number_of_steps is not None or duration.epochs is None:
    return duration.max_number_of_steps
  return length.last_step(duration.epochs)
