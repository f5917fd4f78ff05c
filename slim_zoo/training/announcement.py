"""What a training run prints before its first step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from nets import nets_factory
from nets.network import Network
from slim_zoo.config.programs import Train
from slim_zoo.training import distribution, from_config, schedules
from slim_zoo.training.job import Job

# A learning rate of more than this share in the last step is too high; shorter runs are trials.
_HIGH_SHARE, _LEAST_STEPS = 0.5, 100
# Images may be this many times smaller than a network's own size without a warning.
_MOST_REDUCTION = 4


def announce(job: Job) -> None:
  """Prints where the run starts from, what is trained, and how long it takes."""
  config, origin, length, network = job.config, job.origin, job.length, job.trainer.network
  if origin.is_resumed:
    print(f'Resumed {origin.path} at step {job.trainer.step}.')
    if config.weights.checkpoint_path:
      print(f'--checkpoint_path is not used: {config.saving.train_dir} has a checkpoint of its '
            'own.')
  else:
    print(f'Warm start from {origin.path}.' if origin.path else 'From scratch.')
  count = sum(math.prod(network.variables[name].shape) for name in network.trainable)
  is_all = all(name in network.trainable for name, v in network.variables.items() if v.trainable)
  scope = config.fine_tuning.trainable_scopes or ('everything' if is_all else 'a part')
  for flag in ('learning_rate_multipliers', 'layer_decay'):
    value = getattr(config.fine_tuning, flag)
    if value:
      print(f'--{flag}={value}: learning rates differ by scope; batch norm keeps its averages '
            'where they are 0.')
  print(f'Training {scope} of {config.model.model_name}: {count:,} numbers in '
        f'{len(network.trainable)} variables.')
  if len(network.trainable) < len(network.variables) and config.fine_tuning.trainable_scopes:
    print('Batch norm outside of these scopes uses its stored averages and does not update them.')
    if not origin.path:
      print('Warning: what is not trained keeps its random values, because there is no checkpoint.')
  split, end = job.training.dataset, job.plan.last_step
  print(f'{split.num_examples} examples of {split.num_classes} classes, global batch '
        f'{length.batch_size} on {_replicas(config)}, {distribution.kind()}: '
        f'{length.steps_per_epoch:.2f} steps per epoch; '
        + ('without an end.' if end is None else
           f'{end} steps, {end / length.steps_per_epoch:.2f} epochs.'))
  schedule = from_config.make_schedule(config.optimization, config.duration, length)
  print(schedules.describe(schedule, end, length.steps_per_epoch))
  if end is None and not job.plan.patience:
    print('Warning: this run trains until it is stopped. Set --epochs or --max_number_of_steps.')
  for warning in _doubts(config, network, end=end, schedule=schedule):
    print(f'Warning: {warning}')
  if length.batch_size > split.num_examples:
    print(f'Warning: a batch of {length.batch_size} holds some of the {split.num_examples} '
          'examples more than once. See --batch_size.')
  facts = job.facts
  print(f'Images in evaluation: {facts.transform.describe(facts.image_size)}.')
  print(f'XLA is {config.hardware.xla}, {config.hardware.compute_dtype}, seed '
        f'{config.optimization.seed}.', flush=True)


def _replicas(config: Train) -> str:
  """Describes the replicas of a run."""
  hardware = config.hardware
  if hardware.worker_replicas == 1:
    return f'{hardware.num_clones} replica(s)'
  return (f'{hardware.worker_replicas} workers with {hardware.num_clones} replica(s) each')


def _doubts(config: Train, network: Network, *, end: int | None,
            schedule: schedules.Schedule) -> Iterator[str]:
  """Yields warnings about settings that are known to train badly."""
  size, own_size = config.model.train_image_size or 0, nets_factory.get_net(
      config.model.model_name).image_size
  if _MOST_REDUCTION * size < own_size:
    yield (f'the images, {size}×{size}, are much smaller than the {own_size}×{own_size} for which '
           f'{config.model.model_name} was made. See --train_image_size.')
  if not config.optimization.learning_rate:
    yield 'with --learning_rate=0 nothing is learned.'
  if end is not None and schedule.warmup_steps >= end:
    yield (f'the warm-up of {schedule.warmup_steps} steps is as long as the run or longer. See '
           '--warmup_epochs.')
  epsilon = config.settings.opt_epsilon
  if config.optimization.optimizer == 'adam' and (epsilon is None or epsilon >= 0.1):
    yield ("Adam hardly trains with an epsilon as large as TF-Slim's 1.0. Set --opt_epsilon=1e-7, "
           'or use --optimizer=adamw.')
  memory = network.batch_norm_memory()
  if end is not None and end < memory:
    yield (f"batch norm's averages remember {memory:,.0f} steps, more than the {end:,} of this "
           'run: validation will lag behind training. Set --batch_norm_decay, for example 0.99.')
  if end is not None and end >= _LEAST_STEPS and schedule.decay_type != 'plateau':
    share = schedules.last_rate(schedule, end) / max(schedule.learning_rate, 1e-30)
    if share > _HIGH_SHARE:
      yield (f'the last step still has {share:.0%} of the learning rate. A run ends better if it '
             'falls to 0: --learning_rate_decay_type=cosine.')
