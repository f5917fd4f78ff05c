"""The report of an evaluation: its tables against scikit-learn, its page, and its mistakes."""

from __future__ import annotations

import base64
import csv
import html.parser
import io
import json
import re
import shutil

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from sklearn import metrics

import slim_zoo
from datasets import imagenet
from nets import nets_factory
from preprocessing import preprocessing_factory
from slim_zoo.evaluation import series
from slim_zoo.training import checkpoints, loop, metadata
from slim_zoo.weights import checkpoint_files

_CLASSES = ('<b>ant', 'bee', 'sea horse')


@pytest.fixture(scope='module')
def program(in_process):
  """The program in this process: `program(*arguments)` returns its exit code."""
  with in_process('eval_image_classifier') as run:
    yield run


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A folder of 8 photos in each class."""
  folder = tmp_path_factory.mktemp('photos')
  rng = np.random.default_rng(0)
  for name in _CLASSES:
    (folder / name).mkdir()
    for number in range(8):
      pixels = np.kron(rng.integers(0, 256, [4, 5, 3]), np.ones([10, 10, 1]))
      tf.io.write_file(str(folder / name / f'{number}.jpg'),
                       tf.io.encode_jpeg(pixels.astype(np.uint8)))
  return folder


def _save(folder, seed, *, step=1, max_to_keep=1):
  """Writes a checkpoint of a small network."""
  network = nets_factory.build_network('cifarnet', image_shape=[32, 32, 3],
                                       num_classes=len(_CLASSES), seed=seed)
  for number, variable in enumerate(network.variables.values()):
    variable.assign_add(tf.random.stateless_normal(variable.shape, [seed, number], stddev=0.05))
  facts = metadata.describe(
    metadata.ModelFacts('cifarnet', _CLASSES, 32, 3, 'cifarnet',
                        preprocessing_factory.get_recipe('cifarnet').transform, 0), step=step,
    dataset={'fingerprint': '', 'num_examples': 9}, flags={'model_name': 'cifarnet'},
    validation_state=loop.ValidationState(), bad_images={})
  state = {**network.variables, 'global_step': tf.Variable(step, dtype=tf.int64)}
  checkpoints.save(folder, step, state, metadata=facts, max_to_keep=max_to_keep)
  return folder


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A folder with a checkpoint."""
  return _save(tmp_path_factory.mktemp('run'), 1)


@pytest.fixture(scope='module')
def reported(program, run, photos, tmp_path_factory):
  """The folder of a report with a comparison."""
  folder = tmp_path_factory.mktemp('report') / 'deep'
  other = _save(tmp_path_factory.mktemp('other'), 2)
  assert program(f'--checkpoint_path={run}', '--dataset_name=folder', f'--dataset_dir={photos}',
                 '--dataset_split_name=all', f'--report={folder}', f'--compare_with={other}',
                 '--top_k=1,2', '--batch_size=5', f'--eval_dir={folder}') == 0
  return folder


def _rows(path):
  with open(path, newline='', encoding='utf-8') as file:
    return list(csv.DictReader(file))


def test_tables_equal_scikit_learn(reported):
  rows = _rows(reported / 'predictions.csv')
  assert [row['image'].rpartition('/')[2] for row in rows] == [
    f'{number}.jpg' for _ in _CLASSES for number in range(8)]
  labels, predicted = ([row[name] for row in rows] for name in ('label', 'predicted'))
  names = sorted({*labels, *predicted})
  probabilities = np.array([
    [next(float(row[f'probability_{i}']) for i in (1, 2, 3) if row[f'class_{i}'] == name)
     for name in names] for row in rows])
  np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
  assert len(set(predicted)) > 1
  assert [names[i] for i in probabilities.argmax(1)] == predicted
  assert [float(row['confidence']) for row in rows] == probabilities.max(1).tolist()
  losses = [float(row['loss']) for row in rows]
  assert np.mean(losses) == pytest.approx(metrics.log_loss(
    labels, probabilities / probabilities.sum(1, keepdims=True), labels=names), rel=1e-4)
  np.testing.assert_allclose([float(row['probability_of_label']) for row in rows],
                             np.exp(-np.array(losses)), rtol=1e-5)
  expected = metrics.classification_report(labels, predicted, output_dict=True, zero_division=0)
  for row in _rows(reported / 'per_class.csv'):
    of_class = expected[row['class']]
    assert int(row['examples']) == of_class['support']
    for name, key in (('precision', 'precision'), ('recall', 'recall'), ('f1', 'f1-score')):
      assert float(row[name]) == pytest.approx(of_class[key])
  counts = metrics.confusion_matrix(labels, predicted, labels=names)
  assert {(row['label'], row['predicted']): int(row['examples'])
          for row in _rows(reported / 'confusion.csv')} == {
    (names[i], names[j]): counts[i, j] for i, j in zip(*counts.nonzero(), strict=True)}


class _Reader(html.parser.HTMLParser):
  """Collects a page's tags, pictures and text, and checks that tags are closed."""

  def __init__(self, text):
    super().__init__()
    self.open, self.seen, self.pictures, self.texts = [], set(), [], []
    self.feed(text)
    assert not self.open

  def handle_starttag(self, tag, attrs):
    self.seen.add(tag)
    values = dict(attrs)
    if tag == 'img':
      self.pictures.append(values['src'])
    assert not any(name in ('src', 'href') and not value.startswith(('data:', '#'))
                   for name, value in attrs), attrs
    if tag not in ('meta', 'link', 'img', 'br'):
      self.open.append(tag)

  def handle_startendtag(self, tag, attrs):
    self.seen.add(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.texts.append(data)


def test_page_is_complete_and_self_contained(reported):
  page = _Reader((reported / 'report.html').read_text(encoding='utf-8'))
  assert 'b' not in page.seen  # Names of classes are text.
  text = ' '.join(' '.join(page.texts).split())
  rows = _rows(reported / 'predictions.csv')
  right = sum(row['label'] == row['predicted'] for row in rows)
  assert re.search(rf'top-1 {right / len(rows):.4f} ', text)
  assert 'top-2 ' in text and 'McNemar' in text and '<b>ant' in text
  assert f'--report={reported}' in text
  for picture in page.pictures:
    kind, data = picture.split(',')
    assert kind == 'data:image/jpeg;base64'
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as image:
      assert image.size in ((50, 40), (32, 32))  # The photo, and what the network looks at.
  assert len(page.pictures) >= 2 * len(rows)  # Each is a mistake or a hit.


def test_duplicates_in_training_are_shown(program, run, photos, tmp_path, capsys):
  rng = np.random.default_rng(5)
  rows = ['image,label,split']
  for number in range(12):
    coarse = PIL.Image.fromarray(rng.integers(0, 256, [8, 8, 3], np.uint8)).resize((64, 64))
    coarse.save(tmp_path / f'{number}.png')
    split = 'validation' if number > 8 else 'train'
    rows.append(f'{number}.png,{("bee", "sea horse")[number % 2]},{split}')
  PIL.Image.open(tmp_path / '4.png').save(tmp_path / 'copy.jpg')
  (tmp_path / 'list.csv').write_text('\n'.join([*rows, 'copy.jpg,sea horse,validation']))
  assert program(f'--checkpoint_path={run}', '--dataset_name=csv',
                 f'--dataset_dir={tmp_path}/list.csv', '--dataset_split_name=validation',
                 f'--report={tmp_path}/report', f'--eval_dir={tmp_path}/eval') == 0
  assert str(tmp_path / 'report') in capsys.readouterr().out
  assert (tmp_path / 'report' / 'eval.json').read_text() == (
    tmp_path / 'eval' / 'eval.json').read_text()
  text = (tmp_path / 'report' / 'report.html').read_text()
  gallery = text[text.index('Near-duplicates in train'):text.index('Details</h2>')]
  assert re.findall(r'<img .*alt="(.*)">', gallery) == ['copy.jpg', '4.png']
  assert re.findall(r'pair 1, (.*)<br>', gallery) == [
    'validation: sea horse', 'train: bee (another class)']


@pytest.mark.parametrize(('arguments', 'message'), [
  (['--top_k=0'], '--top_k'), (['--top_k=1,x'], '--top_k'), (['--top_k='], '--top_k'),
  (['--compare_with={run}'], '--compare_with')])
def test_mistakes_are_explained(program, run, photos, tmp_path, arguments, message):
  with pytest.raises(ValueError, match=message):
    program(f'--checkpoint_path={run}', '--dataset_name=folder', f'--dataset_dir={photos}',
            '--dataset_split_name=all', f'--eval_dir={tmp_path}',
            *(argument.format(run=run) for argument in arguments))


def test_recalls_are_printed_as_by_tf_slim(program, run, photos, tmp_path, capsys):
  assert program(f'--checkpoint_path={run}', '--dataset_name=folder', f'--dataset_dir={photos}',
                 '--dataset_split_name=all', f'--eval_dir={tmp_path}', '--top_k=1,2') == 0
  found = re.search(r'^eval/Accuracy\[(.*?)\]eval/Recall_2\[(.*?)\]eval/Recall_5\[1\]$',
                    capsys.readouterr().out, re.MULTILINE)
  assert found and float(found[1]) <= float(found[2]) <= 1


def test_flags_that_other_weights_answer_are_not_used_for_them(program, run, photos, tmp_path,
                                                               capsys):
  """Weights that do not know their classes, beside a run that has them in another order."""
  bare = tmp_path / 'bare'
  bare.mkdir()
  for path in run.iterdir():
    if path.suffix != '.json':
      shutil.copy(path, bare)
  (tmp_path / 'labels.txt').write_text(''.join(
    f'{number}:{name}\n' for number, name in enumerate(_CLASSES[::-1])))
  arguments = ['--dataset_name=folder', f'--dataset_dir={photos}', '--dataset_split_name=all',
               f'--eval_dir={tmp_path}']
  assert program(f'--checkpoint_path={run}', *arguments) == 0
  expected = re.findall(r'^top-1 .* examples', capsys.readouterr().out, re.MULTILINE)
  assert program(f'--checkpoint_path={bare}', *arguments, '--model_name=cifarnet',
                 f'--labels_path={tmp_path}/labels.txt', f'--compare_with={run}',
                 f'--report={tmp_path}/report') == 0
  out = capsys.readouterr().out
  assert re.findall(r'^In comparison: (top-1 .* examples)', out, re.MULTILINE) == expected
  assert re.findall(r'^top-1 .* examples', out, re.MULTILINE) != expected


def test_classes_that_the_data_lack_have_the_names_of_the_network(program, run, photos, tmp_path):
  for name in _CLASSES[1:]:
    (tmp_path / 'photos').mkdir(exist_ok=True)
    (tmp_path / 'photos' / name).symlink_to(photos / name)
  assert program(f'--checkpoint_path={run}', '--dataset_name=folder',
                 f'--dataset_dir={tmp_path}/photos', '--dataset_split_name=all',
                 f'--eval_dir={tmp_path}', f'--report={tmp_path}/report') == 0
  rows = _rows(tmp_path / 'report' / 'predictions.csv')
  assert {row['label'] for row in rows} == {*_CLASSES[1:]}
  assert {row[f'class_{number}'] for row in rows for number in (1, 2, 3)} == {*_CLASSES}


def test_any_of_several_right_labels_counts(program, run, photos, tmp_path, capsys):
  """As with ImageNet-ReaL, for a network that predicts one class of each image."""
  sets = [['bee'], ['<b>ant', 'bee'], [], ['sea horse'], [*_CLASSES], ['<b>ant'], [], ['bee']]
  images = [f'{_CLASSES[number % 3]}/{number}.jpg' for number in range(8)]
  (tmp_path / 'list.csv').write_text('image,label\n' + ''.join(
    f'{photos}/{image},{"|".join(names)}\n' for image, names in zip(images, sets, strict=True)))
  assert program(f'--checkpoint_path={run}', '--dataset_name=csv', '--multi_label',
                 f'--dataset_dir={tmp_path}/list.csv', '--dataset_split_name=all', '--top_k=2',
                 f'--report={tmp_path}/report', f'--eval_dir={tmp_path}', '--batch_size=3') == 0
  assert re.search('2 images without labels', capsys.readouterr().out)
  model = slim_zoo.load(str(run))
  labelled = [number for number, names in enumerate(sets) if names]
  logits = model(model.preprocess([photos / images[number] for number in labelled])).numpy()
  order = [[model.class_names[place] for place in row] for row in np.argsort(-logits)]
  is_right = [[name in sets[number] for name in names]
              for number, names in zip(labelled, order, strict=True)]
  found = json.loads((tmp_path / 'eval.json').read_text())
  assert found['count'] == 6
  assert found['top_1'] == pytest.approx(np.mean([row[0] for row in is_right]))
  assert found['top_2'] == pytest.approx(np.mean([any(row[:2]) for row in is_right]))
  rows = _rows(tmp_path / 'report' / 'predictions.csv')
  assert [row['image'].rpartition('/')[2] for row in rows] == [f'{n}.jpg' for n in labelled]
  assert [row['label'] for row in rows] == [
    names[row.index(True)] for names, row in zip(order, is_right, strict=True)]
  page = (tmp_path / 'report' / 'report.html').read_text()
  assert 'label: &lt;b&gt;ant | bee (' in page


def test_all_checkpoints_of_a_run_are_evaluated(program, run, photos, tmp_path, capsys):
  folder = tmp_path / 'run'
  for step in (10, 2, 30):
    _save(folder, step, step=step, max_to_keep=5)
  arguments = ['--dataset_name=folder', f'--dataset_dir={photos}', '--dataset_split_name=all']
  assert program(f'--checkpoint_path={folder}', '--all_checkpoints', *arguments) == 0
  rows = _rows(folder / 'eval' / 'checkpoints.csv')
  assert [row['step'] for row in rows] == ['2', '10', '30']
  for row in rows:
    assert program(f'--checkpoint_path={folder}/model.ckpt-{row["step"]}', *arguments,
                   f'--eval_dir={tmp_path}') == 0
    found = json.loads((tmp_path / 'eval.json').read_text())
    assert {name: float(row[name]) for name in ('top_1', 'top_5', 'loss', 'mean_recall')} == {
      name: found[name] for name in ('top_1', 'top_5', 'loss', 'mean_recall')}
  assert len({row['loss'] for row in rows}) == 3
  with PIL.Image.open(folder / 'eval' / 'checkpoints.png') as image:
    assert image.size[0] > 500
  for flag in ('--all_checkpoints', '--watch'):
    with pytest.raises(ValueError, match=flag):
      program(f'--checkpoint_path={folder}/model.ckpt-2', flag, *arguments)
    for path in ('', 'zoo:mobilenet_v1_1.0_224'):
      with pytest.raises(ValueError, match='--checkpoint_path'):
        program(f'--checkpoint_path={path}', flag, *arguments)
    with pytest.raises(ValueError, match='--report'):
      program(f'--checkpoint_path={folder}', flag, f'--report={tmp_path}/report', *arguments)


def test_new_checkpoints_are_waited_for(tmp_path):
  """Those that a run writes meanwhile, each once, and the newest that is there at the start."""
  folder = tmp_path / 'run'
  waits = []

  def wait(seconds):
    waits.append(seconds)
    for step in {2: (1, 2), 3: (3, 4)}.get(len(waits), ()):
      checkpoints.save(folder, step, {'global_step': tf.constant(step)}, metadata={}, max_to_keep=2)
    if len(waits) == 5:
      raise KeyboardInterrupt

  found = []
  prefixes = series.checkpoints(str(folder), all_of_them=False, waits=True, wait=wait)
  with pytest.raises(KeyboardInterrupt):
    found.extend(map(checkpoint_files.step_of, prefixes))
  assert found == [2, 3, 4]


def test_a_checkpoint_that_is_removed_meanwhile_is_left_out(program, photos, tmp_path, capsys,
                                                            monkeypatch):
  for step in (1, 2):
    _save(tmp_path / 'run', step, step=step, max_to_keep=5)
  monkeypatch.setattr(series, 'checkpoints', lambda path, **unused: [
    f'{path}/model.ckpt-{step}' for step in (0, 1, 2)])
  assert program(f'--checkpoint_path={tmp_path}/run', '--all_checkpoints', '--dataset_name=folder',
                 f'--dataset_dir={photos}', '--dataset_split_name=all') == 0
  assert 'model.ckpt-0 was removed' in capsys.readouterr().out
  assert len(_rows(tmp_path / 'run' / 'eval' / 'checkpoints.csv')) == 2


def test_wordnet_ids_are_shown_with_their_names(program, photos, tmp_path):
  """For weights that know ImageNet's classes by their numbers alone."""
  network = nets_factory.build_network('cifarnet', image_shape=[32, 32, 3], num_classes=1001)
  checkpoints.save(tmp_path / 'run', 0, network.variables, metadata={}, max_to_keep=1)
  (tmp_path / 'run' / 'model.ckpt-0.json').unlink()
  ids = {'n01440764': 'tench', 'n01443537': 'goldfish', 'n02012849': 'crane'}
  for wordnet_id, name in zip(ids, _CLASSES, strict=True):
    (tmp_path / 'photos').mkdir(exist_ok=True)
    (tmp_path / 'photos' / wordnet_id).symlink_to(photos / name)
  assert program(f'--checkpoint_path={tmp_path}/run', '--model_name=cifarnet',
                 '--dataset_name=folder', f'--dataset_dir={tmp_path}/photos',
                 '--dataset_split_name=all', f'--eval_dir={tmp_path}',
                 f'--report={tmp_path}/report') == 0
  rows = _rows(tmp_path / 'report' / 'predictions.csv')
  assert {row['label'] for row in rows} == {f'{key} {name}' for key, name in ids.items()}
  known = imagenet.output_ids(1001)
  assert all(row[f'class_{number}'].split()[0] in known for row in rows for number in range(1, 6))
