"""Predicting single images: consistent with evaluation, in order, printed and in files."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import re
import shutil

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from datasets import dataset_factory
from nets import nets_factory
from preprocessing import preprocessing_factory
from slim_zoo.evaluation import predictor
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.evaluation.photos import Photos
from slim_zoo.evaluation.predictor import Guess, Prediction
from slim_zoo.training import checkpoints, loop, metadata
from slim_zoo.training.inputs import Inputs

_CLASSES = ('ant', 'bee', 'sea horse')


@pytest.fixture(scope='module')
def program(in_process):
  """The program in this process: `program(*arguments)` returns its exit code."""
  with in_process('predict_image') as run:
    yield run


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A folder of 3 photos in each class."""
  folder = tmp_path_factory.mktemp('photos')
  rng = np.random.default_rng(0)
  for name in _CLASSES:
    (folder / name).mkdir()
    for number in range(3):
      pixels = rng.integers(0, 256, [40, 50, 3]).astype(np.uint8)
      (folder / name / f'{number}.jpg').write_bytes(tf.io.encode_jpeg(pixels).numpy())
  return folder


def _save(folder, **head):
  """Writes a checkpoint of a small network; returns the network."""
  network = nets_factory.build_network('cifarnet', image_shape=[32, 32, 3],
                                       num_classes=len(_CLASSES), seed=1, **head)
  for number, variable in enumerate(network.variables.values()):
    # Larger than initial values, so that predictions differ between images.
    noise = tf.random.stateless_normal(variable.shape, [7, number], stddev=0.05)
    variable.assign_add(noise)
  facts = metadata.describe(
    metadata.ModelFacts('cifarnet', _CLASSES, 32, 3, 'cifarnet',
                        preprocessing_factory.get_recipe('cifarnet').transform, 0), step=1,
    dataset={'fingerprint': '', 'num_examples': 9},
    flags={'model_name': 'cifarnet', **head}, validation_state=loop.ValidationState(),
    bad_images={})
  checkpoints.save(folder, 1, network.variables, metadata=facts, max_to_keep=1)
  return network


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A folder with a checkpoint, and its network."""
  folder = tmp_path_factory.mktemp('run')
  return folder, _save(folder)


def _expected(network, path) -> np.ndarray:
  """The probabilities of one photo, without batches."""
  preprocess = preprocessing_factory.get_preprocessing('cifarnet')
  image = preprocess(tf.io.read_file(str(path)), 32, 32)
  logits = network(image[tf.newaxis], is_training=False)[0][0].numpy().astype(np.float64)
  return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def _read(path) -> list[dict]:
  return json.loads(path.read_text())


def test_predictions_equal_the_network_and_evaluation(
    program, run, photos, tmp_path):
  folder, network = run
  path = tmp_path / 'deep' / 'found.json'
  assert program(f'--checkpoint_path={folder}', photos, f'--output_path={path}',
                 '--batch_size=4') == 0
  found = _read(path)
  assert [entry['image'] for entry in found] == [
    f'{photos}/{name}/{i}.jpg' for name in _CLASSES for i in range(3)]
  assert [p.name for p in path.parent.iterdir()] == ['found.json']
  right = dict.fromkeys(_CLASSES, 0)
  for entry in found:
    expected = _expected(network, entry['image'])
    order = np.argsort(-expected)
    labels = [guess['label'] for guess in entry['predictions']]
    assert labels == [_CLASSES[i] for i in order]
    np.testing.assert_allclose([guess['probability'] for guess in entry['predictions']],
                               expected[order], rtol=1e-3)
    name = pathlib.Path(entry['image']).parent.name
    right[name] += labels[0] == name
  dataset = dataset_factory.get_dataset('folder', 'all', photos)
  inputs = Inputs(dataset, [0, 1, 2], (), preprocessing_name='cifarnet',
                  transform=preprocessing_factory.get_recipe('cifarnet').transform, image_size=32,
                  channels=3, num_parallel_calls=1)
  measured = Evaluator(network).measure(inputs.evaluation_batches(batch_size=4))
  assert measured.class_right == tuple(right.values())
  assert 0 < sum(right.values()) < 9


def test_printed(program, run, photos, capsys):
  folder, network = run
  photo = photos / 'bee' / '1.jpg'
  # Images given twice are predicted once.
  assert program(photo, f'--checkpoint_path={folder}', '--top_k=2', photo) == 0
  expected = _expected(network, photo)
  first, second, _ = np.argsort(-expected)
  out = capsys.readouterr().out.splitlines()
  assert out[0].startswith(f'Predicting with {folder}/model.ckpt-1: ')
  assert out[1].startswith('Images: ')
  assert [re.split(' {2,}', line) for line in out[2:]] == [
    ['image', 'probability', 'class'],
    [str(photo), f'{expected[first]:.4f}', _CLASSES[first]],
    ['', f'{expected[second]:.4f}', _CLASSES[second]]]
  assert len({line.index(name) for line, name in zip(out[2:], (
    'class', _CLASSES[first], _CLASSES[second]), strict=True)}) == 1  # One column.


def test_images_that_cannot_be_decoded(program, run, photos, tmp_path, capsys):
  whole = (photos / 'ant' / '0.jpg').read_bytes()
  paths = [tmp_path / f'{number}.jpg' for number in range(3)]
  for path, content in zip(paths, [b'no image', whole, whole[:len(whole) // 2]], strict=True):
    path.write_bytes(content)
  assert program(f'--checkpoint_path={run[0]}', *paths) == 1
  out, errors = capsys.readouterr()
  assert re.findall(r'^/.*jpg(?= )', out, re.MULTILINE) == [str(paths[1])]
  *lines, last = errors.splitlines()
  assert [line.split(':')[0] for line in lines] == [str(paths[0]), str(paths[2])]
  assert last.startswith('2 of 3 ')
  (tmp_path / 'found.csv').write_text('before')
  assert program(f'--checkpoint_path={run[0]}', paths[0],
                 f'--output_path={tmp_path / "found.csv"}') == 1  # No image is left.
  assert (tmp_path / 'found.csv').read_text() == 'before'


def test_bad_images_anywhere_leave_the_order_of_the_others(program, run, photos, tmp_path):
  good, bad = photos / 'ant' / '0.jpg', tmp_path / 'bad.png'
  bad.write_bytes(b'\x89PNG')
  names = [f'{number:02d}{suffix}' for number, suffix in enumerate(
    '.png' if number in (0, 3, 4, 5, 6, 10, 11) else '.jpg' for number in range(12))]
  for name in names:
    (tmp_path / 'photos').mkdir(exist_ok=True)
    (tmp_path / 'photos' / name).symlink_to(good if name.endswith('.jpg') else bad)
  path = tmp_path / 'found.json'
  assert program(f'--checkpoint_path={run[0]}', tmp_path / 'photos', f'--output_path={path}',
                 '--batch_size=2') == 1
  assert [pathlib.Path(entry['image']).name for entry in _read(path)] == [
    name for name in names if name.endswith('.jpg')]


@pytest.mark.parametrize('name', ['inception', 'vgg', 'torchvision', 'efficientnet_lite', 'caffe'])
def test_images_are_prepared_as_in_evaluation(tmp_path, name):
  rng, path = np.random.default_rng(0), str(tmp_path / 'photo.jpg')
  pixels = np.kron(rng.integers(0, 256, [20, 33, 3]), np.ones([16, 10, 1])).astype(np.uint8)
  tf.io.write_file(path, tf.io.encode_jpeg(pixels))
  transform = preprocessing_factory.get_recipe(name).transform
  images = Photos([path], transform, image_size=224, channels=3)
  (_, found), = images.batches(4, refuse=pytest.fail)
  np.testing.assert_array_equal(found[0], transform(tf.io.read_file(path), 224, 224))


def test_csv(program, run, photos, tmp_path):
  path = tmp_path / 'found.csv'
  image = tmp_path / 'a, "b"\udcff.jpg'
  image.write_bytes((photos / 'ant' / '0.jpg').read_bytes())
  assert program(f'--checkpoint_path={run[0]}', image, f'--output_path={path}', '--top_k=9') == 0
  with open(path, newline='', encoding='utf-8', errors='surrogateescape') as file:
    rows = list(csv.DictReader(file))
  expected = _expected(run[1], photos / 'ant' / '0.jpg')
  assert [(row['image'], row['rank'], row['label']) for row in rows] == [
    (str(image), str(rank), _CLASSES[i]) for rank, i in enumerate(np.argsort(-expected), start=1)]
  np.testing.assert_allclose([float(row['probability']) for row in rows], -np.sort(-expected),
                             rtol=1e-5)


@pytest.mark.parametrize('suffix', predictor.FORMATS)
def test_output_file_is_complete_or_unchanged(tmp_path, suffix):
  path = tmp_path / f'found{suffix}'
  path.write_text('before')

  def write(*, breaks):
    with predictor.writing(path) as put:
      put(Prediction('a.jpg', (Guess('ant', 0.5),)))
      if breaks:
        raise ValueError('a mistake')

  with pytest.raises(ValueError, match='a mistake'):
    write(breaks=True)
  assert path.read_text() == 'before'
  write(breaks=False)
  assert 'ant' in path.read_text()
  assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('count', [0, 1, 3])
def test_streamed_json_equals_json_of_the_whole_list(tmp_path, count):
  names = ['a, "b"\u2028\n é.jpg', 'c\udcff.jpg', 'd.jpg'][:count]
  guesses = (Guess('ant', 0.1 + 0.2), Guess('b\\"ee', 1e-9))
  with predictor.writing(tmp_path / 'found.json') as put:
    for name in names:
      put(Prediction(name, guesses))
  assert (tmp_path / 'found.json').read_text() == json.dumps([
    {'image': name, 'predictions': [{'label': label, 'probability': probability}
                                    for label, probability in guesses]}
    for name in names], indent=1) + '\n'


def test_json_lines(program, run, photos, tmp_path):
  arguments = [f'--checkpoint_path={run[0]}', photos / 'bee', '--top_k=2']
  assert program(*arguments, f'--output_path={tmp_path}/found.jsonl') == 0
  assert program(*arguments, f'--output_path={tmp_path}/found.json') == 0
  lines = (tmp_path / 'found.jsonl').read_text().splitlines()
  assert [json.loads(line) for line in lines] == _read(tmp_path / 'found.json')


def _stdin(text):
  return io.TextIOWrapper(io.BytesIO(text.encode()))


def test_empty_standard_input(program, run, monkeypatch):
  monkeypatch.setattr('sys.stdin', _stdin('\n'))
  with pytest.raises(ValueError, match='standard input'):
    program(f'--checkpoint_path={run[0]}', '-')


def test_images_from_standard_input_and_patterns(program, run, photos, tmp_path, monkeypatch):
  monkeypatch.setattr('sys.stdin', _stdin(f'{photos}/bee/1.jpg\n\n{photos}/ant/2.jpg\n'))
  path = tmp_path / 'found.json'
  assert program(f'--checkpoint_path={run[0]}', '-', f'{photos}/*/0.jpg', f'{photos}/b*',
                 f'--output_path={path}') == 0
  assert [entry['image'] for entry in _read(path)] == [
    f'{photos}/{name}.jpg' for name in ('bee/1', 'ant/2', 'ant/0', 'bee/0', 'sea horse/0', 'bee/2')]


@pytest.mark.parametrize('arguments', [[], ['--explain'], ['--explain', '--explain_layer=conv1']])
def test_picture(program, run, photos, tmp_path, capsys, arguments):
  path = tmp_path / 'deep' / 'found.png'
  assert program(f'--checkpoint_path={run[0]}', photos / 'bee', f'--picture={path}',
                 *arguments) == 0
  assert [p.name for p in path.parent.iterdir()] == ['found.png']
  with PIL.Image.open(path) as image:
    width, _ = image.size
    colours = np.asarray(image.convert('RGB')).reshape(-1, 3)
  assert len(np.unique(colours, axis=0)) > 1000  # There are photos on it.
  assert (width > 1200) == bool(arguments)  # A column more.
  assert ('conv1' in capsys.readouterr().out) == (len(arguments) == 2)


def test_predictions_are_written_as_they_are_made(tmp_path):
  with predictor.writing(tmp_path / 'found.json') as put:
    for number in range(1000):
      put(Prediction(f'{number}.jpg', (Guess('ant', 0.5),)))
    assert (tmp_path / '.found.json.part').stat().st_size > 10_000


def test_ties_padding_and_broken_networks():
  logits = tf.constant([[0.0, 0.0, 0.0], [0.0, 1.0, 1.0]])[:, tf.newaxis, tf.newaxis]
  sizes = []

  def network(images, *, is_training):
    assert is_training is False
    sizes.append(images.shape[0])
    return images[:, 0, 0], {}

  def predict(logits):
    return list(predictor.predict(network, [(['x', 'y'], logits), (['z'], logits[1:])],
                                  batch_size=2, class_names=_CLASSES, top_k=2))

  assert [(image, *(guess.label for guess in guesses)) for image, guesses in predict(logits)] == [
    ('x', 'ant', 'bee'), ('y', 'bee', 'sea horse'), ('z', 'bee', 'sea horse')]
  assert sizes == [2]  # Traced once.
  with pytest.raises(ValueError, match=r'NaN.*\bx\b'):
    predict(logits + np.nan)


def test_custom_head(program, photos, tmp_path, capsys):
  head = {'head': 'flatten,fc:5,fc', 'head_from': 'pool2'}
  network = _save(tmp_path, **head)
  assert any(name.startswith('head/') for name in network.variables)
  photo = photos / 'ant' / '2.jpg'
  assert program(f'--checkpoint_path={tmp_path}', photo, '--top_k=1') == 0
  best = _CLASSES[_expected(network, photo).argmax()]
  assert capsys.readouterr().out.endswith(f'  {best}\n')


def test_class_names_from_a_file(program, run, photos, tmp_path, capsys):
  photo, labels = photos / 'ant' / '2.jpg', tmp_path / 'labels.txt'
  for path in run[0].iterdir():
    if path.suffix != '.json':
      shutil.copy(path, tmp_path)
  bare = [photo, f'--checkpoint_path={tmp_path}', '--model_name=cifarnet']
  labels.write_text('0:a\n1:b\n')
  with pytest.raises(ValueError, match=r'--labels_path=.* 3 .*\b2\b'):
    program(*bare, f'--labels_path={labels}')
  labels.write_text('0:a\n2:c\n1:b\n')
  order = np.argsort(-_expected(run[1], photo))
  for more, names in (([], ('class 0', 'class 1', 'class 2')),
                      ([f'--labels_path={labels}'], ('a', 'b', 'c'))):
    capsys.readouterr()
    assert program(*bare, *more) == 0
    out = capsys.readouterr().out
    table = out[out.index('image '):].splitlines()
    assert [line[table[0].index('class'):] for line in table[1:]] == [names[i] for i in order]


@pytest.mark.parametrize(('arguments', 'error', 'message'), [
  ([], ValueError, 'images'),
  (['nothing.jpg'], FileNotFoundError, 'nothing.jpg'),
  (['{photos}', '--output_path=found.txt'], ValueError, 'found.txt'),
  (['{photos}', '--picture=found.jpg'], ValueError, '--picture'),
  (['{photos}', '--explain'], ValueError, '--explain.*--picture'),
  (['{photos}', '--picture={empty}/x.png', '--explain', '--explain_layer=conv7'], ValueError,
   'conv7.*conv1'),
  (['{photos}', '--output_path=gs://bucket/found.csv'], ValueError,
   '--output_path=gs://bucket/found.csv'),
  (['{empty}'], FileNotFoundError, '{empty}'),
  (['{photos}', '--checkpoint_path='], ValueError, '--checkpoint_path'),
])
def test_mistakes_are_explained(program, run, photos, tmp_path, arguments, error, message):
  given = [argument.format(photos=photos, empty=tmp_path) for argument in arguments]
  with pytest.raises(error, match=message.format(empty=re.escape(str(tmp_path)))):
    program(f'--checkpoint_path={run[0]}', *given)


@pytest.mark.thorough
def test_as_a_program(run_script, run, photos):
  code, out, errors = run_script(
    'predict_image', str(photos / 'bee' / '0.jpg'), f'--checkpoint_path={run[0]}',
    str(photos / 'ant'), '--top_k=1')
  assert code == 0, errors
  assert not errors
  assert re.findall(r'^/.*jpg(?= )', out, re.MULTILINE) == [
    f'{photos}/{name}.jpg' for name in ('bee/0', 'ant/0', 'ant/1', 'ant/2')]


@pytest.mark.slow
def test_real_weights_on_real_photos(program, zoo_assets, tmp_path):
  images = sorted((zoo_assets / 'imagenet_sample').glob('*.jpg'))[::50]
  names = tmp_path / 'labels.txt'
  names.write_text(''.join(f'{i}:synset {i}\n' for i in range(1000)))  # Without the background.
  path = tmp_path / 'found.json'
  assert program(f'--checkpoint_path={zoo_assets}/weights/mobilenet_v1_1.0_224', *images,
                 '--model_name=mobilenet_v1', f'--labels_path={names}', f'--output_path={path}',
                 '--batch_size=10') == 0
  found = [entry['predictions'][0]['label'] for entry in _read(path)]
  expected = [f'synset {int(image.name[:4])}' for image in images]
  assert sum(map(str.__eq__, found, expected)) == 19  # Of 20.
