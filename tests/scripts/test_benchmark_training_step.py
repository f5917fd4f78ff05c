"""The benchmark of the training step: its bookkeeping, and its contenders on a tiny batch."""

from __future__ import annotations

import contextlib
import csv
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

SCRIPTS = pathlib.Path(__file__).parents[2] / 'scripts'
# A contender without a network: it prints fixed facts, then the number of steps as seconds.
ECHO = [sys.executable, '-c', """
import sys
print('{"trained": 1, "parameters": 2, "versions": "3"}', flush=True)
for line in sys.stdin:
  if line == '13\\n':
    raise RuntimeError('an unlucky number')
  print(float(line), flush=True)
"""]


@pytest.fixture(scope='module')
def benchmark(program):
  return program('benchmark_training_step')


@pytest.fixture(scope='module')
def contenders(program):
  return program('benchmark_contenders')


def test_worker_answers(benchmark):
  with contextlib.closing(benchmark.Worker('echo', ECHO, {})) as worker:
    assert worker.wait() == {'trained': 1, 'parameters': 2, 'versions': '3'}
    assert worker.seconds(5) == 5
    assert worker.seconds(7) == 7


def test_worker_that_ends_is_an_error_with_its_last_line(benchmark):
  with contextlib.closing(benchmark.Worker('echo', ECHO, {})) as worker:
    worker.wait()
    with pytest.raises(ChildProcessError, match='echo: .*code 1: RuntimeError: an unlucky number'):
      worker.seconds(13)
    with pytest.raises(ChildProcessError, match='an unlucky number'):
      worker.seconds(1)


class Recorder:
  """A worker that only records its turns."""

  def __init__(self, name, turns):
    self.name = name
    self._turns = turns

  def seconds(self, steps):
    self._turns.append(self.name)
    return 0.5 * steps * len(self._turns)


def test_turns_alternate(benchmark, monkeypatch):
  monkeypatch.setattr(benchmark, '_SETTLE_SECONDS', 0)
  turns = []
  seconds = benchmark.take_turns([Recorder(name, turns) for name in 'abc'], rounds=4, steps=3)
  assert ''.join(turns) == 'abc' 'bca' 'cab' 'abc'
  assert seconds == {'a': [0.5, 3, 4, 5], 'b': [1, 2, 4.5, 5.5], 'c': [1.5, 2.5, 3.5, 6]}


def test_images_per_second(benchmark):
  seconds = {'a': [1, 0.5, 4, 2, 8], 'b': [0.25]}
  rates = benchmark.images_a_second(seconds, 8)
  for name, values in seconds.items():
    np.testing.assert_allclose(rates[name], np.quantile(8 / np.array(values), [0.25, 0.5, 0.75]))


def test_rows(benchmark):
  rates = {'a': (7.0, 8.0, 9.0), 'b': (10.0, 12.04, 13.0)}
  first, second = benchmark.rows(rates, {'mode': 'all'}, {'a': 'x 1', 'b': 'y 2'})
  assert first == {'mode': 'all', 'contender': 'a', 'images_per_second': '8.0',
                   'lower_quartile': '7.0', 'upper_quartile': '9.0', 'ratio': '1.00',
                   'versions': 'x 1'}
  assert (second['images_per_second'], second['ratio']) == ('12.0', '1.50')
  assert second['versions'] == 'y 2'


def test_results_are_appended_under_one_header(benchmark, tmp_path):
  path = tmp_path / 'results' / 'rows.csv'
  append = benchmark.benchmark_results.append
  append(path, [{'a': '1', 'b': 'x, y'}])
  append(path, [{'a': '2', 'b': 'z'}, {'a': '3', 'b': ''}])
  with path.open(newline='') as file:
    assert list(csv.reader(file)) == [['a', 'b'], ['1', 'x, y'], ['2', 'z'], ['3', '']]
  before = path.read_bytes()
  with pytest.raises(ValueError, match=r"\['a', 'c'\].*\['a', 'b'\]"):
    append(path, [{'a': '4', 'c': 'z'}])
  assert path.read_bytes() == before


@pytest.mark.parametrize(('asked', 'torch_python', 'expected', 'is_reported'), [
  (None, None, ['tf_slim', 'slim_zoo', 'slim_zoo_xla'], True),
  (None, 'python', ['tf_slim', 'slim_zoo', 'slim_zoo_xla', 'pytorch'], False),
  (['pytorch', 'slim_zoo', 'pytorch'], 'python', ['pytorch', 'slim_zoo'], False),
  (['slim_zoo'], None, ['slim_zoo'], False),
])
def test_choice_of_contenders(benchmark, asked, torch_python, expected, is_reported, capsys):
  assert benchmark.choose(asked, torch_python) == expected
  assert ('PyTorch' in capsys.readouterr().out) == is_reported


def test_pytorch_needs_its_python(benchmark):
  with pytest.raises(ValueError, match='--torch_python'):
    benchmark.choose(['pytorch'], None)


def test_unequal_work_is_an_error(benchmark):
  benchmark.check_equal_work({'a': {'trained': 1, 'parameters': 2},
                              'b': {'trained': 1, 'parameters': 2}})
  with pytest.raises(ValueError, match=r"'a': \(1, 2\), 'b': \(2, 2\)"):
    benchmark.check_equal_work({'a': {'trained': 1, 'parameters': 2},
                                'b': {'trained': 2, 'parameters': 2}})


def test_unknown_mode(contenders):
  with pytest.raises(ValueError, match="all, head, inference.*'tail'"):
    contenders.Settings('tail', 1)


def test_batch_is_fixed(contenders):
  settings = contenders.Settings('all', 3, 200, 7)
  (images, labels), (again, _) = settings.batch(), settings.batch()
  assert images.shape == (3, 200, 200, 3)
  assert images.dtype == np.float32
  assert labels.dtype == np.int32
  assert -1 <= images.min() < -0.99 < 0.99 < images.max() < 1
  assert 0 <= labels.min() <= labels.max() < 7
  np.testing.assert_array_equal(images, again)


@pytest.mark.parametrize('mode', ['head', 'inference'])
@pytest.mark.parametrize('name', ['tf_slim', 'slim_zoo'])
@pytest.mark.filterwarnings('ignore:`layer.apply` is deprecated:UserWarning')  # tf-slim's layers.
def test_contender(contenders, name, mode):
  contender = contenders.CONTENDERS[name](contenders.Settings(mode, 2, 195, 3))
  contender.run(2)
  # Counted by hand: fc8; conv1 to conv5, fc6 and fc7 before it.
  head = 4096 * 3 + 3
  trunk = (11 * 11 * 3 + 1) * 64 + (25 * 64 + 1) * 192 + (9 * 192 + 1) * 384 + \
      (9 * 384 + 1) * 384 + (9 * 384 + 1) * 256 + (5 * 5 * 256 + 1) * 4096 + 4097 * 4096
  assert contender.parameters == trunk + head
  assert contender.trained == {'head': head, 'inference': 0}[mode]
  assert f'tensorflow {tf.__version__}' in contenders.versions(contender)


@pytest.mark.thorough
@pytest.mark.parametrize('mode', ['inference', 'all'])
def test_program(tmp_path, mode):
  path = tmp_path / 'rows.csv'
  command = [sys.executable, str(SCRIPTS / 'benchmark_training_step.py'), f'--results={path}',
             '--batch_size=2', '--image_size=195', '--num_classes=5', '--rounds=2', '--steps=1',
             f'--modes={mode}']
  ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
  assert ended.returncode == 0, ended.stderr
  assert 'PyTorch' in ended.stdout
  with path.open(newline='') as file:
    found = list(csv.DictReader(file))
  assert [(row['mode'], row['contender']) for row in found] == [
    (mode, 'tf_slim'), (mode, 'slim_zoo'), (mode, 'slim_zoo_xla')]
  assert all(float(row['images_per_second']) > 0 for row in found)
  assert found[0]['ratio'] == '1.00'


@pytest.mark.parametrize(('flag', 'message'), [
  ('--contenders=pytorch', '--torch_python'),
  ('surplus', "'surplus'"),
])
def test_mistakes_are_one_line(flag, message):
  command = [sys.executable, str(SCRIPTS / 'benchmark_training_step.py'), flag]
  ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
  assert ended.returncode == 1
  assert ended.stderr.startswith('Error: ') and message in ended.stderr
  assert ended.stderr.count('\n') == 1
