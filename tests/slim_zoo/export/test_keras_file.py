"""Exports to Keras: `keras.models.load_model` computes the same, and we read the same variables."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from preprocessing.preprocessing_factory import PREPROCESSING
from scripts.oracles import exports, values
from slim_zoo.export import keras_file, runner
from slim_zoo.export.model import LOGITS, PROBABILITIES, Model
from slim_zoo.weights import restore, sources
from slim_zoo.weights.dialects import keras as names

QUICK = ('mobilenet_v1_025',)
SLOW = ('inception_v3', 'mobilenet_v2_035', 'mobilenet_v3_small', 'resnet50_keras', 'vgg_16')


def mark(name):
  if name in QUICK:
    return name
  return pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.thorough)


def export(folder, name, size, **arguments):
  model = exports.model(name, size, **arguments)
  keras_file.write(model, folder / 'model.keras')
  return model, folder / 'model.keras'


def assert_same_outputs(model, path):
  images = values.images(2, model.image_size, model.channels)
  expected = {name: value.numpy() for name, value in model.outputs(images).items()}
  scale = np.abs(expected[LOGITS]).max()
  assert np.abs(expected[LOGITS][0] - expected[LOGITS][1]).max() > 0.01 * scale
  logits = keras_file.open_export(path)[runner.IMAGES](images)
  difference = np.abs(logits - expected[LOGITS]).max() / scale
  print(f'{model.name} at {model.image_size}: {difference:.1e}')
  assert difference < 1e-4
  found = keras.models.load_model(path)
  assert found.input.name == keras_file.INPUT
  assert found.output_names == [keras_file.PROBABILITIES]
  np.testing.assert_allclose(found(images, training=False), expected[PROBABILITIES],
                             atol=1e-5 * max(1, scale))


def assert_same_variables(model, path):
  """Restores the file; only products with a number other than 1 are rounded."""
  ours = {name: tuple(variable.shape) for name, variable in model.network.variables.items()}
  weights = sources.open_weights(str(path))
  report = restore.plan(weights.source, ours, weights.takes(model.name, ours))
  restore.check(report)
  assert report.unused == ()
  for row in report.rows:
    expected = model.network.variables[row.name].numpy()
    is_exact = not any('×' in step.text for step in row.take.steps)
    np.testing.assert_array_max_ulp(restore.value(row, weights.source), expected,
                                    0 if is_exact else 1)


@pytest.mark.parametrize('name', [mark(name) for name in names.NETWORKS])
def test_every_network(name, tmp_path):
  model, path = export(tmp_path, name, exports.sizes(name)[0])
  assert_same_outputs(model, path)
  assert_same_variables(model, path)


@pytest.mark.thorough
@pytest.mark.parametrize('name', [
    'inception_v3', 'mobilenet_v1_025', 'mobilenet_v2_035', 'mobilenet_v3_small', 'nasnet_mobile',
    'resnet_v2_50', 'vgg_16'])
def test_an_even_image_size(name, tmp_path):
  assert_same_outputs(*export(tmp_path, name, exports.sizes(name)[1]))


@pytest.mark.slow
def test_grey_images_of_several_classes(tmp_path):
  model, path = export(tmp_path, 'mobilenet_v1_025', 64, channels=1, num_classes=3,
                       activation=tf.nn.sigmoid)
  assert_same_outputs(model, path)
  assert keras.models.load_model(path).layers[-1].activation is keras.activations.sigmoid


@pytest.mark.slow
def test_weights_are_those_of_keras_applications(tmp_path):
  """Also for 1,001 classes, which TF-Slim's checkpoints have."""
  model, path = export(tmp_path, 'mobilenet_v1_025', 64, num_classes=1001)
  theirs = keras.applications.MobileNet(input_shape=(64, 64, 3), alpha=0.25, weights=None,
                                        classes=1001)
  theirs.load_weights(path)
  images = values.images(2, 64)
  np.testing.assert_allclose(theirs(images, training=False), model.outputs(images)[PROBABILITIES],
                             atol=1e-6)


@pytest.mark.slow
def test_weights_of_vgg_are_for_bgr(tmp_path):
  model, path = export(tmp_path, 'vgg_16', 224)
  theirs = keras.applications.VGG16(weights=None, classes=exports.CLASSES)
  theirs.load_weights(path)
  images = values.images(2, 224)
  np.testing.assert_allclose(theirs(images[..., ::-1], training=False),
                             model.outputs(images)[PROBABILITIES], atol=1e-5)


@pytest.mark.slow
def test_the_file_needs_nothing_of_this_project(tmp_path):
  """VGG's also contains an operator."""
  _, path = export(tmp_path, 'vgg_16', 224)
  code = f'import keras; print(keras.models.load_model({str(path)!r}).output_shape)'
  done = subprocess.run([sys.executable, '-I', '-c', code], cwd=tmp_path, capture_output=True,
                        text=True, check=True)
  assert done.stdout.strip() == f'(None, {exports.CLASSES})'


@pytest.mark.parametrize(('name', 'advice'), [
    ('resnet_v1_50', 'variant, resnet50_keras, '), ('resnet101_torchvision', 'resnet101_keras, '),
    ('resnet_v1_200', 'another target'), ('mobilenet_edgetpu', 'another target')])
def test_a_network_that_keras_does_not_have(name, advice, tmp_path):
  model = Model(None, 224, 3, 'vgg', PREPROCESSING['vgg'].transform, name=name)
  with pytest.raises(ValueError, match=rf'vgg_19\. Received: {name}\..*{advice}'):
    keras_file.write(model, tmp_path / 'model.keras')
  assert not list(tmp_path.iterdir())


def test_a_custom_head(tmp_path):
  with pytest.raises(ValueError, match=r'mobilenet_v1_025 with a custom head \(--head'):
    export(tmp_path, 'mobilenet_v1_025', 32, head='flatten,fc')


@pytest.mark.thorough
def test_vgg_of_large_images_has_other_weights_in_keras(tmp_path):
  with pytest.raises(ValueError, match='VGG16.*256×256.*--image_size'):
    export(tmp_path, 'vgg_16', 256)
