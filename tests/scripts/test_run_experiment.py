"""The program that runs the classic experiments, with small commands instead of theirs."""

from __future__ import annotations

import csv
import pathlib
import types

import numpy as np
import pytest

from slim_zoo.features import features, formats, npz

_METRICS = 'step,loss,validation_top_1\n1,0.5,\n2,,0.5\n3,,0.75\n4,,0.625\n'


@pytest.fixture
def experiments(program, monkeypatch, tmp_path):
  """The program, with flags set by tests, and commands that only write a metrics.csv."""
  module = program('run_experiment')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  (tmp_path / 'cache/slim_zoo/weights/zoo_net').mkdir(parents=True)
  (tmp_path / 'cache/slim_zoo/features').mkdir()
  monkeypatch.setattr(module, 'FLAGS', types.SimpleNamespace(
    experiment='mobilenet_v1_on_flowers', data='photos', weights='zoo:weights', missing=None,
    checkpoint_channel_order='rgb', results=str(tmp_path / 'rows.csv')))
  module.seen = []

  def run_command(words, cache):
    module.seen.append(words)
    assert (cache / 'slim_zoo/weights/zoo_net').is_dir()
    assert [path.name for path in (cache / 'slim_zoo').iterdir()] == ['weights']
    run = next(word.partition('=')[2] for word in words if word.startswith('--train_dir='))
    folder = pathlib.Path(run) / 'phase_2'
    folder.mkdir(parents=True)
    seed = next(word for word in words if word.startswith('--seed='))
    (folder / 'metrics.csv').write_text(_METRICS.replace('0.75', f'0.75{seed[-1]}'))
    return 'on 1,000 examples\nvalidation: on 352 examples (best so far)\n', 10.0

  monkeypatch.setattr(module, 'run_command', run_command)
  return module


def _rows(experiments) -> list[dict[str, str]]:
  with open(experiments.FLAGS.results, newline='') as file:
    return list(csv.DictReader(file))


def test_row_has_the_results_of_every_seed(experiments):
  experiments.main()
  row, = _rows(experiments)
  assert [row[name] for name in ('seeds', 'last', 'last_mean', 'last_deviation', 'seconds')] == [
    '0 1 2', '0.6250 0.6250 0.6250', '0.6250', '0.0000', '30']
  assert [row[name] for name in ('best', 'best_mean', 'best_deviation', 'tested_on')] == [
    '0.7500 0.7510 0.7520', '0.7510', '0.0010', '352']
  assert row['command'].endswith('--checkpoint_channel_order=rgb') and not row['missing']
  for words in experiments.seen:
    assert {'--checkpoint_path=zoo:weights', '--checkpoint_channel_order=rgb'} <= set(words)


def test_unavailable_data_are_recorded_in_a_row(experiments):
  experiments.FLAGS.missing, experiments.FLAGS.experiment = "GTSRB's train.p", 'alexnet_on_gtsrb'
  experiments.FLAGS.data = experiments.FLAGS.weights = None
  experiments.main()
  row, = _rows(experiments)
  assert (row['missing'], row['last'], row['seconds']) == ("GTSRB's train.p", '', '')
  assert not experiments.seen


def test_mistakes(experiments, program, tmp_path):
  experiments.FLAGS.data = None
  with pytest.raises(ValueError, match='zoo:weights(.|\n)*vgg_16_codes'):
    experiments.main()
  assert not pathlib.Path(experiments.FLAGS.results).exists()


def test_failing_program_stops_the_experiment(program, tmp_path, capfd):
  module = program('run_experiment')
  with pytest.raises(ChildProcessError, match=r'list_networks.py.* 1\b'):
    module.run_command(['list_networks.py', 'stray'], tmp_path)
  assert '$ python list_networks.py stray' in capfd.readouterr().out


def test_features_are_split_by_class_and_seed(program, monkeypatch, tmp_path):
  module = program('experiments.split_features')
  labels = np.repeat([0, 1], [60, 40])
  whole = features.Features(np.arange(100, dtype=np.float32)[:, None], labels,
                            tuple(f'{i}.jpg' for i in range(100)), ('a', 'b'), {})
  npz.write(tmp_path / 'all.npz', whole)
  tested = []
  for seed in (0, 1):
    monkeypatch.setattr(module, 'FLAGS', types.SimpleNamespace(
      features=str(tmp_path / 'all.npz'), seed=seed, fraction=0.1, output_dir=str(tmp_path / 'to')))
    module.main()
    train, test = (formats.read(tmp_path / 'to' / f'{name}.npz') for name in ('train', 'test'))
    np.testing.assert_array_equal(np.bincount(test.labels), [6, 4])
    np.testing.assert_array_equal(np.sort(np.concatenate([train.values, test.values]).ravel()),
                                  np.arange(100))
    for part in (train, test):
      assert part.names == tuple(f'{value:.0f}.jpg' for value in part.values[:, 0])
    tested.append(test.names)
  assert tested[0] != tested[1]


@pytest.mark.parametrize('suffix', ['txt', 'csv'])
def test_list_of_a_folders_images(program, monkeypatch, tmp_path, suffix):
  from datasets import dataset_factory
  module = program('experiments.write_list')
  for name in ('b/1.jpg', 'b/2.jpg', 'a/1.jpg'):
    path = tmp_path / 'photos' / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'image')
  path = tmp_path / 'lists' / f'train.{suffix}'
  monkeypatch.setattr(module, 'FLAGS', types.SimpleNamespace(
    dataset_dir=str(tmp_path / 'photos'), output_path=str(path)))
  module.main()
  found = dataset_factory.get_dataset('csv', 'train', str(path), validation_fraction=0)
  assert found.class_names == (('0', '1') if suffix == 'txt' else ('a', 'b'))
  assert [pathlib.Path(file).parts[-2:] for file in found.examples.files] == [
    ('a', '1.jpg'), ('b', '1.jpg'), ('b', '2.jpg')]
  np.testing.assert_array_equal(found.labels, [0, 1, 1])
