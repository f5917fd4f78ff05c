"""The benchmark of transfer learning: its bookkeeping, and one run of the trainer."""

from __future__ import annotations

import csv
import json
import pathlib
import shutil
import types

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from preprocessing import preprocessing_factory
from slim_zoo.training import recorder


@pytest.fixture(scope='module')
def benchmark(program):
  return program('benchmark_transfer_learning')


@pytest.fixture(scope='module')
def pytorch(program):
  return program('benchmark_transfer_torch')


@pytest.fixture
def settings(benchmark, monkeypatch):
  """The flags, which tests can set."""
  values = types.SimpleNamespace(
    job='mobilenet_v1', dataset_dir='photos', checkpoint_path='weights', torch_python=None,
    contenders=None, rounds=1, epochs=5, uncached_epochs=None, pytorch_epochs=None, batch_size=2,
    image_size=32, checkpoint_channel_order=None, results='')
  monkeypatch.setattr(benchmark, 'FLAGS', values)
  return values


def _measured(benchmark, seconds, top_1, last_epoch):
  return benchmark.Measured(seconds, tuple(top_1), last_epoch, 'x 1')


def test_turns_alternate_and_warm_uses_the_cache_of_cold(benchmark, settings, monkeypatch):
  turns = []

  def train_here(cache, epochs, mode):
    is_warm = bool(turns) and turns[-1][2] == cache
    assert (cache / 'kept').exists() == is_warm
    (cache / 'kept').touch()
    turns.append((mode, epochs, cache))
    return _measured(benchmark, 1, [0.5] * epochs, 1)

  def train_in_torch(epochs, scratch):
    turns.append(('pytorch', epochs, None))
    return _measured(benchmark, 2, [0.5] * epochs, 1)

  monkeypatch.setattr(benchmark, 'train_here', train_here)
  monkeypatch.setattr(benchmark, 'train_in_torch', train_in_torch)
  settings.rounds, settings.uncached_epochs, settings.pytorch_epochs = 2, 3, 4
  found = benchmark.take_turns(['uncached', 'cached', 'pytorch'], pathlib.Path('unused'))
  assert [turn[:2] for turn in turns] == [
    ('off', 3), ('disk', 5), ('disk', 5), ('pytorch', 4),
    ('disk', 5), ('disk', 5), ('pytorch', 4), ('off', 3)]
  assert {name: len(runs) for name, runs in found.items()} == {
    'uncached': 2, 'cold': 2, 'warm': 2, 'pytorch': 2}
  caches = [cache for _, _, cache in turns if cache]
  assert caches[1] == caches[2] and caches[3] == caches[4]
  assert len(set(caches)) == 4 and not any(cache.exists() for cache in caches)


def test_time_of_omitted_epochs_is_that_of_the_last(benchmark):
  assert benchmark.total_seconds(_measured(benchmark, 50, [0.1, 0.2], 20), 2) == 50
  assert benchmark.total_seconds(_measured(benchmark, 50, [0.1, 0.2], 20), 30) == 50 + 28 * 20
  assert benchmark.total_seconds(_measured(benchmark, 50, [0.1], None), 1) == 50
  with pytest.raises(ValueError, match='two'):
    benchmark.total_seconds(_measured(benchmark, 50, [0.1], None), 2)


def test_rows(benchmark):
  found = {'uncached': [_measured(benchmark, 30, [0.5, 0.75], 10)],
           'cold': [_measured(benchmark, seconds, [0.5, top_1, 0.8], 1)
                    for seconds, top_1 in ((8, 0.7), (16, 0.6), (10, 0.75))]}
  first, second = benchmark.rows(found, {'job': 'x'}, 3)
  assert first == {'job': 'x', 'contender': 'uncached', 'seconds': '40.0',
                   'computed': 'epochs 3 to 3', 'times_faster': '1.00', 'top_1': '0.7500',
                   'common_epochs': 2, 'top_1_then': '0.7500', 'versions': 'x 1'}
  assert (second['seconds'], second['times_faster'], second['computed']) == ('10.0', '4.00', '')
  assert (second['top_1'], second['top_1_then']) == ('0.8000', '0.7000')


@pytest.mark.parametrize(('asked', 'job', 'torch_python', 'expected', 'said'), [
  (None, 'mobilenet_v1', None, ['uncached', 'cached'], 'PyTorch'),
  (None, 'mobilenet_v1', 'python', ['uncached', 'cached', 'pytorch'], ''),
  (None, 'vgg_16_fc', 'python', ['uncached', 'cached'], 'vgg_16_fc'),
  (['cached', 'uncached', 'cached'], 'vgg_16_pool', None, ['cached', 'uncached'], ''),
])
def test_choice_of_contenders(benchmark, asked, job, torch_python, expected, said, capsys):
  assert benchmark.choose(asked, job, torch_python) == expected
  assert said in capsys.readouterr().out


@pytest.mark.parametrize(('job', 'python'), [('mobilenet_v1', None), ('vgg_16_fc', 'python')])
def test_pytorch_that_cannot_run(benchmark, job, python):
  with pytest.raises(ValueError, match='--contenders=pytorch'):
    benchmark.choose(['pytorch'], job, python)


def test_folders_are_needed(benchmark, settings):
  settings.dataset_dir = None
  with pytest.raises(ValueError, match='--dataset_dir.*--checkpoint_path'):
    benchmark.main()


def test_validations_of_a_run(benchmark, tmp_path):
  records = recorder.Recorder(tmp_path, step=0)
  for step, top_1 in ((1, None), (2, 0.25), (4, 0.5)):
    records.scalars(step, {'validation_top_1': top_1, 'validation_loss': 1.0} if top_1
                    else {'loss': 1.0})
  records.close()
  top_1, times = benchmark.read_validations(tmp_path)
  assert top_1 == (0.25, 0.5)
  assert len(times) == 2 and times[0] <= times[1]


@pytest.mark.parametrize(('name', 'recipe'), [('read_inception', 'inception'), ('read_vgg', 'vgg')])
def test_pytorch_reads_the_same_images_as_the_trainer(pytorch, tmp_path, name, recipe):
  # Smooth, since Pillow resizes differently: half-pixel centres, antialiasing.
  y, x = np.mgrid[:260, :300].astype(np.float32)
  pixels = np.stack([y / 260, x / 300, (y + x) / 560], -1) * 255
  path = tmp_path / 'x.png'
  PIL.Image.fromarray(pixels.astype(np.uint8)).save(path)
  ours = preprocessing_factory.get_preprocessing(recipe)(path.read_bytes(), 224, 224).numpy()
  theirs = getattr(pytorch, name)(str(path), 224)
  assert theirs.shape == (3, 224, 224) and theirs.dtype == np.float32
  np.testing.assert_allclose(theirs.transpose(1, 2, 0), ours,
                             atol=np.ptp(ours) * 2 / 255)


def test_pytorch_layers_equal_ours(benchmark, pytorch):
  # As MobileNetV1's, in https://arxiv.org/abs/1704.04861, table 1.
  assert [depth for depth, _ in pytorch._MOBILENET] == [
    32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024]
  assert [i for i, (_, stride) in enumerate(pytorch._MOBILENET) if stride == 2] == [0, 2, 4, 6, 12]


@pytest.mark.thorough
def test_program(benchmark, settings, zoo_assets, tmp_path, capsys):
  for source in [path for folder in sorted((zoo_assets / 'flowers').iterdir())[:2]
                 for path in sorted(folder.iterdir())[:5]]:
    folder = tmp_path / 'photos' / source.parent.name
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, folder)
  settings.dataset_dir = str(tmp_path / 'photos')
  settings.checkpoint_path = str(zoo_assets / 'weights' / 'mobilenet_v1_1.0_224')
  settings.results, settings.contenders = str(tmp_path / 'rows.csv'), ['uncached']
  settings.epochs, settings.uncached_epochs = 5, 2
  benchmark.main()
  with open(settings.results, newline='') as file:
    row, = csv.DictReader(file)
  assert (row['contender'], row['computed'], row['times_faster']) == (
    'uncached', 'epochs 3 to 5', '1.00')
  assert float(row['seconds']) > 0 and 0 <= float(row['top_1']) <= 1
  assert f'tensorflow {tf.__version__}' in row['versions']
  assert 'computed: epochs 3 to 5' in capsys.readouterr().out


def test_inputs_for_pytorch(benchmark, zoo_assets, tmp_path):
  benchmark.write_weights(str(zoo_assets / 'weights' / 'mobilenet_v1_1.0_224'),
                          benchmark.JOBS['mobilenet_v1'], tmp_path / 'x.npz')
  with np.load(tmp_path / 'x.npz') as arrays:
    assert len(arrays.files) == 27 * 5 and not any('Logits' in name for name in arrays.files)
    assert arrays['MobilenetV1/Conv2d_0/weights'].shape == (3, 3, 3, 32)
  listed = json.loads(json.dumps(benchmark.list_examples(zoo_assets / 'flowers')))
  assert {split: len(examples) for split, examples in listed.items()} == {
    'train': 3318, 'validation': 352}
  path, label = listed['train'][-1]
  assert pathlib.Path(path).parent.name == 'tulips' and label == 4
