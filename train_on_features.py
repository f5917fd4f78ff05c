"""Trains a classifier on saved features, and puts it on the network that they came from.

    python train_on_features.py --training_file=train.npz --validation_file=validation.npz \
      --train_dir=run

The files are those of extract_features.py, or pickles of a dict with `features` and `labels`.
`run` then holds the whole network, for images; `run/head` what was trained. The same command
again goes on where the run stopped.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import shlex
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import numpy as np
import tensorflow as tf
from absl import flags

import checkpoint_flags
import head_flags
import optimization_flags
import path_flags
import trunks
import warm_start
from datasets import labels
from nets import custom_head, feature_classifier
from nets.network import Network
from slim_zoo.evaluation import report
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.features import formats, linear_classifiers
from slim_zoo.features import inputs as feature_inputs
from slim_zoo.features.features import Features
from slim_zoo.features.inputs import FeatureInputs
from slim_zoo.training import checkpoints, distribution, loop, metadata, run, run_folder
from slim_zoo.training.inputs import Split
from slim_zoo.training.length import Length
from slim_zoo.training.trainer import STEP_NAME
from slim_zoo.weights import checkpoint_files
from slim_zoo.weights.reader import Checkpoint

FLAGS = flags.FLAGS

checkpoint_flags.define_flags()
# A head is a small problem with gradients that are far from 1: Adam with its authors' rate and a
# small epsilon solves it in tens of epochs. TF-Slim's RMSProp and epsilon 1 are for whole networks.
optimization_flags.define_flags(optimizer='adam', learning_rate=0.001, opt_epsilon=1e-8, epochs=30.,
                                log_every_n_steps=None)

path_flags.define_path('training_file', None, 'Features to train on.')
path_flags.define_path('validation_file', None, 'Features to validate on.')
flags.DEFINE_float('validation_fraction', 0.1, 'Share of the training file to validate on where '
                   'there is no --validation_file; 0 for none.', lower_bound=0, upper_bound=0.9)
flags.DEFINE_enum('classifier', 'softmax', ['softmax', *sorted(linear_classifiers.KINDS)],
                  "What is trained: a head, by gradients, or one of scikit-learn's.")
flags.DEFINE_string('head', None, 'The head, such as pool,fc:512,dropout:0.5,fc; or '
                    'my_file.py:function; by default fc, behind pool where features are maps.')
flags.DEFINE_integer('cross_validation_folds', 5, 'Parts of the training rows by which the '
                     'strength is chosen.', lower_bound=2)
flags.DEFINE_string('regularization_strengths', None, "Strengths to choose from, scikit-learn's C, "
                    'separated by commas: the smaller the stronger; one alone is taken as it is.')
path_flags.define_path('train_dir', '/tmp/tfmodel/', 'Where checkpoints and logs go.',
                       is_written=True)
path_flags.define_path('checkpoint_path', None, 'The weights that the features were made with, if '
                       'they are not where they were.')
flags.DEFINE_enum('export', 'last', ['last', 'best', 'none'], 'Which head the whole network gets: '
                  "the last, or the one that was best in validation; 'none' leaves it out.")
_ONLY_LINEAR = ('cross_validation_folds', 'regularization_strengths')
_ONLY_SOFTMAX = tuple(name for name in (*optimization_flags.FIXED, *optimization_flags.FREE)
                      if name not in ('seed', 'class_weights'))
_FIXED = ('classifier', 'head', 'validation_fraction', *_ONLY_LINEAR, *optimization_flags.FIXED)
_FREE = ('training_file', 'validation_file', *optimization_flags.FREE)

# Where, in the run's folder, the checkpoints of the head lie.
_HEAD = 'head'
# Images of so many channels at the most are averaged to nothing.
_FEW_CHANNELS = 4
_EVALUATION_BATCH = 1000


@dataclasses.dataclass(frozen=True)
class _Task:
  """What is to be trained, whichever classifier it is.

  Attributes:
    options: the settled flags.
    features: those to train on.
    train, validation: the splits, as trainers and evaluators take them.
    head: what `custom_head.parse` takes.
    class_names: of the outputs.
    dataset: what metadata say about the data.
    folder: of the run.
  """
  options: Mapping[str, Any]
  features: Features
  train: Split
  validation: Split | None
  head: str
  class_names: Sequence[str]
  dataset: Mapping[str, Any]
  folder: pathlib.Path

  @property
  def head_folder(self) -> pathlib.Path:
    """Where the checkpoints of the head lie."""
    return self.folder / _HEAD

  def build(self) -> Network:
    """Builds the head, for training."""
    return feature_classifier.build(
        self.head, shape=self.features.values.shape[1:], num_classes=len(self.class_names),
        weight_decay=self.options['weight_decay'], is_training=True, seed=self.options['seed'])

  def describe(self, standing: loop.Standing, step: int) -> dict[str, Any]:
    """Makes the metadata of a head's checkpoint."""
    return {'format': metadata.FORMAT, 'class_names': list(self.class_names), 'step': step,
            'features': {'shape': list(self.features.values.shape[1:]), **self.features.facts},
            'dataset': dict(self.dataset), 'flags': dict(self.options),
            'standing': dataclasses.asdict(standing), 'versions': metadata.versions()}


@dataclasses.dataclass(frozen=True)
class _Trained:
  """What came out.

  Attributes:
    values: of the head's variables, by name.
    step: of how many steps of training.
    standing: the validations.
    ended_by: the signal that ended the run before its end.
  """
  values: Mapping[str, np.ndarray]
  step: int = 0
  standing: loop.Standing = dataclasses.field(default_factory=loop.Standing)
  ended_by: signal.Signals | None = None


def main() -> int:
  """Trains: resumes `train_dir/head`, else from scratch; then puts the head on its trunk."""
  distribution.prepare_devices()
  if not FLAGS.training_file:
    raise ValueError('Expected --training_file, a file of features. Received: none.')
  with run_folder.locked(FLAGS.train_dir) as folder:
    resumed = checkpoint_files.latest(folder / _HEAD, missing_ok=True)
    if not resumed and checkpoint_files.latest(folder, missing_ok=True):
      raise ValueError(f'--train_dir={folder}: expected a folder for this run. Received: one with '
                       'the checkpoints of something else. Give another.')
    saved = checkpoint_files.read_metadata(resumed, of_run=True) if resumed else {}
    task = _make_task(_settle(saved, resumed), saved, folder)
    facts = task.features.facts
    trunk = None
    if trunks.knows_trunk(facts) and FLAGS.export != 'none':
      trunk = trunks.open_trunk(facts, task.head, task.class_names)
      trunk.check(task.build().variables)
    if task.options['classifier'] == 'softmax':
      trained = _train_softmax(task, resumed, saved)
    else:
      trained = _fit_linear(task)
    if trained.ended_by:
      print(f'{trained.ended_by.name}: saved step {trained.step} and left. The same command goes '
            'on.')
      return 128 + trained.ended_by
    if trunk:
      # What is held out of a file of its own is not what a share of the images would be.
      kept = {name: value for name, value in task.options.items()
              if name != 'validation_fraction' or not task.options['validation_file']}
      trunk.save(folder, trained.values, step=trained.step, dataset=task.dataset, run_flags=kept,
                 standing=trained.standing)
    _say_what_to_do(task, trunk)
  return 0


def _settle(saved: Mapping[str, Any], source: str | None) -> dict[str, Any]:
  """Settles the flags of the run; those of the other kind of classifier may not be set."""
  options = command_line.settle(
      (*_FIXED, *_FREE), optimization_flags.without_rivals(saved.get('flags', {})),
      source=source or '', may_change=_FREE,
      resolve={'head': custom_head.label, 'training_file': command_line.absolute,
               'validation_file': command_line.absolute})
  options['head_digest'] = head_flags.settle_digest(options['head'], saved.get('flags', {}),
                                                     source=source, is_resumed=bool(source))
  is_softmax = options['classifier'] == 'softmax'
  wrong = [name for name in (_ONLY_LINEAR if is_softmax else _ONLY_SOFTMAX) if FLAGS[name].present]
  if wrong:
    raise ValueError(f'--{wrong[0]}: expected with '
                     f'{"one of scikit-learn" if is_softmax else "softmax"} only. Received: '
                     f'--classifier={options["classifier"]}. Leave it out.')
  return options


def _make_task(options: dict[str, Any], saved: Mapping[str, Any], folder: pathlib.Path) -> _Task:
  """Reads the features, and checks that they are those of the run if it goes on."""
  features, held_out = _read(options)
  class_names = feature_inputs.name_classes(*(found for found in (features, held_out) if found))
  if not options['validation_file'] and options['validation_fraction']:
    features, held_out = feature_inputs.hold_out(features, class_names,
                                                 options['validation_fraction'])
  train = FeatureInputs.from_features(features, 'train', class_names)
  validation = held_out and FeatureInputs.from_features(held_out, 'validation', class_names)
  dataset = {'name': features.facts.get('dataset', 'features'),
             'split': features.facts.get('split', 'train'), 'num_examples': len(features.values),
             'fingerprint': train.dataset.fingerprint, 'features': feature_inputs.digest(features),
             'validation_fingerprint': validation and validation.dataset.fingerprint,
             'validation_features': held_out and feature_inputs.digest(held_out)}
  if saved and saved['dataset'] != dataset:
    raise ValueError(f'The features are not those that the run in {folder} was trained and '
                     'validated on. Expected the same files with the same content. Received '
                     'others: give another --train_dir.')
  options['head'] = options['head'] or _default_head(features.values.shape[1:])
  kind = features.facts
  print(f'{len(features.values)} examples of {len(class_names)} classes, features '
        f'{list(features.values.shape[1:])}'
        + (f' of {kind["model_name"]}, {kind["end_point"]}' if trunks.knows_trunk(kind) else '')
        + '; ' + (f'{len(held_out.values)} to validate on' if held_out else 'no validation')
        + (', held out by a hash of their names.' if held_out and not options['validation_file']
           else '.'))
  if train.dataset.empty_classes:
    print(f'No examples to train on of: {", ".join(train.dataset.empty_classes[:10])}.')
  head = head_flags.head_of({'head': options['head']})['head']
  return _Task(options, features, train, validation, head, class_names, dataset, folder)


def _read(options: Mapping[str, Any]) -> tuple[Features, Features | None]:
  """Reads the one or two files."""
  features = formats.read(options['training_file'])
  if not options['validation_file']:
    return features, None
  validation = formats.read(options['validation_file'])
  feature_inputs.check_together(features, validation)
  return features, validation


def _default_head(shape: Sequence[int]) -> str:
  return 'pool,fc' if len(shape) == 3 and shape[-1] > _FEW_CHANNELS else 'fc'


def _train_softmax(task: _Task, resumed: str | None, saved: Mapping[str, Any]) -> _Trained:
  """Trains a head by gradients, as train_image_classifier.py trains a network."""
  options = task.options
  if not task.validation and (options['early_stopping_patience'] or FLAGS.export == 'best'):
    raise ValueError('Expected a validation for --early_stopping_patience and --export=best to go '
                     'by. Received: none. Set --validation_file or --validation_fraction.')
  length = Length(task.train.dataset.num_examples, options['batch_size'], 1)
  plan = optimization_flags.make_plan(options, length)
  network = task.build()
  trained = optimization_flags.make_trainer(
      options, network, length, class_weights=optimization_flags.class_weights(
          options, task.train, len(task.class_names)))
  evaluator = Evaluator(network)
  standing = loop.Standing()
  if resumed:
    warm_start.resume(trained, resumed)
    standing = loop.Standing(**saved['standing'])
    print(f'Resumed {resumed} at step {trained.step}.')
  size = sum(math.prod(network.variables[name].shape) for name in network.trainable)
  print(f'Training the head {options["head"]}: {size:,} numbers in {len(network.trainable)} '
        f'variables; {length.steps_per_epoch:.2f} steps an epoch, '
        + ('without an end.' if plan.last_step is None else f'{plan.last_step} steps.'), flush=True)
  ended_by, why = None, run.why_finished(trained.step, standing, plan.last_step)
  if why:
    print(f'This run is finished: {why}')
  else:
    ended_by = run.train(
        trained, evaluator, plan, standing, training=task.train,
        validation=task.validation, batch_size=length.batch_size, seed=options['seed'],
        num_replicas=1, folder=task.head_folder, logs=task.folder, keeps_lines=True,
        describe=functools.partial(task.describe, standing), max_to_keep=options['max_to_keep'])
  step = trained.step
  if FLAGS.export == 'best' and not ended_by:
    best, step = Checkpoint(checkpoint_files.latest(task.head_folder / 'best')), standing.best_step
    for name, variable in network.variables.items():
      variable.assign(best.read(name))
  if task.validation and not ended_by:
    _measure(task, evaluator, task.validation)
  return _Trained({name: v.numpy() for name, v in network.variables.items()}, step, standing,
                  ended_by)


def _fit_linear(task: _Task) -> _Trained:
  """Fits one of scikit-learn's classifiers, which is a head of one layer."""
  options, outputs = task.options, np.asarray(task.train.label_map)
  missing = task.train.dataset.empty_classes
  if missing:
    raise ValueError(f'--classifier={options["classifier"]}: expected rows of every class to train '
                     f'on. Received none of: {", ".join(missing[:10])}. Use --classifier=softmax, '
                     'or other data.')
  fitted = linear_classifiers.fit(
      _rows(task), outputs[task.train.dataset.labels], kind=options['classifier'],
      strengths=_strengths(options['regularization_strengths']), seed=options['seed'],
      folds=options['cross_validation_folds'], is_balanced=options['class_weights'] == 'balanced',
      show=functools.partial(command_line.show_progress, unit='fold'))
  if fitted.scores:
    print(linear_classifiers.table(fitted.scores,
                                   is_balanced=options['class_weights'] == 'balanced'))
  print(f'C = {fitted.strength:g} on all {len(task.features.values)} training rows'
        + ('.' if fitted.converged else '; the fit stopped before it had converged: a smaller C '
           'needs fewer iterations.'))
  network = task.build()
  values = dict(zip(network.variables, (fitted.weights, fitted.biases), strict=True))
  for name, variable in network.variables.items():
    variable.assign(values[name])
  evaluator = Evaluator(network)
  for split in (task.train, task.validation):
    if split:
      _measure(task, evaluator, split)
  if options['classifier'] == 'linear_svm':
    print('A margin is no probability: the loss only tells whether all goes well.')
  trained = _Trained({name: v.numpy() for name, v in network.variables.items()})
  checkpoints.save(task.head_folder, 0, {
      **{name: tf.constant(value) for name, value in trained.values.items()},
      STEP_NAME: tf.constant(0, tf.int64)}, task.describe(trained.standing, 0), max_to_keep=1)
  return trained


def _measure(task: _Task, evaluator: Evaluator, split: Split) -> None:
  """Prints how good the head is on a split, and in validation each class's recall."""
  found = evaluator.measure(split.evaluation_batches(batch_size=_EVALUATION_BATCH))
  print(f'{split.dataset.split_name}: accuracy {found.top_1:.4f}, mean recall '
        f'{found.mean_recall:.4f}, loss {found.loss:.4f} on {found.count} examples')
  if split is task.validation:
    print(report.class_table(found, labels.distinct_names(task.class_names)))


def _rows(task: _Task) -> np.ndarray:
  """Returns what the last layer of a linear head takes, float32 [n, features]."""
  values, elements = task.features.values, task.head.replace(' ', '').split(',')
  if elements not in (['fc'], ['flatten', 'fc'], ['pool', 'fc']) or (
      elements[0] == 'pool' and values.ndim != 4):
    raise ValueError(f'--head: expected fc, or pool,fc for maps, with --classifier='
                     f'{task.options["classifier"]}, which has no other layers. Received: '
                     f'{task.head} for features {list(values.shape[1:])}.')
  return values.mean((1, 2)) if elements[0] == 'pool' else values.reshape(len(values), -1)


def _strengths(text: str | None) -> list[float]:
  try:
    return [float(number) for number in (text or '').split(',') if number.strip()]
  except ValueError as error:
    raise ValueError('--regularization_strengths: expected numbers separated by commas. Received: '
                     f'{text!r}.') from error


def _say_what_to_do(task: _Task, trunk: trunks.Trunk | None) -> None:
  """Prints where the classifier is and how it is used."""
  if trunk is None:
    print(f'The classifier is in {task.head_folder}. It takes features, not images'
          + ('.' if trunks.knows_trunk(task.features.facts) else
             ': the files do not tell what network they came from.'))
    return
  folder = shlex.quote(str(task.folder))
  print(f'The whole network is in {task.folder}. To evaluate it on images:\n'
        f'  python eval_image_classifier.py --checkpoint_path={folder} --eval_dir={folder}/eval '
        f'--dataset_name={shlex.quote(task.dataset["name"])} --dataset_dir=… '
        '--dataset_split_name=validation')


if __name__ == '__main__':
  command_line.run(main)
