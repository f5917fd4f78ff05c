"""The table of runs: states, accuracies, flags that differ, and damaged files."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest

_ROOT = pathlib.Path(__file__).parents[2]
_TRAIN = 'train_image_classifier'
_DIGITS = ['--dataset_name=digits', '--model_name=lenet', '--xla=off', '--batch_size=8',
           '--optimizer=sgd']
_HOLD = """
import sys
from slim_zoo.config import flag_values, programs
from slim_zoo.training import run_folder, run_state

def main():
  print('held', flush=True)
  sys.stdin.read()
  return 0

with run_folder.locked(sys.argv[1]) as folder:
  run_state.keep(main, folder, flag_values.parse(programs.Train, ['--model_name=lenet'])[0])
"""
_HEADER = 'step,epoch,loss,validation_loss,validation_top_1,validation_f1\n'


@pytest.fixture
def lister(program, monkeypatch):
  module = program('list_runs')
  monkeypatch.setattr(module, 'FLAGS', types.SimpleNamespace(csv=None))
  return module


def _make(folder, *, rows='1,1,0.5,,,\n', **entries):
  """Makes the small files of a run."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / '.lock').touch()
  (folder / 'metrics.csv').write_text(_HEADER + rows)
  (folder / 'state.json').write_text(json.dumps({
    'state': 'finished', 'message': '', 'flags': {'model_name': 'lenet'}, 'host': 'here',
    'process': 1, 'started': '2026-01-01T00:00:00+00:00', 'seconds': 60.0} | entries))


def _save(folder, step, **metadata):
  (folder / f'model.ckpt-{step}.json').write_text(json.dumps(metadata))


def _by_name(runs) -> dict:
  return {run.directory: run for run in runs}


@pytest.mark.slow
def test_runs_that_finished_and_failed(lister, run_here, tmp_path):
  for name, flags in {'fine': [], 'much': ['--learning_rate=1e30'],
                      'phased': ['--phases=max_number_of_steps=1;max_number_of_steps=3'],
                      'wrong': ['--dataset_split_name=none']}.items():
    length = [] if name == 'phased' else ['--max_number_of_steps=4']
    code, _, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/{name}', *_DIGITS, *length, *flags)
    assert code == (name in ('much', 'wrong')), errors
  runs = _by_name(lister.find(tmp_path))
  assert {name: run.state for name, run in runs.items()} == {
    'fine': 'finished', 'phased': 'finished', 'much': 'failed', 'wrong': 'failed'}
  assert '--learning_rate' in runs['much'].messages[0]
  assert 'none' in runs['wrong'].messages[0]
  assert [runs[name].step for name in ('fine', 'phased', 'wrong')] == [4, 3, None]
  assert 0 <= runs['fine'].last <= runs['fine'].best <= 1 and runs['fine'].seconds > 0
  assert {run.network for run in runs.values()} == {'lenet'}
  assert lister.differing([*runs.values()])['learning_rate'] == ['0.01', '1e+30', '0.01', '0.01']
  code, _, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/dry', *_DIGITS, '--dry_run')
  assert code == 0 and not (tmp_path / 'dry').exists(), errors


@pytest.mark.slow
def test_run_that_is_stopped(lister, start_script, tmp_path):
  process = start_script(_TRAIN, f'--train_dir={tmp_path}/run', *_DIGITS, '--epochs=1000',
                         '--save_interval_steps=1')
  while not [*tmp_path.glob('run/*.index')] and process.poll() is None:
    time.sleep(0.05)
  assert [run.state for run in lister.find(tmp_path)] == ['running']
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=300)
  (run,) = lister.find(tmp_path)
  assert (run.state, run.messages) == ('stopped', ['SIGTERM']), errors


@pytest.mark.parametrize('end', [signal.SIGKILL, signal.SIGTERM, None])
def test_running_until_the_process_ends(lister, tmp_path, end):
  command = [sys.executable, '-c', _HOLD, str(tmp_path / 'run')]
  with subprocess.Popen(command, cwd=_ROOT, text=True, stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE) as process:
    assert process.stdout.readline() == 'held\n'
    assert [run.state for run in lister.find(tmp_path)] == ['running']
    if end:
      process.send_signal(end)
    process.communicate()
  (run,) = lister.find(tmp_path)
  assert run.state == ('lost' if end else 'finished')
  assert not end or re.search(rf'\b{process.pid}\b', run.messages[0])


def test_running_is_unknown_without_locks(lister, tmp_path, monkeypatch):
  _make(tmp_path / 'a', state='running')
  _make(tmp_path / 'b')
  monkeypatch.setattr(lister.run_folder, 'is_locked', lambda folder: None)
  assert [run.state for run in lister.find(tmp_path)] == ['unknown', 'finished']


@pytest.mark.parametrize(('rows', 'settled', 'expected'), [
  ('1,1,1,,,\n2,1,,1,0.5,\n3,1,,1,0.75,\n4,1,,1,0.7,\n', {}, ('top_1', 0.75, 0.7, 4)),
  ('2,1,,1,0.5,\n3,1,,1,nan,\n', {}, ('top_1', 0.5, None, 3)),
  ('2,1,,1,,0.5\n3,1,,2,,0.4\n', {'best_metric': 'f1'}, ('f1', 0.5, 0.4, 3)),
  ('2,1,,3,,0.5\n3,1,,2,,0.4\n', {'best_metric': 'loss'}, ('loss', 2, 2, 3)),
  ('1,1,1,,,\n', {}, ('top_1', None, None, 2)),
  ('2,1,,1,0.5,\n\n3,1,,1,0.75,\nx,1,,1,1,\n4,1,,1,0.9', {}, ('top_1', 0.75, 0.75, 3)),
  ('2,1,,1,0.5,\n' + '\0' * 100, {}, ('top_1', 0.5, 0.5, 2)),
  ('', {}, ('top_1', None, None, 2)),
])
def test_measurements(lister, tmp_path, rows, settled, expected):
  _make(tmp_path / 'run', rows=rows)
  _save(tmp_path / 'run', 1, model_name='old')
  _save(tmp_path / 'run', 2, model_name='cifarnet', flags=settled)
  (run,) = lister.find(tmp_path)
  last = run.last if run.last == run.last else None
  assert (run.metric, run.best, last, run.step) == expected
  assert run.network == 'cifarnet' and run.messages == []


def test_phases_count_as_one_run(lister, tmp_path):
  _make(tmp_path / 'run')
  (tmp_path / 'run' / 'metrics.csv').unlink()
  for number in (1, 2, 10):
    _make(tmp_path / f'run/phase_{number}', rows=f'{number},1,,1,0.{number},\n')
    _make(tmp_path / f'run/phase_{number}/best')
  (tmp_path / 'run/phase_11').mkdir()
  (run,) = lister.find(tmp_path)
  assert (run.directory, run.step, run.last, run.state) == ('run', 10, 0.1, 'finished')
  (tmp_path / 'run/state.json').unlink()
  (run,) = lister.find(tmp_path)
  assert (run.directory, run.state) == ('run', 'unknown')


def test_run_in_a_directory_named_best(lister, tmp_path):
  _make(tmp_path / 'best')
  _make(tmp_path / 'other' / 'best')
  assert [run.directory for run in lister.find(tmp_path)] == ['best', 'other/best']


@pytest.mark.parametrize(('name', 'content'), [
  ('state.json', b'{"state": "fini'), ('state.json', b''), ('state.json', b'\xff'),
  ('model.ckpt-7.json', b'{'), ('model.ckpt-7.json', b'[]'),
  ('model.ckpt-7.json', b'{"flags": 3}'), ('metrics.csv', b''), ('metrics.csv', b'\0' * 9),
  ('metrics.csv', b'a,b\n1,2\n'), ('metrics.csv', b'step\n' + b'1' * 200_000),
])
def test_damage_is_in_the_row(lister, tmp_path, name, content):
  for run in 'ab':
    _make(tmp_path / run)
    _save(tmp_path / run, 7, model_name='lenet', flags={})
  (tmp_path / 'a' / name).write_bytes(content)
  damaged, whole = lister.find(tmp_path)
  assert name in ' '.join(damaged.messages) and whole.messages == []
  assert damaged.state == ('unknown' if name == 'state.json' else 'finished')
  text = lister.render([damaged, whole], 80)
  assert name in text


def test_flags_that_differ(lister, tmp_path):
  for name, flags in {'1': {'learning_rate': 0.1, 'seed': 0}, '2': {'learning_rate': 0.2},
                      '10': {'learning_rate': 0.2, 'nesterov': True, 'model_name': 'cifarnet'},
                      }.items():
    _make(tmp_path / name, flags={'batch_size': 8} | flags)
  _make(tmp_path / '11')
  (tmp_path / '11' / 'state.json').unlink()
  _save(tmp_path / '11', 5, model_name='lenet', flags={'batch_size': 8, 'learning_rate': 0.3})
  _make(tmp_path / '12')
  (tmp_path / '12' / 'state.json').write_text('?')
  runs = lister.find(tmp_path)
  assert [run.directory for run in runs] == ['1', '2', '10', '11', '12']
  assert lister.differing(runs) == {
    'learning_rate': ['0.1', '0.2', '0.2', '0.3', ''],
    'nesterov': ['false', 'false', 'true', 'false', '']}
  wide = lister.render(runs, 1000).splitlines()
  assert re.search(r'^1 .*--learning_rate=0.1 --nesterov=false', wide[2])
  assert lister.differing([]) == {}


def test_table_fits_the_screen(lister, tmp_path):
  for number in range(3):
    _make(tmp_path / f'learning_rate={number},model_name=lenet,trainable_scopes=LeNet_fc4',
          rows=f'{number},1,,1,0.5,\n', flags={'learning_rate': number,
                                               'dataset_dir': f'/data/{number}' + 'x' * 90})
  table = lister.render(lister.find(tmp_path), 80).partition('\n\n')[0]
  assert max(map(len, table.splitlines())) <= 80
  assert '--learning_rate=1' in table


def test_odd_names_in_the_csv(lister, tmp_path, capsys):
  names = ['a b', 'Grüße, "x"', "it's=1", '\udcff']
  for name in names:
    _make(tmp_path / 'runs' / name, flags={'dataset_dir': name})
  lister.FLAGS.csv = str(tmp_path / 'runs.csv')
  lister.main([str(tmp_path / 'runs')])
  with open(lister.FLAGS.csv, newline='', encoding='utf-8', errors='surrogateescape') as file:
    rows = list(csv.DictReader(file))
  assert sorted(row['directory'] for row in rows) == sorted(names)
  assert [row['dataset_dir'] for row in rows] == [row['directory'] for row in rows]
  assert {row['state'] for row in rows} == {'finished'} and rows[0]['seconds'] == '60'
  assert str(len(names)) in capsys.readouterr().out


def test_columns_are_distinct(lister):
  assert not {*lister._COLUMNS} & {*lister._OPTIONS}


def test_no_runs(lister, tmp_path, capsys):
  lister.main([str(tmp_path)])
  assert str(tmp_path) in capsys.readouterr().out
  lister.FLAGS.csv = str(tmp_path / 'runs.csv')
  lister.main([str(tmp_path)])
  assert len((tmp_path / 'runs.csv').read_text().splitlines()) == 1


@pytest.mark.parametrize(('arguments', 'target', 'words'), [
  ([], None, 'directory'), (['a', 'b'], None, 'a b'), (['/nowhere'], None, '/nowhere'),
  (['.'], '/nowhere/runs.csv', '--csv=/nowhere/runs.csv')])
def test_mistakes(lister, arguments, target, words):
  lister.FLAGS.csv = target
  with pytest.raises((ValueError, OSError), match=words):
    lister.main(arguments)


def test_program_needs_no_tensorflow(tmp_path):
  _make(tmp_path / 'run')
  code = ('import sys; sys.argv = ["list_runs.py", sys.argv[1]]; import runpy\n'
          'try: runpy.run_path("scripts/list_runs.py", run_name="__main__")\n'
          'except SystemExit as end: sys.exit(end.code or "tensorflow" in sys.modules)')
  found = subprocess.run([sys.executable, '-c', code, str(tmp_path)], cwd=_ROOT, text=True,
                         capture_output=True, check=False, env=os.environ | {'COLUMNS': '80'})
  assert found.returncode == 0, found.stderr
  assert 'finished' in found.stdout
