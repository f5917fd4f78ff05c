"""MobileNet V1 against Keras' own, and with published weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from scripts.oracles import keras_models


@pytest.mark.parametrize(('name', 'alpha', 'size'), [
  ('mobilenet_v1_025', 0.25, 64), ('mobilenet_v1_025', 0.25, 128), ('mobilenet_v1', 1.0, 64)])
def test_logits_equal_keras(name, alpha, size, rng, randomize):
  model = keras.applications.MobileNet(
    input_shape=(size, size, 3), alpha=alpha, weights=None, classes=12, classifier_activation=None)
  network = nets_factory.build_network(name, image_shape=(224, 224, 3), num_classes=12)
  keras_models.assign(name, model, randomize(network))
  images = rng.uniform(-1, 1, [3, size, size, 3]).astype(np.float32)
  expected = model(images, training=False).numpy()
  logits, end_points = network(images, is_training=False)
  assert np.abs(expected[0] - expected[1]).max() > 0.01 * expected.std()
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std())
  np.testing.assert_allclose(end_points['Predictions'], tf.nn.softmax(expected), atol=1e-5)


def test_published_checkpoint_has_the_same_names_and_shapes(zoo_assets):
  folder = zoo_assets / 'weights' / 'mobilenet_v1_1.0_224'
  index, = folder.glob('*.index')
  reader = tf.train.load_checkpoint(str(index.with_suffix('')))
  published = reader.get_variable_to_shape_map()
  published.pop('global_step')
  network = nets_factory.build_network('mobilenet_v1', image_shape=(224, 224, 3),
                                       num_classes=nets_factory.NETS['mobilenet_v1'].published.classes)
  assert {name: list(v.shape) for name, v in network.variables.items()} == published


def photo(path, size):
  image = tf.io.decode_jpeg(tf.io.read_file(str(path)), channels=3)
  return tf.image.resize(image, (size, size)) / 127.5 - 1


def test_published_keras_weights_recognize_photos(zoo_assets):
  model = keras.applications.MobileNet(input_shape=(128, 128, 3), alpha=0.25, weights=None)
  model.load_weights(zoo_assets / 'weights' / 'keras_mobilenet_0.25_128.h5')
  network = nets_factory.build_network('mobilenet_v1_025', image_shape=(128, 128, 3),
                                       num_classes=1000)
  for ours, theirs in keras_models.variables('mobilenet_v1_025', model, network.variables).items():
    network.variables[ours].assign(tf.reshape(theirs, network.variables[ours].shape))
  paths = sorted((zoo_assets / 'imagenet_sample').glob('*.jpg'))[::125]
  images = tf.stack([photo(path, 128) for path in paths])
  predictions = network(images, is_training=False)[1]['Predictions'].numpy()
  np.testing.assert_allclose(predictions, model(images, training=False), atol=1e-5)
  labels = [int(path.name.split('_')[0]) for path in paths]
  assert len(paths) == 8
  assert np.mean(predictions.argmax(axis=1) == labels) >= 0.375  # 0.45 on all 1,000 photos.
