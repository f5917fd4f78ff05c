"""Images with several labels: from a list to training, evaluation, predictions and an export."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn import metrics

import slim_zoo
from datasets import dataset_factory

_CLASSES = ('blue', 'green', 'red')
_NETWORK = ['--model_name=lenet', '--train_image_size=28', '--xla=off']


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """60 images with any of three coloured squares, a list of them, and which squares they have."""
  folder = tmp_path_factory.mktemp('photos')
  random = np.random.default_rng(0)
  has = random.random([60, 3]) < 0.5
  for number, squares in enumerate(has):
    pixels = random.integers(0, 60, [28, 28, 3])
    for place in np.flatnonzero(squares):
      top, left = random.integers(0, 16, 2)
      pixels[top:top + 12, left:left + 12, 2 - place] += 190
    Image.fromarray(pixels.astype('u1')).save(folder / f'{number}.png')
  with (folder / 'columns.csv').open('w', newline='') as file:
    rows = csv.writer(file)
    rows.writerow(['image', *_CLASSES, 'split'])
    rows.writerows([f'{number}.png', *squares.astype(int), 'train' if number < 40 else 'test']
                   for number, squares in enumerate(has))
  return folder, has


@pytest.fixture(scope='module')
def trained(photos, run_here, tmp_path_factory):
  """A run on the list."""
  run = tmp_path_factory.mktemp('run') / 'run'
  code, out, errors = run_here(
      'train_image_classifier', f'--train_dir={run}', *_data(photos), *_NETWORK, '--loss=binary',
      '--optimizer=adamw', '--learning_rate=0.001', '--learning_rate_decay_type=cosine',
      '--batch_size=20', '--epochs=30', '--validation_interval_epochs=15')
  assert code == 0, errors
  assert 'mean average precision' in out and '(best so far)' in out
  return run


def _data(photos):
  return ['--dataset_name=csv', f'--dataset_dir={photos[0] / "columns.csv"}', '--multi_label']


def test_evaluation(photos, trained, run_here, tmp_path):
  code, out, errors = run_here('eval_image_classifier', f'--checkpoint_path={trained}',
                               f'--eval_dir={tmp_path}')
  assert code == 0, errors
  assert 'Recall_5' not in out
  found = json.loads((tmp_path / 'eval.json').read_text())
  model, targets = slim_zoo.load(str(trained)), photos[1][40:].astype(float)
  logits = model(model.preprocess([photos[0] / f'{n}.png' for n in range(40, 60)])).numpy()
  by_class = [metrics.average_precision_score(*pair)
              for pair in zip(targets.T, logits.T, strict=True)]
  assert found['mean_average_precision'] == pytest.approx(np.mean(by_class), rel=1e-6)
  assert found['f1'] == pytest.approx(metrics.f1_score(targets, logits > 0, average='micro'))
  assert found['loss'] == pytest.approx(float(tf.reduce_mean(
      tf.keras.losses.BinaryCrossentropy(from_logits=True)(targets, logits))), rel=1e-5)
  assert [found['per_class'][name] for name in _CLASSES] == [
    {'count': count, 'average_precision': pytest.approx(value)}
    for count, value in zip(targets.sum(0), by_class, strict=True)]
  assert found['mean_average_precision'] > 0.8 > targets.mean()


def _rows(path):
  with path.open(newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


@pytest.fixture(scope='module')
def reported(photos, trained, run_here, tmp_path_factory):
  """The folder of a report in which the run is compared with itself."""
  folder = tmp_path_factory.mktemp('report')
  code, _, errors = run_here(
    'eval_image_classifier', f'--checkpoint_path={trained}', f'--eval_dir={folder}',
    f'--report={folder}', f'--compare_with={trained}')
  assert code == 0, errors
  return folder


def test_report_equals_scikit_learn(photos, reported):
  rows = _rows(reported / 'predictions.csv')
  assert [row['image'].rpartition('/')[2] for row in rows] == [f'{n}.png' for n in range(40, 60)]
  targets = photos[1][40:].astype(int)
  probabilities = np.array([[float(row[f'probability_{name}']) for name in _CLASSES]
                            for row in rows])
  for column, has in (('labels', targets), ('predicted', probabilities > 0.5)):
    assert [row[column] for row in rows] == [
      ' | '.join(_CLASSES[place] for place in np.flatnonzero(row)) for row in has]
  assert np.mean([float(row['loss']) for row in rows]) == pytest.approx(
    metrics.log_loss(targets.ravel(), probabilities.ravel()), rel=1e-5)
  expected = metrics.classification_report(targets, probabilities > 0.5, output_dict=True,
                                           target_names=_CLASSES, zero_division=0)
  for row in _rows(reported / 'per_class.csv'):
    of_class = expected[row['class']]
    assert int(row['examples']) == of_class['support']
    for name, key in (('precision', 'precision'), ('recall', 'recall'), ('f1', 'f1-score')):
      assert float(row[name]) == pytest.approx(of_class[key])
  page = (reported / 'report.html').read_text(encoding='utf-8')
  for value in (metrics.average_precision_score(targets, probabilities),
                metrics.f1_score(targets, probabilities > 0.5, average='micro'),
                metrics.accuracy_score(targets, probabilities > 0.5)):
    assert f'<dd class="value">{value:.4f}</dd>' in page
  assert 'McNemar' in page


def test_networks_of_different_kinds_are_not_compared(photos, trained, run_here, tmp_path):
  (tmp_path / 'list.csv').write_text('image,label\n' + ''.join(
    f'{photos[0]}/{number}.png,{_CLASSES[number % 3]}\n' for number in range(12)))
  code, _, errors = run_here(
    'train_image_classifier', f'--train_dir={tmp_path}/run', *_NETWORK, '--dataset_name=csv',
    f'--dataset_dir={tmp_path}/list.csv', '--max_number_of_steps=1', '--batch_size=4',
    '--validation_interval_epochs=0')
  assert code == 0, errors
  code, _, errors = run_here(
    'eval_image_classifier', f'--checkpoint_path={trained}', f'--eval_dir={tmp_path}',
    f'--report={tmp_path}/report', f'--compare_with={tmp_path}/run')
  assert code == 1 and '--compare_with' in errors


def test_pictures_of_the_report(photos, reported):
  rows, page = _rows(reported / 'predictions.csv'), (reported / 'report.html').read_text('utf-8')
  wrong, missed = (sum(len({*row[a].split(' | ')} - {*row[b].split(' | '), ''}) for row in rows)
                   for a, b in (('predicted', 'labels'), ('labels', 'predicted')))
  assert page.count('<img ') == 2 * (wrong + missed) > 0  # The photo, and what the network sees.


def test_predictions_and_export_have_independent_probabilities(photos, trained, run_here, tmp_path):
  image = photos[0] / '41.png'
  code, _, errors = run_here('predict_image', f'--checkpoint_path={trained}', str(image),
                             f'--output_path={tmp_path}/p.json')
  assert code == 0, errors
  model = slim_zoo.load(str(trained))
  expected = tf.sigmoid(model(model.preprocess([image])))[0].numpy()
  expected = dict(zip(_CLASSES, expected.tolist(), strict=True))
  [predicted] = json.loads((tmp_path / 'p.json').read_text())
  assert {one['label']: pytest.approx(one['probability'])
          for one in predicted['predictions']} == expected
  assert dict(model.predict([image])[0]) == pytest.approx(expected)
  code, _, errors = run_here('convert_weights', f'--checkpoint_path={trained}', *_NETWORK[:1],
                             f'--output_dir={tmp_path}/converted')
  assert code == 0, errors
  assert dict(slim_zoo.load(f'{tmp_path}/converted').predict([image])[0]) == pytest.approx(expected)
  code, _, errors = run_here('export_model', f'--checkpoint_path={trained}',
                             f'--output_path={tmp_path}/saved')
  assert code == 0, errors
  signature = tf.saved_model.load(f'{tmp_path}/saved').signatures['serving_default']
  found = signature(model.preprocess([image]))['probabilities'][0].numpy()
  assert dict(zip(_CLASSES, found.tolist(), strict=True)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.thorough
def test_recipe_keeps_features(photos, trained, run_here, tmp_path):
  code, out, errors = run_here(
      'train_image_classifier', f'--train_dir={tmp_path}/run', '--recipe=finetune', '--epochs=1',
      f'--checkpoint_path={trained}', *_data(photos), '--loss=binary', '--mixup_alpha=0.2')
  assert code == 0, errors
  assert 'features of the split' in out and out.count('mean average precision') >= 2


@pytest.mark.parametrize(('flags', 'named'), [
  (['--loss=softmax'], '--loss=binary'), (['--class_weights=balanced'], '--class_weights'),
  (['--sampling=balanced'], '--sampling'), (['--best_metric=top_1'], '--best_metric')])
def test_options_for_one_label_are_refused(photos, run_here, tmp_path, flags, named):
  code, _, errors = run_here('train_image_classifier', f'--train_dir={tmp_path}/run',
                             *_data(photos), *_NETWORK, '--loss=binary', *flags)
  assert code == 1 and named in errors and '--multi_label' in errors


def test_files_of_features_have_one_label(run_here, tmp_path):
  code, _, errors = run_here('train_on_features', f'--train_dir={tmp_path}', '--best_metric=f1')
  assert code == 1 and '--best_metric=f1' in errors


def test_teachers_have_one_label(photos, trained, run_here, tmp_path):
  code, _, errors = run_here('train_image_classifier', f'--train_dir={tmp_path}/run',
                             '--dataset_name=digits', *_NETWORK, f'--teacher_path={trained}')
  assert code == 1 and '--teacher_path' in errors


def test_cells_with_several_labels(tmp_path):
  for number in range(4):
    Image.new('RGB', (4, 4), (number, 0, 0)).save(tmp_path / f'{number}.png')
  (tmp_path / 'train.csv').write_text(
    'image,label\n0.png,cat|dog\n1.png,dog\n2.png,dog|cat\n3.png,cat\n')
  with pytest.raises(ValueError, match='2 of 4 lines.*--multi_label'):
    dataset_factory.get_dataset('csv', 'train', tmp_path, validation_fraction=0)
  (tmp_path / 'train.csv').write_text(
    'image,label\n0.png,cat|dog\n1.png,dog\n2.png,dog|cat\n3.png,owl\n')
  found = dataset_factory.get_dataset('csv', 'train', tmp_path, validation_fraction=0,
                                      multi_label=True)
  assert found.class_names == ('cat', 'dog', 'owl')
  assert [found.label_name(label) for label in found.labels] == [
    'cat | dog', 'dog', 'cat | dog', 'owl']
  assert found.class_counts.tolist() == [2, 3, 1]
  fingerprint = found.fingerprint
  (tmp_path / 'train.csv').write_text(
    'image,cat,dog,owl\n0.png,1,1,0\n1.png,0,1,0\n2.png,1,1,0\n3.png,0,0,0\n')
  changed = dataset_factory.get_dataset('csv', 'train', tmp_path, validation_fraction=0,
                                        multi_label=True)
  assert changed.label_name(changed.labels[3]) == '' and changed.fingerprint != fingerprint
  (tmp_path / 'train.csv').write_text(
    'image,cat,dog,owl\n0.png,1,1,0\n1.png,0,1,0\n2.png,1,1,0\n3.png,0,0,1\n')
  same = dataset_factory.get_dataset('csv', 'train', tmp_path, validation_fraction=0,
                                     multi_label=True)
  assert same.fingerprint == fingerprint


@pytest.mark.parametrize(('labels', 'names'), [
  ([[0, 2], [], [1], [2, 0, 0]], ('0', '1', '2')),
  ([['dog', 'cat'], [], ['owl'], ['cat', 'dog']], ('cat', 'dog', 'owl'))])
@pytest.mark.parametrize('empty_first', [False, True])
def test_records_with_several_labels(tmp_path, labels, names, empty_first):
  order = [1, 0, 2, 3] if empty_first else [0, 1, 2, 3]
  png = tf.io.encode_png(np.zeros([4, 4, 3], np.uint8)).numpy()
  with tf.io.TFRecordWriter(str(tmp_path / 'train.tfrecord')) as writer:
    for place in order:
      feature = (tf.train.Feature(int64_list=tf.train.Int64List(value=labels[place]))
                 if names[0] == '0' else tf.train.Feature(bytes_list=tf.train.BytesList(
                     value=[label.encode() for label in labels[place]])))
      writer.write(tf.train.Example(features=tf.train.Features(feature={
          'image': tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
          'labels': feature})).SerializeToString())
  found = dataset_factory.get_dataset('tfrecord', 'train', tmp_path, validation_fraction=0,
                                      multi_label=True)
  assert found.class_names == names and found.class_counts.tolist() == (
    [2, 1, 2] if names[0] == '0' else [2, 2, 1])
  expected = [' | '.join(sorted({str(label) for label in labels[place]})) for place in order]
  assert [found.label_name(label) for label in found.labels] == expected
  read = [found.label_name(one['label']) for one in found.epoch(0).as_numpy_iterator()]
  assert read == expected
  with pytest.raises(ValueError, match='--multi_label'):
    dataset_factory.get_dataset('tfrecord', 'train', tmp_path, validation_fraction=0)


def _lists(folder, text, count=3):
  for number in range(count):
    Image.new('RGB', (4, 4), (number, 0, 0)).save(folder / f'{number}.png')
  (folder / 'train.csv').write_text(text)
  found = dataset_factory.get_dataset('csv', 'train', folder, validation_fraction=0,
                                      multi_label=True)
  return found, [found.label_name(label) for label in found.labels]


@pytest.mark.parametrize(('cells', 'names'), [
  (['cat|dog', '', 'dog'], ['cat | dog', '', 'dog']),
  (['cat; dog', 'cat;', 'dog'], ['cat | dog', 'cat', 'dog']),
  (['tench, Tinca|owl', 'owl', 'tench, Tinca'], ['owl | tench, Tinca', 'owl', 'tench, Tinca']),
  (["['cat', 'dog']", '[]', "['dog', 'dog']"], ['cat | dog', '', 'dog']),
  (['[2, 0]', '[1]', '[0]'], ['0 | 2', '1', '0'])])
def test_forms_of_cells(tmp_path, cells, names):
  rows = [f'{number}.png,"{cell}"' for number, cell in enumerate(cells)]
  assert _lists(tmp_path, '\n'.join(['image,label', *rows]))[1] == names


@pytest.mark.parametrize(('text', 'named'), [
  ('image,label\n0.png,cat|nan\n1.png,dog\n', 'line 2'),
  ('image,label\n0.png,[cat]\n1.png,[dog]\n', 'line 2'),
  ('0.png,1,0,1\n1.png,0,1,1\n', 'first line')])
def test_lists_that_cannot_be_read(tmp_path, text, named):
  with pytest.raises(ValueError, match=f'train.csv.*{named}|{named}.*train.csv'):
    _lists(tmp_path, text, 2)


def test_every_class_keeps_an_example_for_training(tmp_path):
  rows = [f'{number}.png,common|rare{number}' if number < 20 else f'{number}.png,common'
          for number in range(40)]
  _lists(tmp_path, '\n'.join(['image,label', *rows]), 40)
  splits = [dataset_factory.get_dataset('csv', name, tmp_path, validation_fraction=0.3,
                                        multi_label=True) for name in ('train', 'validation')]
  assert splits[0].class_counts.all() and sum(one.num_examples for one in splits) == 40
  assert splits[1].num_examples >= 3


def _records(folder, labels, key='labels'):
  png = tf.io.encode_png(np.zeros([4, 4, 3], np.uint8)).numpy()
  with tf.io.TFRecordWriter(str(folder / 'train.tfrecord')) as writer:
    for of_record in labels:
      writer.write(tf.train.Example(features=tf.train.Features(feature={
          'image': tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
          key: tf.train.Feature(int64_list=tf.train.Int64List(value=of_record))
      })).SerializeToString())
  found = dataset_factory.get_dataset('tfrecord', 'train', folder, validation_fraction=0,
                                      multi_label=True)
  return [found.label_name(label) for label in found.labels], found.class_names


def test_records_with_a_number_for_each_class(tmp_path):
  assert _records(tmp_path, [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]]) == (
    ['1 | 3', '0', ''], ('0', '1', '2', '3'))
  (tmp_path / 'labels.txt').write_text('ant\nbee\ncat\ndog\n')
  assert _records(tmp_path, [[0, 1, 0, 1], [1, 0, 0, 0]])[0] == ['bee | dog', 'ant']


@pytest.mark.parametrize(('labels', 'key', 'named'), [
  ([[0, 1]], 'image/object/class/label', '--record_keys.*'), ([[], []], 'labels', '--record_keys'),
  ([[0, 1], [0, 1], [9]], 'labels', '9 in record 2'), ([[0], [-1]], 'labels', '-1 in record 1')])
def test_records_that_cannot_be_read(tmp_path, labels, key, named):
  if '9' in named:
    (tmp_path / 'labels.txt').write_text('ant\nbee\n')
  with pytest.raises(ValueError, match=named):
    _records(tmp_path, labels, key)
