"""Preparing a training run, from the command line to the restored trainer."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any, cast

import tensorflow as tf

from datasets import labels
from nets import nets_factory, scopes
from nets.network import Network
from nets.record import Net
from slim_zoo.config import training as training_options
from slim_zoo.config.flag_values import Parsed, kept_of, options_of, replace
from slim_zoo.config.programs import Train
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.features import cache as feature_cache
from slim_zoo.training import (
  data,
  distribution,
  from_config,
  loop,
  metadata,
  phases,
  rates,
  settling,
  start,
)
from slim_zoo.training.distillation import Distillation
from slim_zoo.training.inputs import Inputs
from slim_zoo.training.job import Job, Origin
from slim_zoo.training.length import Length
from slim_zoo.training.mixing import Mixing
from slim_zoo.training.pictures import Pictures
from slim_zoo.training.progress import Stopwatch
from slim_zoo.training.teachers import open_teacher
from slim_zoo.training.workers import Workers
from slim_zoo.weights import checkpoint_files, kept_heads, opening

# How long a file may take to be seen by all machines that share a file system.
_SECONDS_TO_APPEAR = 60
# Options that may differ between workers.
_OF_A_WORKER = ('num_preprocessing_threads',)


def open_job(phase: phases.Phase, folder: pathlib.Path, workers: Workers
             ) -> tuple[Job, feature_cache.FeatureCache, tf.distribute.Strategy]:
  """Prepares a run, from the command line to the restored trainer.

  Args:
    phase: what to train.
    folder: of the run.
    workers: that make it.

  Returns:
    The run, what it keeps of the features of its frozen layers, and the strategy of its replicas.

  Raises:
    ValueError: for a user's mistake, on all workers.
  """
  with workers.telling_failures():
    origin = _find_origin(phase.parsed, folder, workers)
    config, head = settling.settle(phase.parsed, origin.saved, source=origin.path or '',
                                   weights=origin.weights, is_resumed=origin.is_resumed,
                                   checked=phase.own if phase.number else None)
    # First the flags: with others, a worker would do other things from here on.
    workers.check_same(_flags_and_versions(config))
    strategy = distribution.strategy_for(config.hardware)
    net = nets_factory.get_net(config.model.model_name, **head.arguments)
    training, validation, facts = data.open_data(
        config, net=net, head=head, saved=origin.saved, weights=origin.weights,
        is_resumed=origin.is_resumed, workers=workers)
    workers.check_same(_of_data(facts, training, validation))
  job, cache = _prepare(config, head, origin, training=training, validation=validation,
                        facts=facts, net=net, folder=folder, strategy=strategy, workers=workers,
                        is_shared=phase.shares('cache_features'))
  return job, cache, strategy


def _flags_and_versions(config: Train) -> dict[str, Any]:
  """Returns what must be the same for all workers before they open the data."""
  options = options_of(Train)
  flags = {f'--{name}': value for name, value in kept_of(config).items()
           if options[name].path is None and name not in _OF_A_WORKER}
  return {**flags,
          **{f'the version of {name}': version for name, version in metadata.versions().items()},
          "the program's source code": metadata.source_digest()}


def _of_data(facts: metadata.ModelFacts, *splits: Inputs | None) -> dict[str, Any]:
  """Returns what must be the same for all workers once the data are open."""
  of_splits = {f'the content of the split {split.dataset.split_name!r}':
               [split.dataset.num_examples, split.dataset.fingerprint, list(split.bad_images)]
               for split in splits if split}
  return {**of_splits, 'the class names': list(facts.class_names)}


def _find_origin(parsed: Parsed[Train], folder: pathlib.Path, workers: Workers) -> Origin:
  """Finds what the run starts from, and reads what is known about it."""
  config = parsed.config.weights
  resumed = _find_resumed(folder, workers)
  if config.checkpoint_exclude_scopes and not (resumed or config.checkpoint_path):
    raise ValueError('--checkpoint_exclude_scopes: expected a --checkpoint_path to exclude them '
                     'from. Received: none, so that everything would be trained from scratch.')
  if resumed:
    return Origin(resumed, checkpoint_files.read_metadata(resumed, of_run=True), None, True)
  if not config.checkpoint_path:
    return Origin(None, {}, None, False)
  weights, saved = opening.open_weights(
      config.checkpoint_path, channel_order=config.checkpoint_channel_order,
      model_name=parsed.config.model.model_name if 'model_name' in parsed.given else None)
  return Origin(config.checkpoint_path, saved, weights, False)


def _find_resumed(folder: pathlib.Path, workers: Workers) -> str | None:
  """Returns the newest checkpoint of the run as the chief sees it; None if there is none.

  Raises:
    ValueError: if another worker does not see it.
  """
  newest = checkpoint_files.latest(folder, missing_ok=True)
  name = workers.gather(os.path.basename(newest or ''), 'the newest checkpoint')[0]
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


def _prepare(config: Train, head: kept_heads.Head, origin: Origin, *, training: Inputs,
             validation: Inputs | None, facts: metadata.ModelFacts, net: Net,
             folder: pathlib.Path, strategy: tf.distribute.Strategy, workers: Workers,
             is_shared: bool) -> tuple[Job, feature_cache.FeatureCache]:
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
  return Job(settled, head, facts, origin, folder, trainer, evaluator, plan,
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
