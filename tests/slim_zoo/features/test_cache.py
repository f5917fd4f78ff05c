"""Caching the features of frozen layers: when, under which key, and equality of training."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory
from nets import nets_factory
from preprocessing import preprocessing_factory
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.features import cache as feature_cache
from slim_zoo.training import optimizers, schedules, trainer
from slim_zoo.training.inputs import Inputs

_SHAPE = [28, 28, 1]
_ROWS = {'num_training': 100, 'num_validation': 20}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def _network(scopes=('LeNet/fc3', 'LeNet/fc4'), seed=0, **more):
  return nets_factory.build_network('lenet', image_shape=_SHAPE, num_classes=10, seed=seed,
                                    weight_decay=1e-3, trainable_scopes=scopes, is_training=True,
                                    **more)


def _inputs(split='train', **changes):
  dataset = dataset_factory.get_dataset('digits', split)
  inputs = Inputs(dataset, list(range(10)), (), preprocessing_name='lenet',
                  transform=preprocessing_factory.get_recipe('lenet').transform, image_size=28,
                  channels=1, num_parallel_calls=1, num_views=0)
  return dataclasses.replace(inputs, **changes)


def _plan(mode, network=None, num_views=0, epochs=5, **more):
  return feature_cache.plan(mode, network or _network(), _SHAPE, num_views=num_views, epochs=epochs,
                            **_ROWS, **more)


def _show(items, total):
  del total
  return items


def test_shared_mode_is_off_if_nothing_is_frozen():
  everything, weights = _network(()), _network((), is_frozen=lambda name: name.endswith('biases'))
  for network, views in ((everything, 0), (everything, None), (weights, None)):
    found = _plan('disk', network, num_views=views, gives_way=True)
    assert (found.place, '--trainable_scopes' in found.why) == ('off', True)
  with pytest.raises(ValueError, match='--cache_features=disk: .*--augmentations_per_image'):
    _plan('disk', num_views=None, gives_way=True)
  assert _plan('disk', gives_way=True).place == 'disk'


@pytest.mark.parametrize('mode, options, place, why', [
  ('off', {}, 'off', '--cache_features'),
  ('memory', {}, 'memory', '--cache_features'),
  ('disk', {'num_views': 3}, 'disk', '--cache_features'),
  ('auto', {}, 'disk', 'bytes'),
  ('auto', {'epochs': None, 'num_views': 9}, 'disk', '900|920'),
  ('auto', {'num_views': None}, 'off', '--augmentations_per_image'),
  ('auto', {'num_views': 5}, 'off', ' 5 epochs'),
  ('auto', {'epochs': 1}, 'off', ' 1 epoch'),
  ('auto', {'network': ()}, 'off', '--trainable_scopes'),
  ('auto', {'network': ('LeNet/conv2', 'LeNet/fc3', 'LeNet/fc4')}, 'off', ' 2%'),
  ('disk', {'network': ('LeNet/conv2', 'LeNet/fc3', 'LeNet/fc4')}, 'disk', '--cache_features'),
])
def test_choice_of_place(mode, options, place, why):
  if 'network' in options:
    options = {**options, 'network': _network(options['network'])}
  found = _plan(mode, **options)
  assert found.place == place
  assert any(part in found.why for part in why.split('|'))


@pytest.mark.parametrize('options, message', [
  ({'num_views': None}, '--cache_features=disk: .*--augmentations_per_image'),
  ({'network': ()}, '--cache_features=disk: .*--trainable_scopes')])
def test_uncacheable_runs_are_rejected(options, message):
  if 'network' in options:
    options = {'network': _network(options['network'])}
  with pytest.raises(ValueError, match=message):
    _plan('disk', **options)


def _folders(tmp_path):
  return {path.name for path in (tmp_path / 'cache').glob('slim_zoo/features/*')}


@pytest.mark.slow
def test_any_change_is_a_cache_miss(tmp_path, capsys, monkeypatch):
  names = [f'{n}.png' for n in range(6)]
  for number, name in enumerate(names):
    pixels = np.full([28, 28, 1], 40 * number, np.uint8)
    path = tmp_path / 'images' / 'ab'[number % 2] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(pixels).numpy())

  def fill(network=None, views=0, seed=0, **changes):
    dataset = dataset_factory.get_dataset('folder', 'train', tmp_path / 'images',
                                          validation_fraction=0)
    inputs = dataclasses.replace(_inputs(), dataset=dataset, label_map=[0, 1], num_views=views,
                                 **changes)
    before = _folders(tmp_path)
    _plan('disk', network).fill(inputs, is_training=True, seed=seed, show=_show)
    return len(_folders(tmp_path) - before)

  network = _network()
  assert fill(network) == 1
  assert fill(network) == 0
  assert '6' in capsys.readouterr().out
  network.variables['LeNet/fc4/weights'].assign_add(tf.ones([1024, 10]))  # A variable of the head.
  assert fill(network) == 0
  assert fill(network, seed=1) == 0  # Without augmentation nothing depends on it.
  kept = network.variables['LeNet/conv1/biases'].numpy()
  network.variables['LeNet/conv1/biases'].assign_add(tf.fill([32], 1e-6))
  assert fill(network) == 1
  network.variables['LeNet/conv1/biases'].assign(kept)
  assert fill(network) == 0
  assert fill(_network(['LeNet/fc4'])) == 1  # A different boundary.
  assert fill(_network(dtype=tf.bfloat16)) == 1
  assert fill(network, preprocessing_name='cifarnet') == 1
  assert fill(network, views=2) == 1
  assert fill(network, views=2, seed=1) == 1
  assert fill(network, bad_images=(dataset_factory.get_dataset(
    'folder', 'train', tmp_path / 'images', validation_fraction=0).examples.names[0],)) == 1
  path = tmp_path / 'images' / 'b' / '1.png'
  os.utime(path, ns=(1, 1))
  assert fill(network) == 0
  pixels = path.read_bytes()  # The same size and modification time.
  path.write_bytes(tf.io.encode_png(np.full([28, 28, 1], 41, np.uint8)).numpy())
  assert path.stat().st_size == len(pixels)
  os.utime(path, ns=(1, 1))
  assert fill(network) == 1
  path.write_bytes(pixels)
  assert fill(network) == 0
  monkeypatch.setattr(preprocessing_factory, 'code_digest', lambda: 'changed')
  assert fill(network) == 1


def _train(network, inputs, validation, steps=12):
  made = trainer.Trainer(
    network, optimizer='momentum', settings=optimizers.Settings(), batch_size=16,
    schedule=schedules.Schedule('fixed', 0.02, decay_steps=1, decay_factor=1.0,
                                end_learning_rate=0.0, warmup_steps=0))
  found = made.run(iter(inputs.training_batches(batch_size=16, seed=0, start_step=0)), steps)
  measured = Evaluator(network).measure(validation.evaluation_batches(batch_size=50))
  return found, measured, {name: v.numpy() for name, v in network.variables.items()}


@pytest.mark.slow
@pytest.mark.parametrize('place, views', [
  pytest.param('memory', 0, marks=pytest.mark.thorough), ('disk', 2)])
def test_training_equals_uncached_training(place, views):
  results = []
  for is_cached in (False, True):
    network, inputs, validation = _network(), _inputs(num_views=views), _inputs('validation')
    if is_cached:
      cache = _plan(place, network, num_views=views)
      inputs = cache.fill(inputs, is_training=True, seed=0, show=_show)
      validation = cache.fill(validation, is_training=False, seed=0, show=_show)
      network = cache.head
    results.append(_train(network, inputs, validation))
  (steps, measured, variables), (steps_cached, measured_cached, variables_cached) = results
  np.testing.assert_allclose(steps_cached.objective, steps.objective, rtol=1e-5)
  assert measured_cached.top_1 == measured.top_1
  np.testing.assert_allclose(measured_cached.loss, measured.loss, rtol=1e-5)
  for name, value in variables.items():
    np.testing.assert_allclose(variables_cached[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
