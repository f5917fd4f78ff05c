"""Training a classifier on saved features, from the command line to the whole network."""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import labels
from files import progress
from nets import custom_head, feature_classifier
from nets.network import Network
from slim_zoo.config import settle as config_settle
from slim_zoo.config.flag_values import Parsed, kept_of, options_of
from slim_zoo.config.option import Rule, options_of_topic
from slim_zoo.config.programs import TrainOnFeatures
from slim_zoo.config.training import (
  ONE_LABEL_METRICS,
  Duration,
  Loss,
  Optimization,
  OptimizerSettings,
  Saving,
)
from slim_zoo.evaluation import report
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.features import formats, linear_classifiers, trunks
from slim_zoo.features import inputs as feature_inputs
from slim_zoo.features.features import Features
from slim_zoo.features.inputs import FeatureInputs
from slim_zoo.training import (
  checkpoints,
  distribution,
  from_config,
  loop,
  metadata,
  run,
  run_folder,
  start,
)
from slim_zoo.training.inputs import Split
from slim_zoo.training.length import Length
from slim_zoo.training.trainer import STEP_NAME
from slim_zoo.weights import checkpoint_files, kept_heads
from slim_zoo.weights.reader import Checkpoint

_ONLY_LINEAR = ('cross_validation_folds', 'regularization_strengths')
_ONLY_SOFTMAX = tuple(
    name for topic in (Optimization, OptimizerSettings, Loss, Duration, Saving)
    for name, option in options_of_topic(topic).items()
    if option.is_kept and name not in ('seed', 'class_weights'))
# Where, in the directory of the run, the checkpoints of the head are.
_HEAD = 'head'
_EVALUATION_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class _Task:
  """What to train, for any kind of classifier.

  Attributes:
    config: the settled options.
    features: those to train on.
    train, validation: the splits, as trainers and evaluators take them.
    head: the head.
    class_names: of the outputs.
    dataset: what metadata say about the data.
    folder: of the run.
  """
  config: TrainOnFeatures
  features: Features
  train: Split
  validation: Split | None
  head: kept_heads.Head
  class_names: Sequence[str]
  dataset: Mapping[str, Any]
  folder: pathlib.Path

  @property
  def head_text(self) -> str:
    """The head, as `custom_head.parse` takes it."""
    return self.head.text or linear_classifiers.default_head(self.features.values.shape[1:])

  @property
  def head_folder(self) -> pathlib.Path:
    """Where the checkpoints of the head are."""
    return self.folder / _HEAD

  @property
  def kept(self) -> dict[str, Any]:
    """The options that checkpoints record."""
    return {**kept_of(self.config), 'head': custom_head.label(self.head_text),
            'head_digest': self.head.digest}

  def build(self) -> Network:
    """Builds the head, for training."""
    return feature_classifier.build(
        self.head_text, shape=self.features.values.shape[1:], num_classes=len(self.class_names),
        weight_decay=from_config.loss_decay(self.config), is_training=True,
        seed=self.config.optimization.seed)

  def describe(self, state: loop.ValidationState, step: int) -> dict[str, Any]:
    """Makes the metadata of a head's checkpoint."""
    return {'format': metadata.FORMAT, 'class_names': list(self.class_names), 'step': step,
            'features': {'shape': list(self.features.values.shape[1:]), **self.features.facts},
            'dataset': dict(self.dataset), 'flags': self.kept,
            'standing': dataclasses.asdict(state), 'versions': metadata.versions()}


@dataclasses.dataclass(frozen=True)
class _Trained:
  """A trained head.

  Attributes:
    values: of its variables, by name.
    step: number of steps that it was trained for.
    validation_state: the validations.
    ended_by: the signal that ended the run early.
  """
  values: Mapping[str, np.ndarray]
  step: int = 0
  validation_state: loop.ValidationState = dataclasses.field(default_factory=loop.ValidationState)
  ended_by: signal.Signals | None = None


def train(parsed: Parsed[TrainOnFeatures]) -> int:
  """Trains: resumes `train_dir/head`, else from scratch; then puts the head on its network."""
  distribution.prepare_devices()
  train_dir = run_folder.required(parsed.config.saving.train_dir, 'runs/head')
  with run_folder.locked(train_dir) as folder:
    resumed = checkpoint_files.latest(folder / _HEAD, missing_ok=True)
    if not resumed and checkpoint_files.latest(folder, missing_ok=True):
      raise ValueError(f'--train_dir={folder}: expected a directory for this run. Received: one '
                       'with the checkpoints of something else. Name another.')
    saved = checkpoint_files.read_metadata(resumed, of_run=True) if resumed else {}
    config, head = _settle(parsed, saved, resumed)
    task = _make_task(config, head, saved=saved, folder=folder)
    trunk = None
    if trunks.knows_trunk(task.features.facts) and config.classifier.export != 'none':
      trunk = trunks.open_trunk(task.features.facts, task.head_text, task.class_names,
                                config=config.weights)
      trunk.check(task.build().variables)
    if config.classifier.classifier == 'softmax':
      trained = _train_softmax(task, resumed, saved)
    else:
      trained = _fit_linear(task)
    if trained.ended_by:
      print(f'{trained.ended_by.name}: saved step {trained.step} and stopped. The same command '
            'continues from there.')
      return 128 + trained.ended_by
    if trunk:
      # The share held out of a file is not the share that would be held out of the images.
      kept = {name: value for name, value in task.kept.items()
              if name != 'validation_fraction' or not config.data.validation_file}
      trunk.save(folder, trained.values, step=trained.step, dataset=task.dataset, run_flags=kept,
                 validation_state=trained.validation_state)
    _suggest_next_step(task, trunk)
  return 0


def _settle(parsed: Parsed[TrainOnFeatures], saved: Mapping[str, Any],
            source: str | None) -> tuple[TrainOnFeatures, kept_heads.Head]:
  """Settles the options of the run; those of the other kind of classifier must not be given."""
  known = saved.get('flags', {})
  options = options_of(TrainOnFeatures)
  if known:  # An option that did not exist when the run began has its default.
    known = {name: option.default for name, option in options.items()
             if option.is_kept and not option.open_value} | known
  config = config_settle.settle(
      parsed, known, source=source or '', resolve={'head': custom_head.label},
      names=[name for name, option in options.items() if option.is_kept],
      may_change=[name for name, option in options.items() if option.rule is Rule.FREE])
  head = kept_heads.settle_alone(config.classifier.head, given=parsed.config.classifier.head,
                                 known=known, source=source or '', is_resumed=bool(source))
  is_softmax = config.classifier.classifier == 'softmax'
  wrong = [name for name in (_ONLY_LINEAR if is_softmax else _ONLY_SOFTMAX) if name in parsed.given]
  if wrong:
    raise ValueError(f'--{wrong[0]}: expected with '
                     f'{"a classifier of scikit-learn" if is_softmax else "softmax"} only. '
                     f'Received: --classifier={config.classifier.classifier}. Leave it out.')
  metric = config.duration.best_metric
  if metric not in ONE_LABEL_METRICS:
    raise ValueError(f'--best_metric={metric}: expected {", ".join(ONE_LABEL_METRICS)}. Received: '
                     'a metric of images with several labels, which files of features do not have.')
  return config, head


def _make_task(config: TrainOnFeatures, head: kept_heads.Head, *, saved: Mapping[str, Any],
               folder: pathlib.Path) -> _Task:
  """Reads the features, and checks that they are those of a resumed run."""
  data = config.data
  features, held_out = _read(data.training_file, data.validation_file)
  class_names = feature_inputs.name_classes(*(found for found in (features, held_out) if found))
  if not data.validation_file and data.validation_fraction:
    features, held_out = feature_inputs.hold_out(features, class_names, data.validation_fraction)
  train = FeatureInputs.from_features(features, 'train', class_names)
  validation = (FeatureInputs.from_features(held_out, 'validation', class_names) if held_out
                else None)
  dataset = {'name': features.facts.get('dataset', 'features'),
             'split': features.facts.get('split', 'train'), 'num_examples': len(features.values),
             'fingerprint': train.dataset.fingerprint, 'features': feature_inputs.digest(features),
             'validation_fingerprint': validation and validation.dataset.fingerprint,
             'validation_features': held_out and feature_inputs.digest(held_out)}
  if saved and saved['dataset'] != dataset:
    raise ValueError(f'The features are not those that the run in {folder} was trained and '
                     'validated on. Expected: the same files with the same content. Received: '
                     'others. Name another --train_dir.')
  kind, is_held_out = features.facts, held_out and not data.validation_file
  print(f'{len(features.values)} examples of {len(class_names)} classes, features '
        f'{list(features.values.shape[1:])}'
        + (f' of {kind["model_name"]}, {kind["end_point"]}' if trunks.knows_trunk(kind) else '')
        + '; ' + (f'{len(held_out.values)} to validate on' if held_out else 'no validation')
        + (', held out by a hash of their names.' if is_held_out else '.'))
  if train.dataset.empty_classes:
    print(f'No training examples of: {", ".join(train.dataset.empty_classes[:10])}.')
  return _Task(config, features, train, validation, head, class_names, dataset, folder)


def _read(training_file: str | None, validation_file: str | None
          ) -> tuple[Features, Features | None]:
  """Reads the one or two files."""
  if not training_file:
    raise ValueError('Expected: --training_file, a file of features. Received: none.')
  features = formats.read(training_file)
  if not validation_file:
    return features, None
  validation = formats.read(validation_file)
  feature_inputs.check_together(features, validation)
  return features, validation


def _train_softmax(task: _Task, resumed: str | None, saved: Mapping[str, Any]) -> _Trained:
  """Trains a head by gradients, as train_image_classifier.py trains a network."""
  config, export = task.config, task.config.classifier.export
  length = Length(task.train.dataset.num_examples, config.optimization.batch_size, 1)
  plan = from_config.make_plan(config, length)
  if not (task.validation and plan.validate_every) and (
      config.duration.early_stopping_patience or export == 'best' or plan.plateau_patience):
    raise ValueError('Expected: a validation, for --early_stopping_patience, --export=best and '
                     '--learning_rate_decay_type=plateau. Received: none. Set --validation_file or '
                     '--validation_fraction, and --validation_interval_epochs.')
  network = task.build()
  classifier = network.trainable[-1].rpartition('/')[0]  # The last layer.
  trainer = from_config.make_trainer(
      config, network, length, head=[classifier], class_weights=from_config.class_weights(
          config.loss.class_weights, task.train, len(task.class_names)))
  evaluator = Evaluator(network)
  state = loop.ValidationState()
  if resumed:
    start.resume(trainer, resumed)
    state = loop.ValidationState(**saved['standing'])
    print(f'Resumed {resumed} at step {trainer.step}.')
  size = sum(math.prod(network.variables[name].shape) for name in network.trainable)
  print(f'Training the head {task.kept["head"]}: {size:,} numbers in {len(network.trainable)} '
        f'variables; {length.steps_per_epoch:.2f} steps per epoch, '
        + ('without an end.' if plan.last_step is None else f'{plan.last_step} steps.'), flush=True)
  ended_by, why = None, run.why_finished(trainer.step, state, plan.last_step)
  if why:
    print(f'This run is finished: {why}')
  else:
    ended_by = run.train(
        trainer, evaluator, plan, validation_state=state, training=task.train,
        validation=task.validation, batch_size=length.batch_size, seed=config.optimization.seed,
        num_replicas=1, folder=task.head_folder, logs=task.folder, keeps_lines=True,
        describe=functools.partial(task.describe, state), max_to_keep=config.saving.max_to_keep)
  step = trainer.step
  if export == 'best' and not ended_by:
    step = state.best_step or 0
    best = Checkpoint(checkpoint_files.latest(task.head_folder / 'best'))
    for name, variable in network.variables.items():
      variable.assign(best.read(name))
  if task.validation and not ended_by:
    _measure(task, evaluator, task.validation)
  return _Trained({name: v.numpy() for name, v in network.variables.items()}, step, state, ended_by)


def _fit_linear(task: _Task) -> _Trained:
  """Fits one of scikit-learn's classifiers, which is a head of one layer."""
  config, outputs = task.config, np.asarray(task.train.label_map)
  kind, is_balanced = config.classifier.classifier, config.loss.class_weights == 'balanced'
  missing = task.train.dataset.empty_classes
  if missing:
    raise ValueError(f'--classifier={kind}: expected rows of every class to train on. Received: '
                     f'none of {", ".join(missing[:10])}. Use --classifier=softmax, or other data.')
  fitted = linear_classifiers.fit(
      _rows(task), outputs[task.train.dataset.labels], kind=kind,
      strengths=linear_classifiers.parse_strengths(config.classifier.regularization_strengths),
      seed=config.optimization.seed, folds=config.classifier.cross_validation_folds,
      is_balanced=is_balanced, show=functools.partial(progress.show, unit='fold'))
  if fitted.scores:
    print(linear_classifiers.table(fitted.scores, is_balanced=is_balanced))
  print(f'C = {fitted.strength:g} on all {len(task.features.values)} training rows'
        + ('.' if fitted.converged else '; the fit stopped before it converged: a smaller C needs '
           'fewer iterations.'))
  network = task.build()
  values = dict(zip(network.variables, (fitted.weights, fitted.biases), strict=True))
  for name, variable in network.variables.items():
    variable.assign(values[name])
  evaluator = Evaluator(network)
  for split in (task.train, task.validation):
    if split:
      _measure(task, evaluator, split)
  if kind == 'linear_svm':
    print('Margins are not probabilities: the loss only shows whether the fit is sound.')
  trained = _Trained({name: v.numpy() for name, v in network.variables.items()})
  checkpoints.save(task.head_folder, 0, {
      **{name: tf.constant(value) for name, value in trained.values.items()},
      STEP_NAME: tf.constant(0, tf.int64)},
      metadata=task.describe(trained.validation_state, 0), max_to_keep=1)
  return trained


def _measure(task: _Task, evaluator: Evaluator, split: Split) -> None:
  """Prints how good the head is on a split, and in validation the recall of each class."""
  found = evaluator.measure(split.evaluation_batches(batch_size=_EVALUATION_BATCH))
  print(f'{split.dataset.split_name}: {found.text()}')
  if split is task.validation:
    print(report.class_table(found, labels.distinct_names(task.class_names)))


def _rows(task: _Task) -> np.ndarray:
  """Returns the input of the last layer of a linear head, float32 [n, features]."""
  values, elements = task.features.values, task.head_text.replace(' ', '').split(',')
  if elements not in (['fc'], ['flatten', 'fc'], ['pool', 'fc']) or (
      elements[0] == 'pool' and values.ndim != 4):
    raise ValueError(f'--head: expected fc, or pool,fc for maps, with --classifier='
                     f'{task.config.classifier.classifier}, which has no other layers. Received: '
                     f'{task.head_text} for features {list(values.shape[1:])}.')
  return linear_classifiers.rows_of(values, task.head_text)


def _suggest_next_step(task: _Task, trunk: trunks.Trunk | None) -> None:
  """Prints where the classifier is and how to use it."""
  if trunk is None:
    print(f'The classifier is in {task.head_folder}. It takes features, not images'
          + ('.' if trunks.knows_trunk(task.features.facts) else
             ': the files do not tell which network they came from.'))
    return
  folder = shlex.quote(str(task.folder))
  print(f'The whole network is in {task.folder}. To evaluate it on images:\n'
        f'  python eval_image_classifier.py --checkpoint_path={folder} --eval_dir={folder}/eval '
        f'--dataset_name={shlex.quote(task.dataset["name"])} --dataset_dir=… '
        '--dataset_split_name=validation')
