"""Averaging checkpoints: values, what is left out, and that programs can use the result."""

from __future__ import annotations

import json
import types

import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture
def average(program, monkeypatch, tmp_path):
  module = program('average_checkpoints')
  monkeypatch.setattr(module, 'FLAGS', types.SimpleNamespace(output_dir=str(tmp_path / 'mean')))
  return module


@pytest.fixture(scope='module')
def run(run_here, tmp_path_factory):
  folder = tmp_path_factory.mktemp('run')
  code, _, errors = run_here(
    'train_image_classifier', f'--train_dir={folder}', '--dataset_name=digits',
    '--model_name=lenet', '--max_number_of_steps=6', '--save_interval_steps=2', '--batch_size=8',
    '--optimizer=adamw', '--moving_average_decay=0.9', '--learning_rate=0.001')
  assert code == 0, errors
  return folder


def _values(folder):
  reader = tf.train.load_checkpoint(str(folder))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def test_average(average, run, run_here, tmp_path, capsys):
  assert average.main([str(run)]) == 0
  assert 'average of 3 checkpoints, 8 variables' in capsys.readouterr().out
  found = _values(tmp_path / 'mean')
  parts = [_values(run / f'model.ckpt-{step}') for step in (2, 4, 6)]
  assert found.pop('global_step') == 6
  assert sorted(found) == sorted(f'LeNet/{layer}/{kind}' for layer in ('conv1', 'conv2', 'fc3',
                                                                        'fc4')
                                 for kind in ('weights', 'biases'))
  for name, value in found.items():
    averages = [part[f'{name}/ExponentialMovingAverage'] for part in parts]
    np.testing.assert_allclose(value, np.mean(averages, 0), rtol=1e-5, atol=1e-7)
  code, _, errors = run_here('eval_image_classifier', f'--checkpoint_path={tmp_path / "mean"}',
                               '--dataset_name=digits')
  assert code == 0, errors
  assert json.loads((tmp_path / 'mean' / 'eval' / 'eval.json').read_text())['step'] == 6
  code, _, errors = run_here('train_image_classifier', f'--train_dir={tmp_path / "mean"}')
  assert code == 1 and '--checkpoint_path' in errors  # It cannot be resumed.


def test_what_is_refused(average, run, run_here, tmp_path):
  with pytest.raises(ValueError, match='two or more'):
    average.main([str(run / 'model.ckpt-2')])
  other = tmp_path / 'other'
  run_here('train_image_classifier', f'--train_dir={other}', '--dataset_name=digits',
           '--model_name=cifarnet', '--max_number_of_steps=1', '--batch_size=8')
  with pytest.raises(ValueError, match='one network'):
    average.main([str(run / 'model.ckpt-2'), str(other)])
  average.FLAGS.output_dir = str(run)
  with pytest.raises(ValueError, match='--output_dir'):
    average.main([str(run)])
