"""Training a classifier, from the command line to the last checkpoint."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import cast

import tensorflow as tf

from files import progress
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.programs import Train
from slim_zoo.features import cache as feature_cache
from slim_zoo.training import (
  announcement,
  distribution,
  estimate,
  example_names,
  from_config,
  phases,
  preparing,
  recipes,
  run,
  run_folder,
  run_state,
)
from slim_zoo.training.inputs import Inputs, Split
from slim_zoo.training.job import Job
from slim_zoo.training.progress import Stopwatch
from slim_zoo.training.workers import Workers


def train(parsed: Parsed[Train]) -> int:
  """Trains, in phases if there are any; returns an exit code."""
  run_folder.required(parsed.config.saving.train_dir, f'runs/{parsed.config.model.model_name}')
  parsed, workers = distribution.start(parsed)
  with _printing_once(workers), _naming_lost(workers), contextlib.ExitStack() as stack:
    main = functools.partial(_train_phases, parsed, workers)
    with workers.telling_failures():
      if workers.is_chief and not parsed.config.session.dry_run:
        folder = stack.enter_context(run_folder.locked(parsed.config.saving.train_dir or ''))
        main = functools.partial(run_state.keep, main, folder, parsed)
    return main()


def _train_phases(parsed: Parsed[Train], workers: Workers) -> int:
  """Trains, in phases if there are any; returns an exit code."""
  with _naming_lost(workers):  # So that the state of the run says it, too.
    return phases.run(functools.partial(train_once, workers=workers), recipes.apply(
        parsed, measure=functools.partial(_measure_quietly, workers=workers)))


@contextlib.contextmanager
def _naming_lost(workers: Workers) -> Iterator[None]:
  """Names a worker that was lost, which TensorFlow's own errors do not."""
  try:
    yield
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
    job, cache, strategy = preparing.open_job(phase, train_dir, workers)
    announcement.announce(job)
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
    job, _, strategy = preparing.open_job(
        phases.Phase(parsed.with_given(dry_run=True)),
        pathlib.Path(parsed.config.saving.train_dir or ''), workers)
    with strategy.scope():
      return _measure(job), job.validation.dataset.num_examples if job.validation else 0


def _keep_features(job: Job, cache: feature_cache.FeatureCache) -> Job:
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


def _measure(job: Job) -> estimate.Estimate:
  """Makes a few steps that are not kept."""
  per_step = job.length.batches_per_step
  batches = job.training.training_batches(
      batch_size=job.length.batch_size // per_step, seed=job.config.optimization.seed,
      start_step=job.trainer.step * per_step)
  try:
    return estimate.measure(job.trainer, iter(batches), job.workers)
  except tf.errors.OpError as error:
    raise job.training.explain(error) from error


def _estimate(job: Job) -> int:
  """Prints what the run will take."""
  step = job.trainer.step
  found = _measure(job)
  print(found.text(job.length.batch_size, job.length.steps_per_epoch,
                   None if job.plan.last_step is None else job.plan.last_step - step))
  print('A dry run: everything fits, and nothing was written to --train_dir.')
  return 0


def _train(job: Job, watch: Stopwatch) -> int:
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
