"""How a run stands, as its folder says after every end."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import pathlib
import signal

import pytest

from slim_zoo.config import flag_values, programs
from slim_zoo.training import cluster, run_state

_GIVEN = ['--train_dir=run', '--learning_rate=0.5', '--nesterov', '--dataset_dir=Grüße "a"']
_FLAGS = {'learning_rate': 0.5, 'nesterov': True, 'dataset_dir': 'Grüße "a"'}


def _keep(main, folder, given=_GIVEN) -> int:
  return run_state.keep(main, folder, flag_values.parse(programs.Train, given)[0])


def _raise(error):
  raise error


@pytest.mark.parametrize(('main', 'state', 'words'), [
  (lambda: 0, 'finished', ''),
  (lambda: 128 + signal.SIGTERM, 'stopped', 'SIGTERM'),
  (lambda: 128 + signal.SIGUSR1, 'stopped', 'SIGUSR1'),
  (lambda: 3, 'failed', '3'),
  (lambda: _raise(KeyboardInterrupt()), 'stopped', 'SIGINT'),
  (lambda: _raise(ValueError('--epochs:\nexpected')), 'failed', '--epochs: expected'),
  (lambda: _raise(KeyError('weights')), 'failed', 'KeyError'),
  (lambda: _raise(cluster.LostWorkerError('Lost worker 1')), 'stopped', 'Lost worker 1'),
  (lambda: _raise(OSError(errno.ENOSPC, 'No space left', 'run/x')), 'failed', 'run/x'),
])
def test_state_after_an_end(tmp_path, main, state, words):
  def check_and_end():
    assert run_state.read(tmp_path).state == 'running'
    return main()

  with contextlib.suppress(Exception, KeyboardInterrupt):
    _keep(check_and_end, tmp_path)
  record = run_state.read(tmp_path)
  assert record.state == state and words in record.message and '\n' not in record.message
  assert record.flags == _FLAGS and record.process == os.getpid() and record.seconds >= 0
  assert [path.name for path in tmp_path.iterdir()] == ['state.json']


def test_end_without_a_word_leaves_it_running(tmp_path):
  with pytest.raises(SystemExit):
    _keep(lambda: _raise(SystemExit()), tmp_path)
  assert run_state.read(tmp_path).state == 'running'


def test_state_is_complete_whenever_the_process_ends(tmp_path, killed):
  for step in range(1, 20):
    with killed(step) as outcome:
      _keep(lambda: 0, tmp_path)
    record = run_state.read(tmp_path)
    assert record is None or record.flags == _FLAGS
    if not outcome.reached:
      break
  assert 1 < step < 19


def test_full_disk_does_not_hide_the_error(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(pathlib.Path, 'write_text', lambda *_, **__: _raise(
    OSError(errno.ENOSPC, 'No space left on device')))
  with pytest.raises(ValueError, match='--epochs'):
    _keep(lambda: _raise(ValueError('--epochs: wrong')), tmp_path)
  assert _keep(lambda: 0, tmp_path) == 0
  assert 'No space left' in capsys.readouterr().out


@pytest.mark.parametrize(('has_saved', 'expected'), [
  (True, {'learning_rate': 0.5, 'seed': 3}), (False, {'seed': 3})])
def test_next_start(tmp_path, has_saved, expected):
  """It adds its time, and keeps the flags with which something was saved."""
  _keep(lambda: 143, tmp_path, ['--learning_rate=0.5'])
  run_state._write(tmp_path, dataclasses.replace(run_state.read(tmp_path), seconds=1000.0))
  (tmp_path / 'phase_1').mkdir()
  if has_saved:
    (tmp_path / 'phase_1' / 'model.ckpt-1.index').touch()
  _keep(lambda: 0, tmp_path, ['--seed=3'])
  record = run_state.read(tmp_path)
  assert record.flags == expected and 1000 <= record.seconds < 1100


@pytest.mark.parametrize(('saves', 'expected'), [
  (False, {'learning_rate': 0.5}), (True, {'learning_rate': 0.5, 'seed': 3})])
def test_start_that_fails_without_saving_changes_no_flags(tmp_path, saves, expected):
  (tmp_path / 'model.ckpt-1.index').touch()
  _keep(lambda: 143, tmp_path, ['--learning_rate=0.5'])

  def fail():
    if saves:
      (tmp_path / 'model.ckpt-2.index').touch()
    raise ValueError('--seed: refused')

  with pytest.raises(ValueError, match='--seed'):
    _keep(fail, tmp_path, ['--seed=3'])
  assert run_state.read(tmp_path).flags == expected


def test_time_of_a_killed_start_ends_with_its_last_measurement(tmp_path):
  record = run_state.Record('running', '', {}, 'host', 1, '2026-01-01T00:00:00+00:00', 50.0)
  run_state._write(tmp_path, record)
  assert record.seconds_until(run_state.last_sign(tmp_path)) == 50
  (tmp_path / 'metrics.csv').touch()
  os.utime(tmp_path / 'metrics.csv', (0, 1767225600 + 100))
  assert record.seconds_until(run_state.last_sign(tmp_path)) == 150
  _keep(lambda: 0, tmp_path)
  assert 150 <= run_state.read(tmp_path).seconds < 250


@pytest.mark.parametrize('text', ['', '{', '[]', '{}', '\0' * 50, '\udcff', '[' * 100_000,
                                  '{"state": "running"}', 'state of joy', 'started of noon'])
def test_damage_is_named_and_repaired(tmp_path, text, capsys):
  assert run_state.read(tmp_path) is None
  _keep(lambda: 0, tmp_path)
  path = tmp_path / 'state.json'
  if ' of ' in text:
    name, value = text.split(' of ')
    text = path.read_text().replace('finished' if name == 'state' else
                                    run_state.read(tmp_path).started, value)
  path.write_bytes(text.encode('utf-8', 'surrogateescape'))
  with pytest.raises(ValueError, match='state.json'):
    run_state.read(tmp_path)
  _keep(lambda: 0, tmp_path)
  assert 'state.json' in capsys.readouterr().out
  assert run_state.read(tmp_path).state == 'finished'


def test_phases_are_in_the_order_of_their_numbers(tmp_path):
  assert run_state.parts(tmp_path) == [tmp_path]
  for name in ('phase_10', 'phase_9', 'phase_x', 'best'):
    (tmp_path / name).mkdir()
  assert [path.name for path in run_state.parts(tmp_path)] == ['phase_9', 'phase_10']
