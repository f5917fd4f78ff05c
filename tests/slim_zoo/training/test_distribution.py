"""Devices and strategies."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest
import tensorflow as tf

from slim_zoo.config import flag_values, programs
from slim_zoo.training import distribution
from slim_zoo.training.workers import ALONE

_ROOT = pathlib.Path(distribution.__file__).parents[2]


def test_one_replica_needs_no_strategy():
  assert distribution.create_strategy(1) is tf.distribute.get_strategy()
  assert distribution.create_strategy(1, clone_on_cpu=True) is tf.distribute.get_strategy()


def test_two_replicas_on_logical_cpus():
  strategy = distribution.create_strategy(2, clone_on_cpu=True)
  assert strategy.num_replicas_in_sync == 2
  assert [d.rpartition('/')[2].lower() for d in strategy.extended.worker_devices] == [
    'device:cpu:0', 'device:cpu:1']


def test_process_has_one_strategy():
  assert distribution.create_strategy(2, clone_on_cpu=True) is distribution.create_strategy(
    2, clone_on_cpu=True)


@pytest.mark.parametrize('clone_on_cpu', [False, True])
def test_devices_can_be_prepared_again(clone_on_cpu):
  tf.zeros([])
  distribution.prepare_devices(clone_on_cpu=clone_on_cpu)
  distribution.prepare_devices(clone_on_cpu=clone_on_cpu)


def test_used_devices_cannot_be_changed(monkeypatch):
  """Simulates TensorFlow's error on a machine with a GPU, which tests must not need."""
  def refuse(devices, device_type):
    assert (devices, device_type) == ([], 'GPU')
    raise RuntimeError('Visible devices cannot be modified after being initialized')

  monkeypatch.setattr(tf.config, 'set_visible_devices', refuse)
  with pytest.raises(ValueError, match='--clone_on_cpu=True.*Visible devices cannot'):
    distribution.prepare_devices(clone_on_cpu=True)


@pytest.mark.parametrize(('num_clones', 'on_cpu', 'message'), [
  (0, False, '--num_clones: .*Received: 0'),
  (-1, True, '--num_clones: .*Received: -1'),
  # This process has run ops on two devices, so it cannot get more.
  (3, True, '--num_clones=3: .*CPU.*Received: 2'),
])
def test_invalid_numbers_of_replicas(num_clones, on_cpu, message):
  tf.zeros([])
  with pytest.raises(ValueError, match=message):
    distribution.create_strategy(num_clones, clone_on_cpu=on_cpu)


def test_needs_as_many_gpus_as_replicas():
  gpus = len(tf.config.list_logical_devices('GPU'))
  with pytest.raises(ValueError, match=rf'--num_clones.*GPU.*Received: {gpus}\..*--clone_on_cpu'):
    distribution.create_strategy(gpus + 2)


def _parsed(**values):
  return flag_values.Parsed(programs.Train()).with_given(**values)


_TWO = json.dumps({'cluster': {'worker': ['127.0.0.1:9', '127.0.0.1:10']},
                   'task': {'type': 'worker', 'index': 1}})


@pytest.mark.parametrize(('config', 'values', 'message'), [
  ('', {'worker_replicas': 2}, '--worker_replicas=2: .*Received: 1'),
  ('', {'strategy': 'multiworker'}, '--strategy=multiworker: .*TF_CONFIG'),
  ('', {'task': 1}, '--task=1: .*Received: 0'),
  ('', {'replicas_to_aggregate': 2}, '--replicas_to_aggregate: .*Received: 2 of 1'),
  ('', {'strategy': 'one', 'num_clones': 2}, '--strategy=one: .*Received: 2'),
  (_TWO, {'worker_replicas': 1}, '--worker_replicas=1: .*Received: 2'),
  (_TWO, {'task': 0}, '--task=0: .*Received: 1'),
  (_TWO, {'replicas_to_aggregate': 3}, '--replicas_to_aggregate: .*Received: 3 of 2'),
])
def test_flags_that_contradict_the_workers(monkeypatch, config, values, message):
  monkeypatch.setenv('TF_CONFIG', config)
  with pytest.raises(ValueError, match=message):
    distribution.start(_parsed(**values))


@pytest.mark.parametrize('values', [
  {}, {'worker_replicas': 1, 'task': 0, 'sync_replicas': True, 'replicas_to_aggregate': 1},
  {'strategy': 'mirrored'}])
def test_one_worker(monkeypatch, values):
  monkeypatch.delenv('TF_CONFIG', raising=False)
  parsed, workers = distribution.start(_parsed(**values))
  assert workers is ALONE
  assert parsed.config.hardware.num_replicas == 1
  assert distribution.strategy_for(parsed.config.hardware) is tf.distribute.get_strategy()


@pytest.mark.parametrize('strategy', ['one', 'mirrored'])
def test_other_workers_can_be_ignored(monkeypatch, strategy):
  monkeypatch.setenv('TF_CONFIG', _TWO)
  assert distribution.start(_parsed(strategy=strategy))[1] is ALONE


_FRESH = """
from slim_zoo.config import command_line
from slim_zoo.training import distribution
distribution.prepare_devices(clone_on_cpu=True)
strategy = distribution.create_strategy(3, clone_on_cpu=True)
print(strategy.num_replicas_in_sync, strategy.extended.worker_devices)
"""


def test_new_process_gets_the_requested_logical_cpus():
  """In a new process, like a script; the tests have two devices from the start."""
  found = subprocess.run([sys.executable, '-c', _FRESH], cwd=_ROOT, capture_output=True, text=True,
                         check=False)
  assert found.returncode == 0, found.stderr
  assert found.stdout.startswith('3 (')
  assert all(f'CPU:{number}' in found.stdout for number in range(3))
