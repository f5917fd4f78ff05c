"""Runs of several workers, each a process on this machine."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import tensorflow as tf

_ROOT = pathlib.Path(__file__).parents[1]
_SECONDS = 200
_FLAGS = ['--dataset_name=digits', '--model_name=lenet', '--optimizer=momentum',
          '--max_number_of_steps=4', '--log_every_n_steps=1']


def _free_addresses(count: int) -> list[str]:
  with contextlib.ExitStack() as stack:
    servers = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(count)]
    return [f'127.0.0.1:{server.getsockname()[1]}' for server in servers]


@contextlib.contextmanager
def _started(count: int, folder: pathlib.Path, flags: Sequence[str],
             own: Sequence[Sequence[str]] = (), *, last: str = 'train_image_classifier.py'
             ) -> Iterator[list[subprocess.Popen]]:
  """Starts workers, of which some have flags of their own; ends them if a test fails.

  The last one may run another program.

  The output of each is in a file, worker_0.log, worker_1.log …
  """
  folder.mkdir(exist_ok=True)
  addresses = _free_addresses(count)
  workers = []
  with contextlib.ExitStack() as stack:
    for index in range(count):
      environment = dict(os.environ, TF_CONFIG=json.dumps({
        'cluster': {'worker': addresses}, 'task': {'type': 'worker', 'index': index}}))
      log = stack.enter_context(open(folder / f'worker_{index}.log', 'w', encoding='utf-8'))
      program = last if index == count - 1 else 'train_image_classifier.py'
      workers.append(subprocess.Popen(
        [sys.executable, program, f'--train_dir={folder / "run"}', *flags,
         *(own[index] if own else ())], cwd=_ROOT, env=environment, stdout=log,
        stderr=subprocess.STDOUT))
    try:
      yield workers
    finally:
      for worker in workers:
        worker.kill()
        worker.wait()


def _codes(workers: Sequence[subprocess.Popen]) -> list[int]:
  return [worker.wait(_SECONDS) for worker in workers]


def _logs(folder: pathlib.Path, count: int) -> list[str]:
  return [(folder / f'worker_{index}.log').read_text('utf-8') for index in range(count)]


def _wait_for(text: str, file: pathlib.Path) -> None:
  end = time.monotonic() + _SECONDS
  while text not in file.read_text('utf-8'):
    assert time.monotonic() < end, file.read_text('utf-8')
    time.sleep(0.05)


def _train(folder: pathlib.Path, flags: Sequence[str], count: int = 1) -> pathlib.Path:
  """Trains with so many workers; returns the run's folder."""
  if count == 1:
    subprocess.run([sys.executable, 'train_image_classifier.py', f'--train_dir={folder / "run"}',
                    *flags], cwd=_ROOT, check=True, capture_output=True)
    return folder / 'run'
  with _started(count, folder, flags) as workers:
    assert _codes(workers) == [0] * count, _logs(folder, count)
  return folder / 'run'


def _state(run: pathlib.Path) -> dict[str, np.ndarray]:
  checkpoint = tf.train.load_checkpoint(tf.train.latest_checkpoint(run))
  return {name: checkpoint.get_tensor(name) for name in checkpoint.get_variable_to_shape_map()}


def _assert_equal(run: pathlib.Path, other: pathlib.Path, tolerance: float) -> None:
  """Compares all variables; differences are relative to the largest number of each."""
  found, expected = _state(run), _state(other)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    scale = max(np.abs(value).max(), 1e-12)
    np.testing.assert_allclose(found[name] / scale, value / scale, atol=tolerance, rtol=0,
                               err_msg=name)


_MODERN = ['--mixup_alpha=0.2', '--cutmix_alpha=1', '--label_smoothing=0.1',
           '--moving_average_decay=0.9', '--gradient_clip_norm=1']


def _last(run: pathlib.Path, column: str) -> float:
  with open(run / 'metrics.csv', encoding='utf-8') as file:
    return [float(row[column]) for row in csv.DictReader(file) if row[column]][-1]


@pytest.mark.slow
@pytest.mark.parametrize('count', [2, pytest.param(4, marks=pytest.mark.thorough)])
def test_workers_train_like_one(tmp_path, count):
  """With dropout, mixed images and validation."""
  whole = _train(tmp_path / 'one', [*_FLAGS, *_MODERN, '--batch_size=32'])
  divided = _train(tmp_path / 'several', [*_FLAGS, *_MODERN, f'--batch_size={32 // count}'], count)
  _assert_equal(divided, whole, 1e-5)
  assert _last(divided, 'validation_top_1') == _last(whole, 'validation_top_1')
  assert _last(divided, 'validation_loss') == pytest.approx(_last(whole, 'validation_loss'),
                                                            rel=1e-4)


# In the first steps of a whole network, a difference of 1e-7 in the weights changes which elements
# ReLU and pooling let through, and so the gradients by percents; this has neither.
_SMOOTH_HEAD = """
import tensorflow as tf

from nets import layers


def head(features, num_classes, is_training):
  net = layers.fully_connected(features, 32, activation_fn=tf.tanh,
                               normalizer_fn=layers.batch_norm, scope='hidden')
  net = layers.dropout(net, 0.7, scope='dropout')
  return layers.fully_connected(net, num_classes, activation_fn=None, scope='logits')
"""


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.parametrize(('more', 'tolerance'), [
  ([], 1e-5),
  # Adam divides by the gradients.
  (['--moving_average_decay=0.9', '--gradient_accumulation_steps=2', '--optimizer=adamw'], 3e-4),
])
def test_batch_norm_of_all_workers(tmp_path, more, tolerance):
  (tmp_path / 'smooth.py').write_text(_SMOOTH_HEAD)
  flags = [*_FLAGS, f'--head={tmp_path / "smooth.py"}:head', '--trainable_scopes=head',
           '--max_number_of_steps=20', '--validation_interval_epochs=0', *more]
  whole = _train(tmp_path / 'one', [*flags, '--batch_size=32'])
  divided = _train(tmp_path / 'two', [*flags, '--batch_size=16', '--sync_batch_norm'], 2)
  _assert_equal(divided, whole, tolerance)


@pytest.mark.slow
@pytest.mark.parametrize('asked', [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_stopped_workers_continue(tmp_path, asked):
  """A signal to one makes both save the same step, and the end is that of an undisturbed run."""
  flags = [*_FLAGS, '--max_number_of_steps=80', '--batch_size=4']
  undisturbed = _train(tmp_path / 'undisturbed', flags, 2)
  folder = tmp_path / 'stopped'
  with _started(2, folder, flags) as workers:
    _wait_for('step 3/', folder / 'worker_0.log')
    workers[asked].send_signal(signal.SIGTERM)
    assert _codes(workers) == [128 + signal.SIGTERM] * 2
  assert 0 < _state(folder / 'run')['global_step'] < 80
  _assert_equal(_train(folder, flags, 2), undisturbed, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('killed', [0, pytest.param(1, marks=pytest.mark.thorough)])
def test_killed_worker_ends_the_other(tmp_path, killed):
  flags = [*_FLAGS, '--max_number_of_steps=100000', '--batch_size=4']
  with _started(2, tmp_path, flags) as workers:
    _wait_for('step 3/', tmp_path / 'worker_0.log')
    workers[killed].kill()
    assert workers[1 - killed].wait(_SECONDS) == 75
  log = _logs(tmp_path, 2)[1 - killed]
  assert f'worker {killed} (' in log and 'Traceback' not in log


# Joins the others and is gone before they exchange anything.
_JOINING = """
import os

import tensorflow as tf

tf.distribute.MultiWorkerMirroredStrategy()
os._exit(9)
"""


@pytest.mark.slow
def test_worker_lost_before_anything_is_exchanged_ends_the_other(tmp_path):
  program = tmp_path / 'joining.py'
  program.write_text(_JOINING)
  with _started(2, tmp_path, _FLAGS, last=str(program)) as workers:
    assert _codes(workers) == [75, 9], _logs(tmp_path, 2)
  log = _logs(tmp_path, 2)[0]
  assert 'worker 1 (' in log and 'Traceback' not in log


_FOLDER = ['--dataset_name=folder']


@pytest.mark.slow
@pytest.mark.parametrize(('flags', 'own', 'name'), [
  pytest.param([], [[], ['--learning_rate=0.02']], '--learning_rate', marks=pytest.mark.thorough),
  pytest.param(_FOLDER, [['--dataset_dir=a'], ['--dataset_dir=b']], 'content',
               marks=pytest.mark.thorough),
  (_FOLDER, [['--dataset_dir=a'], ['--dataset_dir=missing']], 'missing'),
])
def test_mistake_of_one_worker_ends_both(tmp_path, flags, own, name):
  """Each says which worker made it, and neither says that it may be tried again."""
  for folder, count in (('a', 6), ('b', 7)):
    for place in range(2 * count):
      path = tmp_path / folder / f'class_{place % 2}' / f'{place}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(tf.io.encode_png(np.full([28, 28, 3], place, np.uint8)).numpy())
  own = [[flag.replace('_dir=', f'_dir={tmp_path}/') for flag in of_worker] for of_worker in own]
  with _started(2, tmp_path, [*_FLAGS, *flags], own) as workers:
    codes = _codes(workers)
  logs = _logs(tmp_path, 2)
  assert codes == [1, 1], logs
  for log in logs:
    assert name in log and 'Traceback' not in log
  assert 'worker 1 (' in logs[0]
