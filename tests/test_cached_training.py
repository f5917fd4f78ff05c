"""Training on cached features of frozen layers, as users run it, equals training without."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from slim_zoo.training import bad_images, checkpoints

_PROGRAM = 'train_image_classifier'
# Augmentation, dropout, slots, averages and validation: everything the cache could affect.
_FLAGS = ['--dataset_name=digits', '--model_name=lenet', '--preprocessing_name=cifarnet',
          '--trainable_scopes=LeNet/fc3,LeNet/fc4', '--augmentations_per_image=2',
          '--optimizer=momentum', '--learning_rate=0.003', '--moving_average_decay=0.9',
          '--batch_size=16', '--log_every_n_steps=8', '--validation_interval_steps=8']


@pytest.fixture(scope='module')
def train(in_process):
  with in_process(_PROGRAM) as run:
    yield run


@pytest.fixture
def start(tmp_path, monkeypatch):
  """Flags of a warm start, whose features differ from those of the initial values."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  network = nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=10, seed=5)
  prefix = checkpoints.save(tmp_path / 'start', 0, network.variables, metadata={}, max_to_keep=1)
  return [*_FLAGS, f'--checkpoint_path={prefix}', '--checkpoint_exclude_scopes=LeNet/fc4']


def _variables(folder) -> dict[str, np.ndarray]:
  reader = tf.train.load_checkpoint(str(folder))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def _assert_close(folder, other):
  found, expected = _variables(folder), _variables(other)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize('clones', [
  pytest.param([], id='one replica', marks=pytest.mark.thorough),
  # CI trains heads on two replicas in tests/nets/test_cut.py.
  pytest.param(['--num_clones=2', '--clone_on_cpu', '--batch_size=8'], id='two replicas',
               marks=pytest.mark.thorough)])
def test_cached_features_give_the_same_training(train, start, tmp_path, capsys, clones):
  for place in ('off', 'disk'):
    assert train(*start, *clones, f'--train_dir={tmp_path}/{place}', f'--cache_features={place}',
                 '--max_number_of_steps=16') == 0
  out = capsys.readouterr().out
  assert re.search(r'3,266 of 3,266\b.* 2 views', out)
  _assert_close(tmp_path / 'disk', tmp_path / 'off')
  # The loss of the frozen layers' weight decay is part of it.
  rows = [(tmp_path / place / 'metrics.csv').read_text().splitlines() for place in ('off', 'disk')]
  for whole, kept in zip(*rows, strict=True):
    if not whole.startswith('step'):
      np.testing.assert_allclose(*([float(cell) for cell in row.split(',')[:6] if cell]
                                   for row in (kept, whole)), rtol=1e-4)


@pytest.mark.slow
def test_resumed_cached_run_is_bit_identical(train, start, tmp_path, capsys):
  # 26 steps per epoch: the first view is used again after 51.
  flags = [*start, '--cache_features=auto', '--batch_size=64', '--validation_interval_steps=30']
  assert train(*flags, f'--train_dir={tmp_path}/whole', '--max_number_of_steps=58') == 0
  assert train(*flags, f'--train_dir={tmp_path}/halves', '--max_number_of_steps=54') == 0
  capsys.readouterr()
  assert train(*flags, f'--train_dir={tmp_path}/halves', '--max_number_of_steps=58') == 0
  out = capsys.readouterr().out
  assert 'model.ckpt-54 at step 54' in out
  assert re.search(r'Found .*3,266 features', out)
  whole, halves = _variables(tmp_path / 'whole'), _variables(tmp_path / 'halves')
  assert [name for name in whole if whole[name].tobytes() != halves[name].tobytes()] == []


@pytest.mark.slow
def test_image_damaged_during_the_run_is_named(train, start, tmp_path, monkeypatch):
  for name in ('a', 'b'):
    for number in range(4):
      path = tmp_path / 'photos' / name / f'{number}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(tf.io.encode_png(np.full([28, 28, 1], 30 * number, np.uint8)).numpy())
  (tmp_path / 'photos' / 'b' / '2.png').write_bytes(b'broken')
  monkeypatch.setattr(bad_images, 'settle', lambda *arguments, **named: ())
  with pytest.raises(ValueError, match='b/2.png'):
    train(*start, f'--train_dir={tmp_path}/run', '--dataset_name=folder', '--use_grayscale',
          f'--dataset_dir={tmp_path}/photos', '--validation_fraction=0', '--cache_features=disk')
