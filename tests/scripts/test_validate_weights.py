"""The program that evaluates published weights, with a server and evaluations of the test's own."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import sys
import tarfile

import pytest
import tensorflow as tf

from slim_zoo.config import command_line
from slim_zoo.weights.published_files import PUBLISHED_FILES, PublishedFile

sys.path.append(str(pathlib.Path(__file__).parents[1] / 'files'))

import file_server

_DIGITS = ['--dataset_name=digits', '--dataset_split_name=validation']


@pytest.fixture
def serve():
  """Starts a server: `serve(content, **behaviour) -> (address, log)`."""
  with file_server.servers() as start:
    yield start


def _checkpoint(folder: pathlib.Path, value: float) -> list[pathlib.Path]:
  """Writes a checkpoint of one variable; returns its files."""
  tf.raw_ops.SaveV2(prefix=str(folder / 'net.ckpt'), tensor_names=['LeNet/fc4/biases'],
                    shape_and_slices=[''], tensors=[tf.fill([10], value)])
  return sorted(folder.iterdir())


@pytest.fixture(scope='module')
def archive(tmp_path_factory) -> bytes:
  """A published archive."""
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w:gz') as file:
    for path in _checkpoint(tmp_path_factory.mktemp('net'), 1.0):
      file.add(path, path.name)
  return buffer.getvalue()


@pytest.fixture
def run(program, monkeypatch, tmp_path):
  """Calls the program; every evaluation finds 70% and 90%, or fails with `run.reasons[weights]`.

  `run.evaluated` lists the weights that were evaluated, and `run.flags` has the last flags.
  """
  module = program('validate_weights')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))

  def run_evaluation(flags):
    call.flags = dict(flag.removeprefix('--').split('=', 1) for flag in flags)
    call.evaluated.append(call.flags['checkpoint_path'])
    (pathlib.Path(call.flags['eval_dir']) / 'eval.json').write_text(
      json.dumps({'count': 164, 'top_1': 0.7, 'top_5': 0.9}))
    return call.reasons.get(call.flags['checkpoint_path'], '')

  def call(*flags) -> int:
    return command_line.call(module.main, module.OPTIONS,
                             [f'--output_path={tmp_path}/rows.csv', *_DIGITS, *flags])

  def rows() -> list[dict[str, str]]:
    with (tmp_path / 'rows.csv').open(newline='') as file:
      return list(csv.DictReader(file))

  monkeypatch.setattr(module, 'run_evaluation', run_evaluation)
  call.evaluated, call.reasons, call.rows = [], {}, rows
  return call


@pytest.fixture
def publish(serve, monkeypatch, archive):
  """Adds an entry to the list of published files: `publish(name, **behaviour and facts)`."""
  def add(name, *, status=None, content=archive, **facts):
    address, _ = serve(content, status=status)
    known = {'classes': 10, 'preprocessing': 'lenet', 'image_size': 28, **facts}
    monkeypatch.setitem(PUBLISHED_FILES, name,
                        PublishedFile('lenet', f'{address}/{name}.tgz', **known))

  return add


def test_a_row_has_what_was_measured(run, publish, capsys):
  publish('tiny', top_1=70.2, top_5=89.9)
  assert run('--weights=tiny', '--batch_size=50') == 0
  assert {'batch_size': '50', 'dataset_name': 'digits'}.items() <= run.flags.items()
  assert 'weights' not in run.flags
  row, = run.rows()
  assert [row[name] for name in ('weights', 'network', 'image_size', 'images', 'reason')] == [
    'tiny', 'lenet', '28', '164', '']
  assert [row[name] for name in (
    'published_top_1', 'published_top_5', 'top_1', 'top_5', 'difference_top_1', 'difference_top_5',
  )] == ['70.2', '89.9', '70.000', '90.000', '-0.200', '+0.100']
  assert '28×28' in row['geometry']
  assert float(row['images_per_second']) > 0
  assert all(row[name] for name in ('date', 'digest', 'fingerprint'))
  last = capsys.readouterr().out.splitlines()[-1]
  assert 'tiny' in last and '-0.200' in last


def test_what_is_measured_is_not_measured_again(run, publish, capsys):
  publish('tiny')
  assert run('--weights=tiny') == 0
  publish('tiny', top_1=69.9)  # Found out later.
  assert run('--weights=tiny', '--batch_size=50') == 0
  assert run.evaluated == ['zoo:tiny']
  assert len(run.rows()) == 1
  assert '+0.100' in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize('changed', ['images', 'weights', 'geometry'])
def test_another_measurement_is_another_row(run, publish, changed, tmp_path):
  publish('tiny')
  assert run('--weights=tiny') == 0
  if changed == 'geometry':
    publish('tiny', preprocessing='vgg')
  if changed == 'weights':
    _checkpoint(tmp_path / 'cache/slim_zoo/weights/tiny/unpacked', 2.0)
  flags = ['--dataset_split_name=train'] if changed == 'images' else []
  assert run('--weights=tiny', *flags) == 0
  first, second = run.rows()
  column = {'images': 'fingerprint', 'weights': 'digest'}.get(changed, changed)
  same = {'fingerprint', 'digest', 'geometry'} - {column}
  assert first[column] != second[column]
  assert [first[name] for name in same] == [second[name] for name in same]


@pytest.mark.parametrize(('facts', 'code'), [
  ({'top_1': 70.3}, 0), ({'top_1': 69.7}, 0), ({'top_1': 70.31}, 1), ({'top_1': 69.69}, 1),
  ({'top_1': 70.0, 'top_5': 90.4}, 1)])
def test_tolerance(run, publish, capsys, facts, code):
  publish('tiny', **facts)
  publish('tiny_good', top_1=70.1, top_5=90.0)
  assert run('--weights=tiny*') == code
  errors = capsys.readouterr().err
  assert ('tiny: ' in errors) == bool(code)
  assert 'tiny_good' not in errors
  assert run('--weights=tiny*', '--tolerance=0.5') == 0


def test_weights_that_cannot_be_had_stop_nothing(run, publish):
  publish('tiny_1', status=404)
  publish('tiny_2', content=b'<html>sign in</html>')
  publish('tiny_3')
  publish('tiny_4', classes=None)  # Without the classifier.
  assert run('--weights=tiny_*') == 0
  rows = run.rows()
  assert [row['weights'] for row in rows] == ['tiny_1', 'tiny_2', 'tiny_3']
  assert [bool(row['reason']) for row in rows] == [True, True, False]
  assert [bool(row['top_1']) for row in rows] == [False, False, True]
  assert '404' in rows[0]['reason'] and '\n' not in rows[0]['reason']
  assert run('--weights=tiny_*') == 0
  assert run.rows() == rows  # What fails in the same way is not noted again.
  publish('tiny_1')  # It is tried again, and only it.
  assert run('--weights=tiny_1,tiny_3') == 0
  assert run.evaluated == ['zoo:tiny_3', 'zoo:tiny_1']


def test_nothing_measured(run, publish, capsys):
  publish('tiny', status=404)
  assert run('--weights=tiny') == 1
  assert 'tiny' in capsys.readouterr().err


def test_an_evaluation_that_fails_stops_nothing(run, publish, capsys):
  for name in ('tiny_1', 'tiny_2'):
    publish(name)
  run.reasons = {'zoo:tiny_1': 'code -9: Killed'}
  assert run('--weights=tiny_*') == 1
  assert 'tiny_1' in capsys.readouterr().err
  first, second = run.rows()
  assert 'code -9' in first['reason'] and not first['top_1'] and second['top_1']
  run.reasons = {}
  assert run('--weights=tiny_*') == 0
  assert run.evaluated == ['zoo:tiny_1', 'zoo:tiny_2', 'zoo:tiny_1']


def test_weights_at_hand(run, tmp_path, monkeypatch):
  (tmp_path / 'mine').mkdir()
  _checkpoint(tmp_path / 'mine', 1.0)
  monkeypatch.chdir(tmp_path)
  run('--checkpoint_path=mine/net.ckpt')  # Nothing tells the network.
  assert '--model_name' in run.rows()[0]['reason']
  assert run('--checkpoint_path=mine/net.ckpt', '--model_name=lenet') == 0
  assert run.flags['checkpoint_path'] == str(tmp_path / 'mine' / 'net.ckpt')
  assert run.flags['model_name'] == 'lenet'
  row = run.rows()[1]
  assert (row['weights'], row['network'], row['published_top_1']) == ('net.ckpt', 'lenet', '')


@pytest.mark.parametrize(('flags', 'named'), [
  (['--weights=mobilenet_v1_1.0_225'], 'mobilenet_v1_1.0_224'),
  (['--weights=keras_vgg16_notop'], '--weights'), (['--weights=,'], '--weights'),
  (['--weights=tiny', '--dataset_name=digitz'], 'digits')])
def test_mistakes(run, publish, flags, named):
  publish('tiny')
  with pytest.raises(ValueError, match=named):
    run(*flags)
  assert not run.evaluated


@pytest.mark.thorough
def test_an_evaluation_is_a_process_of_its_own(program, capfd, tmp_path):
  reason = program('validate_weights').run_evaluation(
    [f'--checkpoint_path={tmp_path}/none', f'--eval_dir={tmp_path}'])
  assert reason.startswith('code 1: Error: ') and f'{tmp_path}/none' in reason
  assert reason.partition(': ')[2] in capfd.readouterr().err
