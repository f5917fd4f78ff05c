"""train_on_features.py, run in this process."""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import pickle
import re

import numpy as np
import pytest
import scipy.special
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score

from nets import nets_factory
from slim_zoo.config import command_line
from slim_zoo.features import linear_classifiers
from slim_zoo.training import checkpoints


def run(program: str, *arguments: str) -> str:
  """Runs a program's main; returns its output."""
  module, printed = importlib.import_module(program), io.StringIO()
  with contextlib.redirect_stdout(printed):
    assert not command_line.call(module.main, module.OPTIONS, [*arguments],
                                 retired=getattr(module, 'RETIRED', None))
  return printed.getvalue()


def _blobs(path, count=60, seed=0, shape=(4,), classes=3, labels=None):
  """A pickle of features around one point per class, which slightly overlap."""
  random = np.random.default_rng(seed)
  labels = np.arange(count) % classes if labels is None else labels
  centres = np.random.default_rng(9).normal(size=[classes, *shape])
  values = centres[labels] + 0.7 * random.normal(size=[count, *shape])
  path.write_bytes(pickle.dumps({'features': values.astype(np.float32), 'labels': labels}))
  return values.astype(np.float32), labels


def _content(folder) -> dict[str, np.ndarray]:
  reader = tf.train.load_checkpoint(str(folder))
  return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


@pytest.mark.parametrize('weights', ['none', 'balanced'])
def test_softmax_finds_the_optimum_of_scikit_learn(tmp_path, weights):
  values, labels = _blobs(tmp_path / 'train.p', labels=np.minimum(np.arange(60) % 8, 2))
  other, other_labels = _blobs(tmp_path / 'validation.p', seed=1)
  out = run('train_on_features', f'--training_file={tmp_path}/train.p',
            f'--validation_file={tmp_path}/validation.p', f'--train_dir={tmp_path}/run',
            f'--class_weights={weights}', '--batch_size=60', '--epochs=160',
            '--optimizer=momentum', '--learning_rate=0.5',
            '--learning_rate_decay_type=fixed', '--weight_decay=0.01',
            '--validation_interval_epochs=80')
  found = _content(tmp_path / 'run' / 'head')
  # Our objective is the mean loss, scikit-learn's C times the sum.
  expected = LogisticRegression(C=1 / (0.01 * 60), tol=1e-8, max_iter=1000, class_weight={
      'none': None}.get(weights, weights)).fit(values, labels)
  weights, biases = found['head/fc1/weights'], found['head/fc1/biases']
  assert weights == pytest.approx(expected.coef_.T, abs=2e-3)
  assert scipy.special.softmax(values @ weights + biases, 1) == pytest.approx(
      expected.predict_proba(values), abs=2e-3)
  # The lines have scikit-learn's accuracy on both splits.
  assert f'validation at step 160: top-1 {expected.score(other, other_labels):.4f}' in out
  last = next(line for line in out.splitlines() if line.startswith('step 160/160: epoch 160.00'))
  assert f'accuracy {expected.score(values, labels):.4f}' in last
  assert len(re.findall(r'^step ', out, re.MULTILINE)) == 160  # One line per epoch.
  recalls = recall_score(other_labels, expected.predict(other), average=None)
  assert re.findall(r'^(\d) +(\d+) +([01]\.\d+)$', out, re.MULTILINE) == [
      (str(label), '20', f'{recall:.4f}') for label, recall in enumerate(recalls)]
  with open(tmp_path / 'run' / 'metrics.csv', newline='') as file:
    assert [row['step'] for row in csv.DictReader(file) if row['validation_loss']] == [
        '80', '160']


def test_linear_classifiers_with_class_weights(tmp_path):
  values, labels = _blobs(tmp_path / 'train.p', labels=np.minimum(np.arange(60) % 8, 2))
  _blobs(tmp_path / 'validation.p', seed=1, count=30)
  out = run('train_on_features', f'--training_file={tmp_path}/train.p',
            f'--validation_file={tmp_path}/validation.p', f'--train_dir={tmp_path}/run',
            '--classifier=logistic_regression', '--regularization_strengths=0.1',
            '--class_weights=balanced')
  expected = linear_classifiers.fit(values, labels, kind='logistic_regression', strengths=[0.1],
                                    is_balanced=True)
  found = _content(tmp_path / 'run' / 'head')
  assert np.array_equal(found['head/fc1/weights'], expected.weights)
  (mean,) = re.findall(r'validation: .* mean recall (.*?),', out)
  recalls = re.findall(r'^\d +10 +([01]\.\d+)$', out, re.MULTILINE)
  assert len(recalls) == 3
  assert np.mean([*map(float, recalls)]) == pytest.approx(float(mean), abs=1e-4)


def test_resumed_run_is_bit_identical(tmp_path):
  _blobs(tmp_path / 'train.p', shape=(2, 2, 5), count=100)
  flags_ = [f'--training_file={tmp_path}/train.p', '--head=pool,fc:8,dropout:0.5,fc',
            '--batch_size=16']
  for folder, steps in (('whole', [15]), ('parts', [4, 15])):
    for last in steps:
      out = run('train_on_features', *flags_, f'--train_dir={tmp_path}/{folder}',
                f'--max_number_of_steps={last}')
  assert f'{tmp_path}/parts/head/model.ckpt-4 at step 4' in out
  whole, parts = (_content(tmp_path / folder / 'head') for folder in ('whole', 'parts'))
  assert whole.keys() == parts.keys()
  assert [name for name in whole if not np.array_equal(whole[name], parts[name])] == []
  out = run('train_on_features', *flags_, f'--train_dir={tmp_path}/parts',
            '--max_number_of_steps=15')
  assert re.search('finished.* step 15', out)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A folder of 20 noisy images of each of three brightnesses."""
  folder, random = tmp_path_factory.mktemp('photos'), np.random.default_rng(0)
  for name, brightness in (('dark', 50), ('grey', 120), ('light', 190)):
    (folder / name).mkdir()
    for number in range(20):
      pixels = brightness + random.integers(-50, 50, [20, 20, 1])
      (folder / name / f'{number}.png').write_bytes(
          tf.io.encode_png(np.tile(pixels, 3).astype(np.uint8)).numpy())
  return folder


@pytest.fixture(scope='module')
def trunk(tmp_path_factory):
  """A checkpoint of a network with random weights."""
  return _save_lenet(tmp_path_factory.mktemp('trunk'), seed=3)


def _save_lenet(folder, seed: int) -> str:
  network = nets_factory.build_network('lenet', num_classes=12, image_shape=[28, 28, 3], seed=seed)
  values = {name: variable.read_value() for name, variable in network.variables.items()}
  return checkpoints.save(folder, 0, values, metadata={'model_name': 'lenet'}, max_to_keep=1)


@pytest.fixture(scope='module')
def extracted(trunk, photos, tmp_path_factory):
  """The flags for the features of all photos, some of which are held out."""
  path = tmp_path_factory.mktemp('features') / 'all.npz'
  run('extract_features', f'--checkpoint_path={trunk}', '--dataset_name=folder',
      f'--dataset_dir={photos}', '--end_point=pool2', '--validation_fraction=0',
      f'--output_path={path}')
  return [f'--training_file={path}', '--validation_fraction=0.3']


@pytest.mark.parametrize(('flags_', 'measured'), [
  (['--head=pool,fc:32,fc', '--epochs=20', '--learning_rate=0.01'],
   r'validation at step .*: top-1 (.*?), .* loss (.*?) on'),
  (['--classifier=linear_svm', '--regularization_strengths=0.01'],
   'validation: top-1 (.*?), .* loss (.*?) on'),
])
def test_exported_network_evaluates_like_the_head(extracted, photos, tmp_path, flags_, measured):
  out = run('train_on_features', *extracted, f'--train_dir={tmp_path}/run', *flags_)
  shown = [float(number) for number in re.findall(measured, out)[-1]]
  assert f'--checkpoint_path={tmp_path}/run --eval_dir={tmp_path}/run/eval' in out
  run('eval_image_classifier', f'--checkpoint_path={tmp_path}/run', f'--dataset_dir={photos}',
      f'--eval_dir={tmp_path}/eval', '--dataset_split_name=validation')
  found = json.loads((tmp_path / 'eval' / 'eval.json').read_text())
  assert [found['top_1'], found['loss']] == pytest.approx(shown, abs=1e-4)
  assert found['top_1'] > 0.6
  metadata = json.loads(next((tmp_path / 'run').glob('model.ckpt-*.json')).read_text())
  assert (metadata['flags']['head_from'], metadata['channels'], metadata['image_size'],
          metadata['class_names']) == ('pool2', 3, 28, ['dark', 'grey', 'light'])


def test_features_from_a_classifier(trunk, photos, tmp_path):
  run('extract_features', f'--checkpoint_path={trunk}', '--dataset_name=folder',
      f'--dataset_dir={photos}', '--end_point=Logits', '--validation_fraction=0',
      f'--output_path={tmp_path}/all.npz')
  run('train_on_features', f'--training_file={tmp_path}/all.npz', f'--train_dir={tmp_path}/run',
      '--classifier=linear_svm', '--regularization_strengths=0.01')
  found = _content(tmp_path / 'run')
  assert (found['LeNet/fc4/biases'].shape, found['head/fc1/weights'].shape) == ((12,), (12, 3))
  run('eval_image_classifier', f'--checkpoint_path={tmp_path}/run', f'--dataset_dir={photos}',
      f'--eval_dir={tmp_path}/eval', '--dataset_split_name=validation')


def test_best_head_can_be_exported(extracted, trunk, tmp_path):
  known = ['train_on_features', *extracted, f'--train_dir={tmp_path}/run']
  run(*known, '--epochs=4', '--learning_rate=3')
  last = _content(tmp_path / 'run')
  (best,) = (tmp_path / 'run' / 'head' / 'best').glob('*.index')
  metadata = json.loads((best.parent / f'{best.stem}.json').read_text())
  assert 'finished' in run(*known, '--export=best')
  found = _content(tmp_path / 'run')
  assert found['global_step'] == metadata['step'] < last['global_step']
  assert np.array_equal(found['head/fc1/weights'], _content(best.parent)['head/fc1/weights'])
  assert np.array_equal(found['LeNet/conv1/weights'], _content(trunk.rpartition('/')[0])[
      'LeNet/conv1/weights'])
  assert found.keys() == last.keys()
  assert not any(name.startswith('LeNet/fc') for name in found)


def test_weights_other_than_the_features_are_rejected(extracted, tmp_path):
  known = ['train_on_features', *extracted, f'--train_dir={tmp_path}/run']
  path = _save_lenet(tmp_path / 'other', seed=4)
  with pytest.raises(ValueError, match='other/.*--checkpoint_path'):
    run(*known, f'--checkpoint_path={path}')
  with pytest.raises(ValueError, match='--export=none'):
    run(*known, f'--checkpoint_path={tmp_path}/gone')
  run(*known, f'--checkpoint_path={tmp_path}/gone', '--export=none', '--classifier=linear_svm',
      '--regularization_strengths=0.01')
  assert not list((tmp_path / 'run').glob('*.index'))


@pytest.mark.parametrize(('flags_', 'message'), [
  ([], '--training_file'),
  (['--training_file={}/train.p', '--validation_file={}/train.p'],
   '--validation_file.*--training_file'),
  (['--training_file={}/train.p', '--validation_file={}/wide.p'], r'the shape \[4\] and \[5\]'),
  (['--training_file={}/train.p', '--classifier=linear_svm', '--epochs=3'],
   '--epochs.* --classifier=linear_svm'),
  (['--training_file={}/train.p', '--cross_validation_folds=3'],
   '--cross_validation_folds'),
  (['--training_file={}/train.p', '--classifier=linear_svm', '--head=fc:3,fc'],
   '--head'),
  (['--training_file={}/train.p', '--classifier=linear_svm', '--regularization_strengths=a,1'],
   "--regularization_strengths.* 'a,1'"),
  (['--training_file={}/train.p', '--classifier=linear_svm', '--validation_file={}/four.p'],
   r'class.*\b3\b'),
  (['--training_file={}/train.p', '--export=best', '--validation_fraction=0'],
   '--export=best'),
  (['--training_file={}/train.p', '--head=fc:3'], "--head.*'fc:3'"),
  (['--training_file={}/train.p', '--learning_rate=1e38', '--optimizer=sgd'],
   '--learning_rate'),
])
def test_errors(tmp_path, flags_, message):
  _blobs(tmp_path / 'train.p')
  _blobs(tmp_path / 'wide.p', shape=(5,))
  _blobs(tmp_path / 'four.p', classes=4, seed=2)
  with pytest.raises(ValueError, match=message):
    run('train_on_features', f'--train_dir={tmp_path}/run',
        *(flag.format(tmp_path) for flag in flags_))


def test_different_run_is_not_resumed(tmp_path):
  _blobs(tmp_path / 'train.p')
  _blobs(tmp_path / 'other.p', seed=2)
  known = ['train_on_features', f'--train_dir={tmp_path}/run', '--classifier=logistic_regression',
           '--regularization_strengths=1']
  run(*known, f'--training_file={tmp_path}/train.p')
  with pytest.raises(ValueError, match='other.p|/run'):
    run(*known, f'--training_file={tmp_path}/other.p')
  with pytest.raises(ValueError, match='--classifier=softmax.* logistic_regression'):
    run(*known[:2], f'--training_file={tmp_path}/train.p', '--classifier=softmax')
  checkpoints.save(tmp_path / 'foreign', 1, {'x': tf.zeros([])}, metadata={}, max_to_keep=1)
  with pytest.raises(ValueError, match='--train_dir=.*/foreign'):
    run('train_on_features', f'--train_dir={tmp_path}/foreign',
        f'--training_file={tmp_path}/train.p')
