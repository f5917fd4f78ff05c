"""Training a classifier, from the command line to the last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import tensorflow as tf

from datasets import labels
from files import progress
from nets import nets_factory, scopes
from nets.network import Network
from nets.record import Net
from slim_zoo.config import training as training_options
from slim_zoo.config.flag_values import Parsed, kept_of, options_of, replace
from slim_zoo.config.option import absolute
from slim_zoo.config.programs import Train
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.features import cache as feature_cache
from slim_zoo.training import (
  data,
  distribution,
  estimate,
  example_names,
  from_config,
  loop,
  metadata,
  phases,
  rates,
  recipes,
  run,
  run_folder,
  run_state,
  schedules,
  settling,
  start,
)
from slim_zoo.training.distillation import Distillation
from slim_zoo.training.inputs import Inputs, Split
from slim_zoo.training.length import Length
from slim_zoo.training.mixing import Mixing
from slim_zoo.training.pictures import Pictures
from slim_zoo.training.progress import Stopwatch
from slim_zoo.training.teachers import open_teacher
from slim_zoo.training.trainer import Trainer
from slim_zoo.training.workers import Workers
from slim_zoo.weights import checkpoint_files, kept_heads, opening, sources

# A learning rate of more than this share in the last step is too high; shorter runs are trials.
_HIGH_SHARE, _LEAST_STEPS = 0.5, 100
# Images may be this many times smaller than a network's own size without a warning.
_MOST_REDUCTION = 4
# How long a file may take to be seen by all machines that share a file system.
_SECONDS_TO_APPEAR = 60
# Options that may differ between workers.
_OF_A_WORKER = ('num_preprocessing_threads',)


def train(parsed: Parsed[Train]) -> int:
  """Trains, in phases if there are any; returns an exit code."""
  run_folder.required(parsed.config.saving.train_dir, f'runs/{parsed.config.model.model_name}')
  parsed, workers = distribution.start(parsed)
  with _printing_once(workers), contextlib.ExitStack() as stack:
    main = functools.partial(_train_phases, parsed, workers)
    with workers.telling_failures():
      if workers.is_chief and not parsed.config.session.dry_run:
        folder = stack.enter_context(run_folder.locked(parsed.config.saving.train_dir or ''))
        main = functools.partial(run_state.keep, main, folder, parsed)
    return main()


def _train_phases(parsed: Parsed[Train], workers: Workers) -> int:
  """Trains, in phases if there are any; returns an exit code."""
  try:
    return phases.run(functools.partial(train_once, workers=workers), recipes.apply(
        parsed, measure=functools.partial(_measure_quietly, workers=workers)))
  except tf.errors.OpError as error:
    if lost := workers.explain(error):
      raise lost from error
    raise


@contextlib.contextmanager
def _printing_once(workers: Workers) -> Iterator[None]:
  """Lets only the chief print what happens; all of them say what goes wrong."""
  if workers.is_chief:
    yield
    return
  cluster = workers.cluster
  print(f'This is {cluster.name(cluster.index)} of {workers.count}; {cluster.name(0)} says what '
        'happens.', file=sys.stderr, flush=True)
  with open(os.devnull, 'w', encoding='utf-8') as nowhere, contextlib.redirect_stdout(nowhere):
    yield


def train_once(phase: phases.Phase, *, workers: Workers) -> int:
  """Makes one run: resumes `train_dir`, else starts from `checkpoint_path`, else from scratch."""
  watch, asked = Stopwatch(), phase.parsed.config
  is_dry, train_dir = asked.session.dry_run, pathlib.Path(asked.saving.train_dir or '')
  with contextlib.ExitStack() as stack:
    with workers.telling_failures():
      if workers.is_chief and not is_dry and phase.number:  # Else `train` has locked it.
        stack.enter_context(run_folder.locked(train_dir))
    job, cache, strategy = _open(phase, train_dir, workers)
    _announce(job)
    why = run.why_finished(job.trainer.step, job.validation_state, job.plan.last_step)
    if why:
      print(f'This run is finished: {why}')
      return 0
    phase.check_may_train()
    print(f'--cache_features={cache.place}: {cache.why}.', flush=True)
    if is_dry and cache.place != 'off':
      print('The estimate is without kept features, which make steps much shorter.')
    elif cache.head:
      cache.head.freeze()
      job = _keep_features(job, cache)
    with strategy.scope():
      return _estimate(job) if is_dry else _train(job, watch)


def _measure_quietly(parsed: Parsed[Train], *, workers: Workers) -> tuple[estimate.Estimate, int]:
  """Measures a few steps of a run of which nothing is kept; also counts its validation examples."""
  with contextlib.redirect_stdout(io.StringIO()):  # The run itself will print it.
    job, _, strategy = _open(phases.Phase(parsed.with_given(dry_run=True)),
                             pathlib.Path(parsed.config.saving.train_dir or ''), workers)
    with strategy.scope():
      return _measure(job), job.validation.dataset.num_examples if job.validation else 0


@dataclasses.dataclass(frozen=True)
class _Origin:
  """What a run starts from.

  Attributes:
    path: the run's own checkpoint, or what --checkpoint_path names; None from scratch.
    saved: what is known about it.
    weights: those of a warm start.
    is_resumed: whether it is the run's own checkpoint.
  """
  path: str | None
  saved: dict[str, Any]
  weights: sources.Weights | None
  is_resumed: bool

  def validation_state(self) -> loop.ValidationState:
    """Returns the validations so far."""
    if self.is_resumed and self.saved:
      return loop.ValidationState(**self.saved['standing'])
    return loop.ValidationState()

  @property
  def started_from(self) -> str | None:
    """The path of the weights that the run began with."""
    if self.is_resumed:
      return self.saved.get('started_from')
    return absolute(self.weights.path) if self.weights else None


@dataclasses.dataclass(frozen=True)
class _Job:
  """A run that is ready to train.

  Attributes:
    config: the settled options.
    head: the head of the user's own.
    facts: about the network.
    origin: what it starts from.
    folder: of the run.
    trainer: at the step that the run continues from.
    evaluator: of its network.
    plan: when things happen.
    validation_state: the validations so far.
    training, validation: the splits.
    length: of the run.
    pictures: for TensorBoard; None without validation.
    workers: that make it.
  """
  config: Train
  head: kept_heads.Head
  facts: metadata.ModelFacts
  origin: _Origin
  folder: pathlib.Path
  trainer: Trainer
  evaluator: Evaluator
  plan: loop.Plan
  validation_state: loop.ValidationState
  training: Split
  validation: Split | None
  length: Length
  pictures: Pictures | None
  workers: Workers

  def describe(self, step: int) -> dict[str, Any]:
    """Makes the metadata of a checkpoint."""
    split = self.training.dataset
    both = [inputs for inputs in (self.training, self.validation) if inputs]
    return metadata.describe(
        self.facts, step=step, validation_state=self.validation_state,
        flags={**kept_of(self.config), **self.head.kept}, started_from=self.origin.started_from,
        bad_images={inputs.dataset.split_name: inputs.bad_images for inputs in both},
        dataset={'name': self.config.data.dataset_name, 'split': split.split_name,
                 'num_examples': split.num_examples, 'fingerprint': split.fingerprint,
                 'validation_fingerprint': (self.validation.dataset.fingerprint
                                            if self.validation else None)})


def _open(phase: phases.Phase, folder: pathlib.Path, workers: Workers
          ) -> tuple[_Job, feature_cache.FeatureCache, tf.distribute.Strategy]:
  """Prepares a run, from the command line to the restored trainer."""
  with workers.telling_failures():
    origin = _find_origin(phase.parsed, folder, workers)
    config, head = settling.settle(phase.parsed, origin.saved, source=origin.path or '',
                                   weights=origin.weights, is_resumed=origin.is_resumed,
                                   checked=phase.own if phase.number else None)
    strategy = distribution.strategy_for(config.hardware)
    net = nets_factory.get_net(config.model.model_name, **head.arguments)
    training, validation, facts = data.open_data(
        config, net=net, head=head, saved=origin.saved, weights=origin.weights,
        is_resumed=origin.is_resumed, workers=workers)
    workers.check_same(_common(config, facts, training, validation))
  job, cache = _prepare(config, head, origin, training=training, validation=validation,
                        facts=facts, net=net, folder=folder, strategy=strategy, workers=workers,
                        is_shared=phase.shares('cache_features'))
  return job, cache, strategy


def _common(config: Train, facts: metadata.ModelFacts, *splits: Inputs | None) -> dict[str, Any]:
  """Returns what must be the same for all workers."""
  options = options_of(Train)
  flags = {f'--{name}': value for name, value in kept_of(config).items()
           if options[name].path is None and name not in _OF_A_WORKER}
  of_data = {f'the content of the split {split.dataset.split_name!r}':
             [split.dataset.num_examples, split.dataset.fingerprint, list(split.bad_images)]
             for split in splits if split}
  return {**flags, **of_data, 'the class names': list(facts.class_names),
          **{f'the version of {name}': version for name, version in metadata.versions().items()},
          "the program's source code": metadata.source_digest()}


def _find_origin(parsed: Parsed[Train], folder: pathlib.Path, workers: Workers) -> _Origin:
  """Finds what the run starts from, and reads what is known about it."""
  config = parsed.config.weights
  resumed = _find_resumed(folder, workers)
  if config.checkpoint_exclude_scopes and not (resumed or config.checkpoint_path):
    raise ValueError('--checkpoint_exclude_scopes: expected a --checkpoint_path to exclude them '
                     'from. Received: none, so that everything would be trained from scratch.')
  if resumed:
    return _Origin(resumed, checkpoint_files.read_metadata(resumed, of_run=True), None, True)
  if not config.checkpoint_path:
    return _Origin(None, {}, None, False)
  weights, saved = opening.open_weights(
      config.checkpoint_path, channel_order=config.checkpoint_channel_order,
      model_name=parsed.config.model.model_name if 'model_name' in parsed.given else None)
  return _Origin(config.checkpoint_path, saved, weights, False)


def _find_resumed(folder: pathlib.Path, workers: Workers) -> str | None:
  """Returns the newest checkpoint of the run as the chief sees it; None if there is none.

  Raises:
    ValueError: if another worker does not see it.
  """
  newest = checkpoint_files.latest(folder, missing_ok=True)
  name = workers.gather(os.path.basename(newest or ''))[0]
  if workers.is_chief or not name:
    return newest if name else None
  watch, prefix = Stopwatch(), str(folder / name)
  while not os.path.exists(f'{prefix}.index'):
    if watch.seconds > _SECONDS_TO_APPEAR:
      raise ValueError(f'--train_dir={folder}: expected the checkpoint {name}, which the chief '
                       'sees there. Received: none. Use a directory on a file system that all '
                       'workers share.')
    time.sleep(1)
  return prefix


def _prepare(config: Train, head: kept_heads.Head, origin: _Origin, *, training: Inputs,
             validation: Inputs | None, facts: metadata.ModelFacts, net: Net,
             folder: pathlib.Path, strategy: tf.distribute.Strategy, workers: Workers,
             is_shared: bool) -> tuple[_Job, feature_cache.FeatureCache]:
  """Builds network and trainer, and restores them.

  Args:
    config: the settled options.
    head: the head of the user's own.
    origin: what the run starts from.
    training, validation, facts: from `data.open_data`.
    net: the network's record.
    folder: of the run.
    strategy: of its replicas.
    workers: that make it.
    is_shared: whether --cache_features holds for several phases.

  Returns:
    The run, and what it keeps of the features of its frozen layers.
  """
  length = Length(training.dataset.num_examples, config.optimization.batch_size,
                  config.hardware.num_replicas, config.optimization.gradient_accumulation_steps)
  plan = from_config.make_plan(config, length)
  is_dry, xla = config.session.dry_run, config.hardware.xla == 'on'
  with strategy.scope():
    network, multipliers = _build_network(config, net, facts)
    cache = _plan_cache(config, network, facts, training=training, validation=validation,
                        plan=plan, is_shared=is_shared)
    uses_cache = cache.head is not None and not is_dry  # The head has a network's interface.
    trainer = from_config.make_trainer(
        config, cast(Network, cache.head) if uses_cache else network, length, head=net.head,
        moving_average_decay=config.optimization.moving_average_decay,
        moving_average_interval=config.optimization.moving_average_interval,
        scales_loss=config.hardware.compute_dtype == 'float16', xla=xla,
        multipliers=multipliers, mixing=Mixing(**vars(config.mixing)),
        distillation=_distillation(config.distillation, facts),
        class_weights=from_config.class_weights(config.loss.class_weights, training,
                                                len(facts.class_names)))
    evaluator = Evaluator(trainer.network, xla=xla, has_several_labels=config.data.multi_label)
  if origin.is_resumed and origin.path:
    start.resume(trainer, origin.path)
  elif origin.weights:
    excluded = start.excluded_scopes(config.weights.checkpoint_exclude_scopes, head, origin.saved)
    start.warm_start(trainer, origin.weights, config.weights, model_name=config.model.model_name,
                     net=net, excluded=excluded,
                     folder=folder if workers.is_chief and not is_dry else None)
  settled = replace(config, cache_features=cache.place, labels_offset=facts.labels_offset)
  pictures = Pictures(training, validation, labels.distinct_names(facts.class_names),
                      Mixing(**vars(config.mixing)),
                      config.optimization.seed) if validation else None
  return _Job(settled, head, facts, origin, folder, trainer, evaluator, plan,
              origin.validation_state(), training, validation, length, pictures, workers), cache


def _distillation(config: training_options.Distillation, facts: metadata.ModelFacts
                  ) -> Distillation | None:
  """Opens the teacher, if there is one."""
  if not config.teacher_path:
    return None
  return Distillation(open_teacher(config.teacher_path, facts), config.distillation_weight,
                      config.distillation_temperature)


def _build_network(config: Train, net: Net, facts: metadata.ModelFacts
                   ) -> tuple[Network, dict[str, float]]:
  """Builds the network; returns it with the factors of its learning rates."""
  entries = rates.parse(config.fine_tuning.learning_rate_multipliers)
  network = nets_factory.build(
      net, image_shape=[facts.image_size, facts.image_size, facts.channels],
      num_classes=len(facts.class_names), weight_decay=from_config.loss_decay(config),
      batch_norm_decay=config.optimization.batch_norm_decay,
      sync_batch_norm=config.optimization.sync_batch_norm,
      dropout_rate=config.fine_tuning.dropout_rate,
      drop_path_rate=config.fine_tuning.drop_path_rate,
      trainable_scopes=scopes.split(config.fine_tuning.trainable_scopes),
      is_frozen=rates.freezing(entries), is_training=True,
      dtype=tf.dtypes.as_dtype(config.hardware.compute_dtype), seed=config.optimization.seed)
  return network, rates.multipliers(network.variables, entries,
                                    decay=config.fine_tuning.layer_decay, head=net.head)


def _plan_cache(config: Train, network: Network, facts: metadata.ModelFacts, *, training: Inputs,
                validation: Inputs | None, plan: loop.Plan,
                is_shared: bool) -> feature_cache.FeatureCache:
  """Decides about the features of the frozen layers; a resumed run keeps to it."""
  return feature_cache.plan(
      config.fine_tuning.cache_features, network,
      [facts.image_size, facts.image_size, facts.channels],
      num_views=training.num_views, num_training=training.dataset.num_examples,
      num_validation=validation.dataset.num_examples if validation else 0,
      epochs=None if plan.last_step is None else plan.last_step / plan.steps_per_epoch,
      gives_way=is_shared, needs_images=_why_images_are_needed(config, network))


def _why_images_are_needed(config: Train, network: Network) -> str:
  """Returns why features cannot replace images in each step; '' if they can."""
  if config.hardware.worker_replicas > 1:
    return 'several workers do not share them'
  if network.sync_batch_norm and network.batch_norm_memory():
    return 'replicas exchange statistics only in a whole network; see --sync_batch_norm'
  if Mixing(**vars(config.mixing)).is_on:
    return 'the images of each batch are mixed anew; see --mixup_alpha and --cutmix_alpha'
  if config.distillation.teacher_path:
    return 'the teacher needs the images; see --teacher_path'
  return ''


def _keep_features(job: _Job, cache: feature_cache.FeatureCache) -> _Job:
  """Computes what is missing of the features of both splits, which then replace the images."""
  def fill(split: Split, *, is_training: bool) -> Split:
    try:
      return cache.fill(cast(Inputs, split), is_training=is_training,
                        seed=job.config.optimization.seed,
                        show=functools.partial(progress.show, unit='batch'))
    except tf.errors.OpError as error:
      raise split.explain(error) from error

  return dataclasses.replace(
      job, training=fill(job.training, is_training=True),
      validation=fill(job.validation, is_training=False) if job.validation else None)


def _announce(job: _Job) -> None:
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


def _measure(job: _Job) -> estimate.Estimate:
  """Makes a few steps that are not kept."""
  per_step = job.length.batches_per_step
  batches = job.training.training_batches(
      batch_size=job.length.batch_size // per_step, seed=job.config.optimization.seed,
      start_step=job.trainer.step * per_step)
  try:
    return estimate.measure(job.trainer, iter(batches), job.workers)
  except tf.errors.OpError as error:
    raise job.training.explain(error) from error


def _estimate(job: _Job) -> int:
  """Prints what the run will take."""
  step = job.trainer.step
  found = _measure(job)
  print(found.text(job.length.batch_size, job.length.steps_per_epoch,
                   None if job.plan.last_step is None else job.plan.last_step - step))
  print('A dry run: everything fits, and nothing was written to --train_dir.')
  return 0


def _train(job: _Job, watch: Stopwatch) -> int:
  """Trains, saving on the way; returns an exit code."""
  folder, state = job.folder, job.validation_state
  if job.workers.is_chief and not (
      job.origin.is_resumed and (folder / example_names.FILE).exists()):
    example_names.write(folder, [inputs.dataset for inputs in (job.training, job.validation)
                                 if inputs])
  try:
    ended_by = run.train(
        job.trainer, job.evaluator, job.plan, validation_state=state, training=job.training,
        validation=job.validation, batch_size=job.length.batch_size,
        seed=job.config.optimization.seed, num_replicas=job.length.num_replicas, folder=folder,
        logs=folder, describe=job.describe, max_to_keep=job.config.saving.max_to_keep,
        pictures=job.pictures, hyperparameters=from_config.hyperparameters(job.config),
        workers=job.workers)
  except tf.errors.OpError as error:
    if lost := job.workers.explain(error):
      raise lost from error
    raise next((found for inputs in (job.training, job.validation) if inputs
                and (found := inputs.explain(error)) is not error), error) from error
  if ended_by:
    print(f'{ended_by.name}: saved step {job.trainer.step} and stopped. The same command continues '
          'from there.')
    return 128 + ended_by
  print(f'Finished at step {job.trainer.step}, {watch.seconds:.1f} s after the start. Checkpoints '
        f'are in {folder}' + (f'; the best, of step {state.best_step}, is in {folder / "best"}.'
                              if state.best_step is not None else '.'))
  return 0
