"""The benchmark: its bookkeeping, and its contenders on a tiny batch."""

from __future__ import annotations

import contextlib
import csv
import math
import pathlib
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from nets import nets_factory

SCRIPTS = pathlib.Path(__file__).parents[2] / 'scripts'
# A contender without a network: it prints fixed facts, then the number of steps as seconds.
ECHO = [sys.executable, '-c', """
import sys
print('{"parameters": 2, "versions": "3"}', flush=True)
for line in sys.stdin:
  if line == '13\\n':
    raise RuntimeError('an unlucky number')
  print('{"seconds": %s, "peak_bytes": 7}' % line.strip(), flush=True)
"""]


@pytest.fixture(scope='module')
def benchmark(program):
  return program('benchmark')


@pytest.fixture(scope='module')
def contenders(program):
  return program('benchmark_contenders')


def test_worker_answers(benchmark):
  with contextlib.closing(benchmark.Worker('echo', ECHO, {})) as worker:
    assert worker.wait() == {'parameters': 2, 'versions': '3'}
    assert worker.seconds(5) == 5
    assert worker.seconds(7) == 7
    assert worker.peak_bytes == 7


def test_worker_that_ends_is_an_error_with_its_last_line(benchmark):
  with contextlib.closing(benchmark.Worker('echo', ECHO, {})) as worker:
    worker.wait()
    with pytest.raises(ChildProcessError, match='echo: .*code 1: RuntimeError: an unlucky number'):
      worker.seconds(13)
    with pytest.raises(ChildProcessError, match='an unlucky number'):
      worker.seconds(1)


class Recorder:
  """A worker that only records its turns; a step takes `pace` seconds."""

  def __init__(self, name, turns, pace):
    self.name, self._turns, self._pace = name, turns, pace

  def seconds(self, steps):
    self._turns.append((self.name, steps))
    return steps * self._pace


def test_turns_alternate_and_last_about_the_same_time(benchmark, monkeypatch):
  monkeypatch.setattr(benchmark, '_SETTLE_SECONDS', 0)
  turns = []
  paces = {'a': 0.5, 'b': 0.1, 'c': 9}
  seconds = benchmark.take_turns(
    [Recorder(name, turns, pace) for name, pace in paces.items()], rounds=4)
  assert ''.join(name for name, _ in turns) == 'abc' 'abc' 'bca' 'cab' 'abc'
  assert set(turns[3:]) == {('a', 4), ('b', 20), ('c', 1)}
  for name, pace in paces.items():
    np.testing.assert_allclose(seconds[name], [pace] * 4)


@pytest.mark.parametrize('seconds', [[1, 0.5, 4, 2, 8], [0.25]])
def test_images_per_second(benchmark, seconds):
  np.testing.assert_allclose(benchmark.images_a_second(seconds, 8),
                             np.quantile(8 / np.array(seconds), [0.25, 0.5, 0.75]))


def test_rows(benchmark):
  fact = {'parameters': 5, 'seconds_to_start': 1.234, 'seconds_of_first_step': 9,
          'versions': 'x 1', 'peak_bytes': 2**30}
  first, second = benchmark.rows(
    {'ours': [0.5, 0.5], 'roof': [0.25, 0.5, 0.25]}, {'ours': fact, 'roof': fact},
    {'mode': 'training', 'batch_size': 8})
  assert first == {'mode': 'training', 'batch_size': 8, 'contender': 'ours',
                   'images_per_second': '16.0', 'lower_quartile': '16.0', 'upper_quartile': '16.0',
                   'ours_to_this': '1.000', 'parameters': 5, 'seconds_to_start': '1.23',
                   'seconds_of_first_step': '9.00', 'peak_mib': 1024, 'versions': 'x 1'}
  assert (second['images_per_second'], second['ours_to_this']) == ('32.0', '0.500')
  assert (second['lower_quartile'], second['upper_quartile']) == ('24.0', '32.0')


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


@pytest.mark.parametrize('network, options, expected', [
  ('vgg_16', {}, ['torch', 'keras', 'tf_slim']), ('alexnet_v2', {}, ['tf_slim']), ('lenet', {}, []),
  ('vgg_16', {'dtype': 'bfloat16'}, ['torch', 'keras']), ('vgg_16', {'xla': True}, ['keras'])])
def test_choice_of_contenders(benchmark, contenders, network, options, expected):
  settings = contenders.Settings(network, 'training', 1, 224, **options)
  assert benchmark.contenders_of(settings, ['torch', 'keras', 'tf_slim', 'torch']) == [
    'ours', 'roof', *expected]


def test_contenders_of_the_input_pipeline(benchmark, contenders):
  settings = contenders.Settings('vgg_16', 'input', 1, 224)
  assert benchmark.contenders_of(settings, ['torch_compile', 'torch', 'tf_slim', 'keras']) == [
    'ours', 'roof', 'torch', 'keras']


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp('photos')
  for number in range(6):
    path = folder / f'class_{number % 2}' / f'{number}.jpg'
    path.parent.mkdir(exist_ok=True)
    PIL.Image.new('RGB', (60, 50), (40 * number, 0, 0)).save(path)
  return folder


@pytest.mark.parametrize('augmentation', ['none', 'rand_augment'])
@pytest.mark.parametrize('name', ['ours', 'roof', pytest.param('keras', marks=pytest.mark.slow)])
def test_input_pipelines(contenders, photos, name, augmentation):
  contender = contenders.build(name, contenders.Settings(
    'resnet50_torchvision', 'input', 2, 32, folder=str(photos), augmentation=augmentation))
  contender.run(5)  # More than an epoch.
  assert 'tensorflow' in contenders.versions(contender)


def test_description_of_photos(benchmark, photos, tmp_path):
  size = (photos / 'class_0' / '0.jpg').stat().st_size
  assert benchmark.describe(str(photos)) == f'6 of {size / 1e3:.0f} kB'
  with pytest.raises(ValueError, match='--folder='):
    benchmark.describe(str(tmp_path))


def test_names_of_others_belong_to_our_networks(contenders):
  for names in contenders.NETWORKS.values():
    assert set(names) <= set(nets_factory.list_nets())


def test_keras_has_its_networks(contenders):
  keras = pytest.importorskip('keras')
  for name in contenders.NETWORKS['keras'].values():
    assert callable(getattr(keras.applications, name))


def test_unknown_mode(contenders):
  with pytest.raises(ValueError, match="training, inference.*'tail'"):
    contenders.Settings('lenet', 'tail', 1, 28)


def test_batch_is_fixed(contenders):
  settings = contenders.Settings('lenet', 'training', 3, 200, channels=1)
  (images, labels), (again, _) = settings.batch(), settings.batch()
  assert images.shape == (3, 200, 200, 1)
  assert images.dtype == np.float32
  assert labels.dtype == np.int32
  assert -1 <= images.min() < -0.99 < 0.99 < images.max() < 1
  assert 0 <= labels.min() <= labels.max() < 1000
  np.testing.assert_array_equal(images, again)


@pytest.mark.parametrize('mode', ['training', 'inference'])
@pytest.mark.parametrize('name', ['ours', 'roof'])
@pytest.mark.parametrize('network, size, channels', [('lenet', 28, 1), ('mobilenet_v1_025', 32, 3)])
def test_contender(contenders, name, mode, network, size, channels):
  contender = contenders.CONTENDERS[name](
    contenders.Settings(network, mode, 2, size, channels))
  contender.run(2)
  net = nets_factory.build_network(network, image_shape=[size, size, channels], num_classes=1000,
                                   is_restored=True)
  assert contender.parameters == sum(math.prod(net.variables[name].shape)
                                     for name in net.trainable)
  assert f'tensorflow {tf.__version__}' in contenders.versions(contender)


@pytest.mark.parametrize('mode', ['training', 'inference'])
def test_the_roof_has_every_layer_and_its_gradients(contenders, mode, monkeypatch):
  settings = contenders.Settings('mobilenet_v1_025', mode, 2, 32)
  counts, own = [], []
  layer = contenders._layer

  def counted(operation, arrays, **options):
    results = list(layer(operation, arrays, **options))
    shapes = [tuple(array.shape) for array in arrays]
    assert [tuple(result.shape) for result in results] == [
      shapes[2], shapes[0], shapes[1]][:len(results)]
    counts.append((operation.type, len(results)))
    own.extend(array.name for array in arrays[1:])
    return results

  monkeypatch.setattr(contenders, '_layer', counted)
  contenders.CONTENDERS['roof'](settings).run(1)
  results = 3 if mode == 'training' else 1
  # 14 convolutions, 13 depthwise ones, and the classifier; on one pixel they are matrix products.
  assert len(counts) == 28
  assert counts.count(('DepthwiseConv2dNative', results)) == 13
  assert {kind for kind, _ in counts} == {'Conv2D', 'DepthwiseConv2dNative', 'MatMul'}
  assert {number for _, number in counts} == {results}
  assert len(set(own)) == 2 * 28  # Layers with the same numbers would be computed once.


@pytest.mark.thorough
@pytest.mark.parametrize('name, network', [('keras', 'mobilenet_v1'), ('tf_slim', 'alexnet_v2')])
@pytest.mark.parametrize('mode', ['training', 'inference'])
@pytest.mark.filterwarnings('ignore:`layer.apply` is deprecated:UserWarning')  # tf-slim's layers.
def test_contenders_of_others(contenders, name, network, mode):
  settings = contenders.Settings(network, mode, 2, 224)
  contender = contenders.CONTENDERS[name](settings)
  contender.run(2)
  net = nets_factory.build_network(network, image_shape=[224, 224, 3], num_classes=1000,
                                   is_restored=True)
  assert contender.parameters == sum(math.prod(net.variables[name].shape)
                                     for name in net.trainable)


def test_program(benchmark, tmp_path):
  path = tmp_path / 'rows.csv'
  command = [sys.executable, str(SCRIPTS / 'benchmark.py'), f'--results={path}', '--networks=lenet',
             '--modes=inference', '--batch_sizes=2', '--rounds=1', '--on_cpu']
  for _ in range(2):  # The second time measures nothing.
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert ended.returncode == 0, ended.stderr
    with path.open(newline='') as file:
      found = list(csv.DictReader(file))
    assert [(row['mode'], row['contender']) for row in found] == [
      ('inference', 'ours'), ('inference', 'roof')]
  assert all(float(row['images_per_second']) > 0 for row in found)
  assert found[0]['ours_to_this'] == '1.000'
  assert len(benchmark.measured(path)) == 2


@pytest.mark.parametrize(('flag', 'message'), [
  ('--against=torch', '--torch_python'),
  ('surplus', "'surplus'"),
])
def test_mistakes_are_one_line(flag, message):
  command = [sys.executable, str(SCRIPTS / 'benchmark.py'), flag]
  ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
  assert ended.returncode == 1
  assert ended.stderr.startswith('Error: ') and message in ended.stderr
  assert ended.stderr.count('\n') == 1
