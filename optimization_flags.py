"""The flags of optimization, length and saving, and what is made of them; trainers share both."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import flags

from nets.network import Network
from slim_zoo.training import loop, losses, optimizers, schedules, trainer
from slim_zoo.training.inputs import Split
from slim_zoo.training.length import Length

FLAGS = flags.FLAGS

_SETTINGS = {field.name: field.default for field in dataclasses.fields(optimizers.Settings)}
# What a run is made of, and what may change when it is resumed.
FIXED = ('batch_size', 'seed', 'weight_decay', 'label_smoothing', 'class_weights', 'optimizer',
         *_SETTINGS, 'best_metric')
FREE = ('max_number_of_steps', 'epochs', 'learning_rate', 'learning_rate_decay_type',
        'learning_rate_decay_factor', 'num_epochs_per_decay', 'end_learning_rate',
        'warmup_epochs', 'log_every_n_steps', 'save_interval_secs', 'save_interval_steps',
        'save_summaries_secs', 'max_to_keep', 'validation_interval_epochs',
        'validation_interval_steps', 'early_stopping_patience')
# Pairs of which one is used at most, and the one that is then given up.
RIVALS = (('epochs', 'max_number_of_steps'),
           ('validation_interval_steps', 'validation_interval_epochs'))


def define_flags(**defaults: Any) -> None:
  """Defines the flags, for the script that calls it.

  Args:
    **defaults: in place of TF-Slim's.
  """
  def define(kind: str, name: str, default: Any, text: str, *more, **bounds) -> None:
    getattr(flags, f'DEFINE_{kind}')(name, defaults.pop(name, default), *more, text, **bounds)

  define('integer', 'batch_size', 32, 'Examples a step on each replica.', lower_bound=1)
  define('integer', 'seed', 0, 'What initial values, order and augmentation depend on.')
  define('float', 'weight_decay', 0.00004, 'Factor of the L2 regularization.')
  define('float', 'label_smoothing', 0.0, 'Share of each target spread over all classes.',
         lower_bound=0, upper_bound=0.999)
  define('enum', 'class_weights', 'none', 'How classes count in the loss: by their examples, or '
         'all alike.', ['none', 'balanced'])
  define('enum', 'optimizer', 'rmsprop', 'The optimizer.', sorted(optimizers.OPTIMIZERS))
  for name, default in _SETTINGS.items():
    define('float', name, default, 'For the optimizers that have it.')
  define('enum', 'best_metric', 'top_1', "What makes 'best' best.", sorted(loop.BEST_METRICS))
  define('integer', 'max_number_of_steps', None, 'Steps to train, in place of --epochs.')
  define('float', 'epochs', None, 'Epochs to train.', lower_bound=0)
  define('float', 'learning_rate', 0.01, 'The initial learning rate.', lower_bound=0)
  define('enum', 'learning_rate_decay_type', 'exponential', 'How the learning rate falls.',
         sorted(schedules.DECAYS))
  define('float', 'learning_rate_decay_factor', 0.94, 'Factor of an exponential decay.')
  define('float', 'num_epochs_per_decay', 2.0, 'Epochs of one decay, each counted with the batch '
         'of one replica, as in TF-Slim.')
  define('float', 'end_learning_rate', 0.0001, 'Where polynomial decay ends.')
  define('float', 'warmup_epochs', 0, 'Epochs of a linear rise of the learning rate.')
  define('integer', 'log_every_n_steps', 10, 'Steps between log lines.', lower_bound=1)
  define('integer', 'save_interval_secs', 600, 'Longest time between checkpoints.')
  define('integer', 'save_interval_steps', None, 'Steps between checkpoints.', lower_bound=1)
  define('integer', 'save_summaries_secs', 600, 'Longest time between histograms.')
  define('integer', 'max_to_keep', 5, 'Checkpoints to keep beside the best.', lower_bound=1)
  define('float', 'validation_interval_epochs', 1, 'Epochs between validations; 0 for none.')
  define('integer', 'validation_interval_steps', None, 'Steps between validations, in place of '
         '--validation_interval_epochs.', lower_bound=1)
  define('integer', 'early_stopping_patience', None, 'Stops after so many validations without '
         'a better --best_metric.', lower_bound=1)
  if defaults:
    raise TypeError(f'Expected defaults of flags. Received: {", ".join(defaults)}.')


def without_rivals(known: Mapping[str, Any]) -> dict[str, Any]:
  """Returns what is known of the flags but for what a flag that is set puts out of force.

  Raises:
    ValueError: if two flags are set that say the same.
  """
  known = dict(known)
  for pair in RIVALS:
    if all(FLAGS[name].present for name in pair):
      raise ValueError(f'--{pair[0]} and --{pair[1]} say the same. Expected one of them.')
    for name, rival in (pair, pair[::-1]):
      if FLAGS[name].present:
        known[rival] = None
  return known


def make_trainer(options: Mapping[str, Any], network: Network, length: Length,
                 **more: Any) -> trainer.Trainer:
  """Makes the trainer that settled flags describe, under the strategy's scope.

  Args:
    options: the flags.
    network: built for training.
    length: of the run.
    **more: arguments of `trainer.Trainer` that no flag of this module gives.
  """
  schedule = schedules.Schedule(
      options['learning_rate_decay_type'], options['learning_rate'],
      decay_steps=max(1, length.schedule_steps(options['num_epochs_per_decay'])),
      decay_factor=options['learning_rate_decay_factor'],
      end_learning_rate=options['end_learning_rate'],
      warmup_steps=length.schedule_steps(options['warmup_epochs']))
  return trainer.Trainer(
      network, optimizer=options['optimizer'],
      settings=optimizers.Settings(**{name: options[name] for name in _SETTINGS}),
      schedule=schedule, batch_size=length.batch_size, seed=options['seed'],
      label_smoothing=options['label_smoothing'], **more)


def class_weights(options: Mapping[str, Any], train: Split, num_classes: int) -> np.ndarray | None:
  """Computes what --class_weights says: float32 [num_classes], or None where it says none."""
  if options['class_weights'] == 'none':
    return None
  return losses.balanced_class_weights(train.class_counts(num_classes))


def make_plan(options: Mapping[str, Any], length: Length) -> loop.Plan:
  """Makes the plan of a run from settled flags; a log line an epoch where they say nothing."""
  last_step = options['max_number_of_steps']
  if last_step is None and options['epochs'] is not None:
    last_step = length.last_step(options['epochs'])
  validate_every = options['validation_interval_steps']
  if not validate_every and options['validation_interval_epochs']:
    validate_every = length.interval(options['validation_interval_epochs'])
  return loop.Plan(
      last_step=last_step, log_every=options['log_every_n_steps'] or length.interval(1),
      validate_every=validate_every, save_every=options['save_interval_steps'],
      save_seconds=options['save_interval_secs'],
      histogram_seconds=options['save_summaries_secs'], steps_per_epoch=length.steps_per_epoch,
      best_metric=options['best_metric'], patience=options['early_stopping_patience'])
