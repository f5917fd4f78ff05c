"""Recipes and experiments are correct: flags, names, phases and TF-Slim's values."""

from __future__ import annotations

import functools
import itertools
import re
import shlex
import types

import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from datasets import dataset_factory
from nets import extractors, layers, nets_factory, scopes
from preprocessing import preprocessing_factory
from scripts.experiments.catalogue import EXPERIMENTS
from slim_zoo.training import phases
from tests.command_lines import EVAL, ROOT, TRAIN, check_command, commands, parse, read, section

RECIPES = sorted(path.name for path in (ROOT / 'scripts' / 'recipes').iterdir())
recipes = pytest.mark.parametrize('name', RECIPES)


def header(name: str) -> str:
  """The comment at the start of a recipe, without its marks."""
  lines = read(f'scripts/recipes/{name}').splitlines()
  end = next(i for i, line in enumerate(lines) if not line.startswith('#'))
  return '\n'.join(line[1:].removeprefix(' ') for line in lines[:end])


def header_commands(name: str) -> list[list[str]]:
  indented = [line for line in header(name).splitlines() if line.startswith('  ')]
  return [words for words in commands('\n'.join(indented)) if words[0] == 'python']


def run_of(name: str, *more: str) -> flags.FlagValues:
  return parse(TRAIN, [f'--flagfile={ROOT / "scripts" / "recipes" / name}', *more])


def runs_of(name: str) -> list[types.SimpleNamespace]:
  """The flags of each phase of a recipe, or of its only run; `chosen` are those it sets."""
  text, runs = run_of(name).phases, []
  for words in phases.parse(text) if text else [[]]:
    values = run_of(name, *(f'--{word}' for word in words))
    runs.append(types.SimpleNamespace(
      chosen={flag for flag in values if values[flag].present}, **values.flag_values_dict()))
  return runs


@functools.cache
def variables(model_name: str) -> dict[str, tuple[int, ...]]:
  """The shapes of a network's trainable variables, for its default number of classes."""
  small = model_name in ('cifarnet', 'lenet')
  net = nets_factory.get_net(model_name)
  with tf.Graph().as_default(), layers.arg_scope(net.arg_scope()), \
      layers.arg_scope(layers.RANDOM, keys=tf.zeros([1, 2], tf.int64)):
    images = tf.zeros([1, net.image_size, net.image_size, net.channels])
    net.function(images, 10 if small else 1000, is_training=True)
    return {v.op.name: tuple(v.shape) for v in tf.compat.v1.trainable_variables()}


# ---- recipes ----

@recipes
def test_recipe_has_a_complete_header(name):
  text = header(name)
  assert re.search(r'^Hardware, time and accuracy: (not measured[.;]|.*\d)', text,
                   re.MULTILINE)
  assert re.search(r'^Data: ', text, re.MULTILINE)
  called = header_commands(name)
  assert [words[1] for words in called][-2:] == [TRAIN, EVAL]
  assert f'--flagfile=scripts/recipes/{name}' in called[-2]
  for words in called:
    check_command(words)


@pytest.mark.parametrize('name', [name for name in RECIPES if name.endswith('_on_imagenet.flags')])
def test_eight_gpus_train_like_one(name):
  line = re.search(r'^On eight GPUs: (.*?)\.\nData:', header(name), re.MULTILINE | re.DOTALL)
  one, eight = (types.SimpleNamespace(**run_of(name, *changes).flag_values_dict())
                for changes in ([], line[1].split()))
  assert eight.num_clones == 8

  def images_per_step(run):
    return run.batch_size * run.num_clones * run.gradient_accumulation_steps

  ratio = images_per_step(eight) / images_per_step(one)
  assert ratio in (1, 8)
  np.testing.assert_allclose(eight.learning_rate, one.learning_rate * ratio)
  # Counted with the batch size of one replica.
  decays = ['num_epochs_per_decay'] * (one.learning_rate_decay_type == 'exponential')
  for flag in decays:
    np.testing.assert_allclose(8 * getattr(eight, flag), getattr(one, flag))
  if one.max_number_of_steps:
    np.testing.assert_allclose(eight.max_number_of_steps * ratio, one.max_number_of_steps,
                               rtol=0.02)


@recipes
def test_recipe_does_not_set_folders(name):
  for run in runs_of(name):
    assert {'model_name', 'dataset_name', 'optimizer', 'learning_rate',
            'weight_decay'} <= run.chosen
    assert run.chosen & {'train_dir', 'dataset_dir', 'checkpoint_path'} == set()
    assert len(run.chosen & {'epochs', 'max_number_of_steps'}) == 1
  lines = [line for line in read(f'scripts/recipes/{name}').splitlines()
           if not line.startswith('#')]
  assert all(re.fullmatch(r'--\w+=\S+|--phases=.+', line) for line in lines)
  whole = run_of(name)
  assert len(lines) == sum(whole[flag].present for flag in whole)


@recipes
def test_names_in_a_recipe_are_known(name):
  for run in runs_of(name):
    nets_factory.get_net(run.model_name)
    assert run.dataset_name in dataset_factory.DATASETS
    recipe = nets_factory.preprocessing_name(run.preprocessing_name or run.model_name)
    assert recipe in preprocessing_factory.PREPROCESSING
    for flag in ('trainable_scopes', 'checkpoint_exclude_scopes'):
      for scope in scopes.split(getattr(run, flag)):
        assert scopes.select(variables(run.model_name), [scope], flag)


@recipes
def test_phases_of_a_recipe_are_consistent(name):
  runs = runs_of(name)
  head = ','.join(nets_factory.get_net(runs[0].model_name).head)
  if name.startswith('train_'):
    assert [run.trainable_scopes for run in runs] == [None]
    return
  assert len(runs) == (1 if name.endswith('_head.flags') else 2)
  assert runs[0].checkpoint_exclude_scopes == runs[0].trainable_scopes == head
  for before, run in itertools.pairwise(runs):  # The head, then more of the network, more slowly.
    assert run.trainable_scopes is None or run.trainable_scopes.endswith(f',{head}')
    assert run.learning_rate < before.learning_rate
    same = ('model_name', 'dataset_name', 'dataset_split_name', 'labels_offset')
    assert [getattr(run, flag) for flag in same] == [getattr(before, flag) for flag in same]


def test_recipes_from_tf_slim_have_its_values():
  # Reference: tensorflow/models, research/slim/scripts, the scripts of the same names.
  def finetuning(decay, *phases_):
    return [('rmsprop', rate, decay, 0.94, 2.0, steps, 0.00004) for rate, steps in phases_]

  expected = {
    'train_lenet_on_mnist': [('sgd', 0.01, 'exponential', 1.0, 2.0, 20000, 0.0)],
    'train_cifarnet_on_cifar10': [('sgd', 0.1, 'exponential', 0.1, 200.0, 100000, 0.004)],
    **{f'finetune_{name}_on_flowers': finetuning('exponential', (0.01, 3000), (0.001, 1000))
       for name in ('inception_v1', 'resnet_v1_50')},
    **{f'finetune_{name}_on_flowers': finetuning('fixed', (0.01, 1000), (0.0001, 500))
       for name in ('inception_v3', 'inception_resnet_v2')},
  }
  for name, phases_ in expected.items():
    runs = runs_of(f'{name}.flags')
    assert phases_ == [
      (run.optimizer, run.learning_rate, run.learning_rate_decay_type,
       run.learning_rate_decay_factor, run.num_epochs_per_decay, run.max_number_of_steps,
       run.weight_decay) for run in runs], name
    assert {run.batch_size for run in runs} == {32}


def test_every_recipe_is_documented():
  table = section('docs/training.md', 'Recipes')
  assert [name for name in RECIPES if f'`{name.removesuffix(".flags")}`' not in table] == []


# ---- experiments ----

@pytest.mark.parametrize('name', sorted(EXPERIMENTS))
def test_commands_of_an_experiment_exist(name):
  experiment = EXPERIMENTS[name]
  for command in (*experiment.prepare, *experiment.commands):
    program, *words = shlex.split(command.format(
      data='data', weights='--checkpoint_path=weights', work='work', run='run', seed=0))
    values = parse(program, words)
    if 'model_name' in values:
      net = nets_factory.get_net(values['model_name'].value)
    if 'end_point' in values and values['end_point'].value:
      extractors.find_end_point(net, values['end_point'].value)
