"""The options of every program, their help, and names that must match tables in the code."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

from datasets import input_pipeline
from preprocessing import augmentation
from slim_zoo.config import data, flag_values, training
from slim_zoo.config.option import Path, Rule
from slim_zoo.features import cache, linear_classifiers
from slim_zoo.training import loop, losses, optimizers, recipes, schedules

_ROOT = pathlib.Path(__file__).parents[3]
_PROGRAMS = sorted(path.stem for path in _ROOT.glob('*.py'))
_NAME = re.compile(r'(^|_)(dir|path|file)$')


def _options(program):
  return flag_values.options_of(importlib.import_module(program).OPTIONS)


def test_all_programs_are_listed():
  assert len(_PROGRAMS) == 11


@pytest.mark.parametrize(('names', 'table'), [
  (training.OPTIMIZERS, optimizers.OPTIMIZERS), (training.DECAYS, schedules.DECAYS),
  (training.METRICS, loop.BEST_METRICS), (training.CACHE_MODES, cache.MODES),
  (training.CLASSIFIERS[1:], linear_classifiers.KINDS), (data.SAMPLING, input_pipeline.SAMPLING),
  (data.POLICIES, augmentation.POLICIES), (training.LOSSES, losses.KINDS),
  (training.RECIPES, recipes.RECIPES)])
def test_names_equal_those_of_the_tables(names, table):
  assert sorted(names) == sorted(table)


@pytest.mark.parametrize('program', _PROGRAMS)
def test_options_are_valid(program):
  config = importlib.import_module(program).OPTIONS()
  fields = [name for topic in dataclasses.fields(config)
            for name in vars(getattr(config, topic.name))]
  assert len(fields) == len(set(fields))
  for option in _options(program).values():
    assert option.help[0].isupper() and option.help.endswith('.'), option.name
    assert bool(option.path) == bool(_NAME.search(option.name) or option.name in (
      'source', 'reestimate_from', 'report', 'compare_with', 'picture')), option.name
    assert option.default is not None or option.is_optional, option.name
    if option.choices:
      assert option.default is None or option.default in option.choices, option.name


def test_output_paths_are_marked_as_written():
  written = {name for program in _PROGRAMS for name, option in _options(program).items()
             if option.path is Path.WRITTEN}
  assert written == {'train_dir', 'eval_dir', 'output_path', 'output_dir', 'dataset_dir', 'report',
                     'picture'}
  assert _options('train_image_classifier')['dataset_dir'].path is Path.READ


# Everything a run depends on; without one of these a checkpoint cannot be resumed exactly.
def test_resume_rules_of_training_options():
  by_rule = {rule: {name for name, option in _options('train_image_classifier').items()
                    if option.rule is rule} for rule in Rule}
  assert by_rule[Rule.INHERITED] == {'model_name', 'preprocessing_name', 'train_image_size',
                                     'use_grayscale', 'head', 'head_from', 'resize_mode',
                                     'crop_fraction', 'interpolation'}
  assert {'batch_size', 'seed', 'optimizer', 'opt_epsilon', 'weight_decay', 'xla', 'dataset_name',
          'trainable_scopes', 'moving_average_decay'} <= by_rule[Rule.FIXED]
  assert {'learning_rate', 'epochs', 'dataset_dir', 'max_to_keep'} <= by_rule[Rule.FREE]
  assert by_rule[Rule.COMMAND] == {
    'train_dir', 'checkpoint_path', 'checkpoint_exclude_scopes', 'ignore_missing_vars',
    'use_moving_averages', 'checkpoint_channel_order', 'convert_input_channels',
    'labels_are_indices', 'num_preprocessing_threads', 'phases', 'recipe', 'recipe_minutes',
    'dry_run', 'strategy', 'task', 'sync_replicas', 'replicas_to_aggregate'}


# TF-Slim's flags and defaults: reference/tf_slim.md of the design, checked by eye once.
_TF_SLIM = {
  'num_clones': 1, 'clone_on_cpu': False,
  # TF-Slim's 4 keep few CPUs busy; the result is the same.
  'num_preprocessing_threads': None, 'log_every_n_steps': 10, 'save_summaries_secs': 600,
  'save_interval_secs': 600, 'weight_decay': 0.00004, 'optimizer': 'rmsprop', 'adadelta_rho': 0.95,
  'adagrad_initial_accumulator_value': 0.1, 'adam_beta1': 0.9, 'adam_beta2': 0.999,
  # None leaves it to the optimizer: 1.0 for those of TF-Slim (`test_optimizers`).
  'opt_epsilon': None, 'ftrl_learning_rate_power': -0.5, 'ftrl_initial_accumulator_value': 0.1,
  'ftrl_l1': 0.0, 'ftrl_l2': 0.0, 'momentum': 0.9, 'rmsprop_momentum': 0.9, 'rmsprop_decay': 0.9,
  'learning_rate_decay_type': 'exponential', 'learning_rate': 0.01, 'end_learning_rate': 0.0001,
  'label_smoothing': 0.0, 'learning_rate_decay_factor': 0.94, 'num_epochs_per_decay': 2.0,
  'moving_average_decay': None, 'dataset_name': 'imagenet', 'dataset_split_name': 'train',
  'dataset_dir': None, 'model_name': 'inception_v3', 'preprocessing_name': None, 'batch_size': 32,
  'train_image_size': None, 'max_number_of_steps': None, 'checkpoint_path': None,
  'checkpoint_exclude_scopes': None, 'trainable_scopes': None, 'ignore_missing_vars': False}


# TF-Slim's are in /tmp and belong to whoever came before, and its test split is not everywhere.
@pytest.mark.parametrize(('program', 'name'), [
  ('train_image_classifier', 'train_dir'), ('eval_image_classifier', 'eval_dir'),
  ('eval_image_classifier', 'checkpoint_path'), ('eval_image_classifier', 'dataset_split_name')])
def test_options_without_tf_slims_default(program, name):
  assert _options(program)[name].default is None


def test_defaults_equal_tf_slims():
  options = _options('train_image_classifier')
  assert {name: options[name].default for name in _TF_SLIM} == _TF_SLIM


def _help(program, *arguments):
  return subprocess.run([sys.executable, str(_ROOT / f'{program}.py'), *arguments],
                        capture_output=True, text=True, check=False)


@pytest.mark.parametrize('program', _PROGRAMS)
def test_help_fits_two_screens(program):
  found = _help(program, '--help')
  lines = found.stdout.splitlines()
  assert found.returncode == 0 and not found.stderr
  assert len(lines) <= 48 and max(map(len, lines)) <= 80
  module = importlib.import_module(program)
  assert found.stdout.startswith(module.__doc__.strip())
  for option in _options(program).values():
    spelled = re.search(rf'^  --(no)?{option.name}(=|\s|$)', found.stdout, re.MULTILINE)
    assert bool(spelled) == option.is_common, option.name


def test_full_help_has_every_option():
  found = _help('train_image_classifier', '--helpfull')
  assert found.returncode == 0
  assert max(map(len, found.stdout.splitlines())) <= 80
  for option in _options('train_image_classifier').values():
    assert re.search(rf'^  --(no)?{option.name}(=|\s|$)', found.stdout, re.MULTILINE), option.name


_WITHOUT_TENSORFLOW = """
import sys
sys.modules['tensorflow'] = None  # Importing it is an error from here on.
sys.argv = [{program!r} + '.py', *{arguments!r}]
import runpy
runpy.run_path({program!r} + '.py', run_name='__main__')
"""


@pytest.mark.parametrize(('program', 'arguments', 'code', 'shown'), [
  ('train_image_classifier', ['-h'], 0, '--model_name'),
  ('train_image_classifier', ['--modle_name=lenet'], 1, 'model_name'),
  ('train_image_classifier', ['--batch_size=0'], 1, '--batch_size'),
  ('train_image_classifier', ['--optimizer=adma'], 1, '--optimizer'),
  ('train_image_classifier', ['--train_dir=gs://a/b'], 1, '--train_dir'),
  ('train_image_classifier', ['--num_ps_tasks=1'], 1, '--num_ps_tasks'),
  ('train_image_classifier', ['stray'], 1, 'stray'),
  ('eval_image_classifier', ['--helpfull'], 0, '--labels_path'),
  ('predict_image', ['--topk=3', 'photo.jpg'], 1, 'top_k')])
def test_invalid_flag_is_rejected_without_tensorflow(program, arguments, code, shown):
  found = subprocess.run(
    [sys.executable, '-c', _WITHOUT_TENSORFLOW.format(program=program, arguments=arguments)],
    cwd=_ROOT, capture_output=True, text=True, check=False)
  assert found.returncode == code, found.stderr
  assert shown in (found.stderr if code else found.stdout)
  assert 'Traceback' not in found.stderr
