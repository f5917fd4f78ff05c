"""compare_networks.py from the command line to the best network, with random weights."""

from __future__ import annotations

import csv
import json
import pathlib
import shlex

import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import slim_zoo
from slim_zoo.comparison import measuring
from slim_zoo.features import extraction, formats, linear_classifiers


@pytest.fixture
def flags(photos, lenet, cifarnet, tmp_path):
  """The flags of a comparison of two networks."""
  return [f'--dataset_dir={photos}', f'--checkpoint_paths=cifarnet={cifarnet},{lenet}',
          f'--output_dir={tmp_path}/compared', '--regularization_strengths=0.01',
          '--cross_validation_folds=3', '--batch_size=16']


def _table(folder):
  with open(folder / 'compared.csv', newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def _features(folder, network):
  (path,) = folder.glob(f'networks/{network}-*/features.npz')
  return formats.read(path)


@pytest.mark.slow
def test_comparison(run_here, flags, photos, tmp_path):
  code, out, errors = run_here('compare_networks', *flags)
  assert code == 0, errors
  folder = tmp_path / 'compared'
  rows = {row['network']: row for row in _table(folder)}
  assert set(rows) == {'lenet', 'cifarnet'}
  for name, row in rows.items():
    features = _features(folder, name)
    expected = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000)),
        features.values.reshape(len(features.values), -1).astype(float), features.labels,
        cv=StratifiedKFold(3, shuffle=True, random_state=0))
    assert float(row['accuracy']) == pytest.approx((expected == features.labels).mean(), abs=0.04)
    assert float(row['accuracy_low']) < float(row['accuracy']) < float(row['accuracy_high'])
    assert (row['classes'], row['feature_width']) == ('3', str(features.values[0].size))
  winner = next(row['network'] for row in _table(folder) if row['note'] == 'best')
  assert winner == _table(folder)[0]['network']
  assert (folder / 'compared.png').stat().st_size > 1000

  # The checkpoint predicts what its head predicts on the features that were kept.
  features = _features(folder, winner)
  reader = tf.train.load_checkpoint(str(folder / 'best'))
  head = {name.rpartition('/')[2]: reader.get_tensor(name)
          for name in reader.get_variable_to_shape_map() if name.startswith('head/')}
  logits = features.values.reshape(len(features.values), -1) @ head['weights'] + head['biases']
  model = slim_zoo.load(folder / 'best')
  assert (model.name, model.class_names) == (winner, ['dark', 'grey', 'light'])
  images = model.preprocess([photos / name for name in features.names])
  np.testing.assert_allclose(model(images), logits, rtol=0, atol=1e-3)
  fitted = linear_classifiers.fit(
      features.values.reshape(len(features.values), -1), features.labels, strengths=[0.01],
      kind='logistic_regression')
  np.testing.assert_array_equal(head['weights'], fitted.weights)

  # The split that was held out is the default of an evaluation, whose command is printed.
  code, evaluated, errors = run_here('eval_image_classifier',
                                     f'--checkpoint_path={folder}/best')
  assert code == 0, errors
  assert "Split 'validation'" in evaluated
  commands = shlex.split(out[out.index('To evaluate it'):].replace('\\\n', ' '))
  assert '--dataset_split_name=validation' in commands


@pytest.mark.slow
def test_nothing_is_computed_twice(run_here, flags, tmp_path, monkeypatch):
  written, measured, fitted = [], [], []
  for module, name, calls in ((extraction, 'write', written), (measuring, 'measure', measured),
                              (linear_classifiers, 'cross_predict', fitted)):
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *arguments, original=original, calls=calls, **named: (
        calls.append(1), original(*arguments, **named))[1])
  assert run_here('compare_networks', *flags)[0] == 0
  table = (tmp_path / 'compared' / 'compared.csv').read_text(encoding='utf-8')
  checkpoint = tmp_path / 'compared' / 'best' / 'model.ckpt-0.index'
  before = checkpoint.stat().st_mtime_ns
  assert (len(written), len(measured), len(fitted)) == (2, 2, 2)
  assert run_here('compare_networks', *flags)[0] == 0
  assert (len(written), len(measured), len(fitted)) == (2, 2, 2)
  assert (tmp_path / 'compared' / 'compared.csv').read_text(encoding='utf-8') == table
  assert checkpoint.stat().st_mtime_ns == before
  # Other folds need other classifiers, but no other features.
  assert run_here('compare_networks', *flags, '--seed=1')[0] == 0
  assert (len(written), len(measured), len(fitted)) == (2, 2, 4)


@pytest.mark.slow
def test_same_seed_gives_the_same_accuracies(run_here, flags, lenet, tmp_path):
  flags, tables = [*flags, f'--checkpoint_paths={lenet}'], []
  for folder in ('one', 'two'):
    assert run_here('compare_networks', *flags, f'--output_dir={tmp_path}/{folder}')[0] == 0
    tables.append([{name: value for name, value in row.items()
                    if name not in ('ms_per_image', 'minutes')}
                   for row in _table(tmp_path / folder)])
  assert tables[0] == tables[1]


@pytest.mark.slow
def test_interrupted_comparison_continues(run_here, flags, tmp_path, monkeypatch):
  write = extraction.write

  def interrupted(extractor, path):
    if 'cifarnet' in path:
      raise KeyboardInterrupt
    write(extractor, path)

  with monkeypatch.context() as patch:
    patch.setattr(extraction, 'write', interrupted)
    with pytest.raises(KeyboardInterrupt):
      run_here('compare_networks', *flags)
  assert [row['network'] for row in _table(tmp_path / 'compared')] == ['lenet']
  code, out, _ = run_here('compare_networks', *flags)
  assert code == 0
  assert 'Found all' in out
  assert len(_table(tmp_path / 'compared')) == 2


@pytest.mark.slow
def test_network_that_does_not_fit_the_time_is_listed(run_here, flags, tmp_path, monkeypatch):
  def measure(extractor, build_seconds):
    is_slow = extractor.config.model.model_name == 'cifarnet'
    return measuring.Speed(7.0, 60.0 if is_slow else 0.001, 0.0)

  monkeypatch.setattr(measuring, 'measure', measure)
  code, out, errors = run_here('compare_networks', *flags)
  assert code == 0, errors
  first, second = _table(tmp_path / 'compared')
  assert (first['network'], first['note']) == ('lenet', 'best')
  count = len(_features(tmp_path / 'compared', 'lenet').values)
  assert second['network'] == 'cifarnet' and second['accuracy'] == ''
  assert second['note'] == f'not tried: needs about {count}.0 minutes'
  assert out.count(second['note']) == 2  # In the plan and in the table.
  assert second['ms_per_image'] == '7.000'
  # With more time, only this one is left to do.
  code, out, _ = run_here('compare_networks', *flags, '--minutes=1000')
  assert code == 0 and 'Found all' in out
  assert [row['accuracy'] for row in _table(tmp_path / 'compared') if not row['accuracy']] == []


def test_no_time_for_any_network(run_here, flags, tmp_path, monkeypatch):
  monkeypatch.setattr(measuring, 'measure', lambda *unused: measuring.Speed(7.0, 60.0, 0.0))
  code, _, errors = run_here('compare_networks', *flags, '--minutes=1')
  assert code == 1
  assert '--minutes=1' in errors and 'net (model.ckpt-0)' in errors
  assert not (tmp_path / 'compared' / 'compared.csv').exists()
  states = [json.loads(path.read_text()) for path in
            (tmp_path / 'compared').glob('networks/*/measured.json')]
  assert [state['speed']['latency_ms'] for state in states] == [7.0, 7.0]


def _few(folder, counts):
  """A folder with some images per class."""
  for name, count in counts.items():
    (folder / name).mkdir(parents=True)
    for number in range(count):
      (folder / name / f'{number}.png').write_bytes(tf.io.encode_png(
          np.full([8, 8, 3], number, np.uint8)).numpy())
  return folder


@pytest.mark.parametrize(('counts', 'more', 'named'), [
  ({'cat': 5}, [], ['two classes', 'cat']),
  ({'cat': 9, 'dog': 4, 'eel': 9}, [], ['--cross_validation_folds=5', 'dog (4)']),
  ({'cat': 9, 'dog': 9}, ['--regularization_strengths=a'], ['--regularization_strengths', 'a']),
  ({'cat': 9, 'dog': 9}, ['--regularization_strengths=0'], ['--regularization_strengths']),
  ({'cat': 9, 'dog': 9}, ['--output_dir={tmp_path}/photos/cat/0.png'], ['--output_dir']),
  ({'cat': 9, 'dog': 9}, ['--output_dir='], ['--output_dir', 'Received: none']),
  ({'cat': 9, 'dog': 9}, ['--checkpoint_paths=/gone'], ['/gone']),
  ({'cat': 9, 'dog': 9}, ['--dataset_dir=/gone'], ['/gone']),
])
def test_errors(run_here, lenet, tmp_path, counts, more, named):
  folder = _few(tmp_path / 'photos', counts)
  code, _, errors = run_here(
      'compare_networks', f'--dataset_dir={folder}', f'--checkpoint_paths={lenet}',
      f'--output_dir={tmp_path}/compared', '--validation_fraction=0',
      *[flag.format(tmp_path=tmp_path) for flag in more])
  assert code == 1
  assert [text for text in named if text not in errors] == []
  assert not list(tmp_path.glob('compared/networks/*/features*'))


def test_checkpoint_of_something_else_is_not_replaced(run_here, flags, lenet, tmp_path):
  best = tmp_path / 'compared' / 'best'
  best.mkdir(parents=True)
  for path in pathlib.Path(lenet).parent.iterdir():
    if path.is_file():
      (best / path.name).write_bytes(path.read_bytes())
  code, _, errors = run_here('compare_networks', *flags)
  assert code == 1
  assert str(best) in errors and '--output_dir' in errors
