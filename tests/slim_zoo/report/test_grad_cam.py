"""Grad-CAM against Keras on the same weights, and against its definition."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import slim_zoo
from nets import nets_factory
from slim_zoo.report.grad_cam import GradCam


def _of_keras(model, layer, images, classes):
  """Grad-CAM as Keras' example computes it, with all images at once."""
  both = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
  with tf.GradientTape() as tape:
    values, outputs = both(images)
    score = tf.reduce_sum(tf.gather(outputs, classes, batch_dims=1))
  weights = tf.reduce_mean(tape.gradient(score, values), axis=(1, 2))
  maps = tf.nn.relu(tf.einsum('bhwc,bc->bhw', values, weights)).numpy()
  return maps / maps.max(axis=(1, 2), keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize(('ours', 'theirs'), [
  (None, 'conv_pw_13_relu'), ('Conv2d_11_pointwise', 'conv_pw_11_relu')])
def test_maps_are_those_of_keras(zoo_assets, ours, theirs):
  path = zoo_assets / 'weights' / 'keras_mobilenet_0.25_128.h5'
  model = slim_zoo.load(path, model_name='mobilenet_v1_025', image_size=128)
  photos = sorted((zoo_assets / 'imagenet_sample').glob('*.jpg'))[:1000:250]
  images = model.preprocess(photos)
  classes = np.argmax(model(images), axis=1)
  found = GradCam(model.network, ours)
  assert found.layer in (ours, 'Conv2d_13_pointwise')
  net = keras.applications.MobileNet(input_shape=(128, 128, 3), alpha=0.25, weights=str(path),
                                     classifier_activation=None)
  expected = _of_keras(net, theirs, images, classes)
  maps = found(images, classes)
  assert maps.shape == (4, 128, 128) and maps.min() >= 0 and maps.max() <= 1
  np.testing.assert_allclose(
    maps, tf.image.resize(expected[..., np.newaxis], [128, 128])[..., 0], atol=2e-4)


@pytest.mark.parametrize(('name', 'size', 'layer'), [
  ('mobilenet_v1_025', 96, 'Conv2d_13_pointwise'),
  pytest.param('resnet_v1_18', 96, None, marks=pytest.mark.slow),
  pytest.param('resnet_v2_50', 96, None, marks=pytest.mark.slow),
  pytest.param('inception_v3', 139, 'Mixed_7c', marks=pytest.mark.slow),
  pytest.param('efficientnet_lite0', 96, None, marks=pytest.mark.slow),
  pytest.param('mobilenet_v3_small', 96, None, marks=pytest.mark.slow),
  pytest.param('alexnet_v2', 224, 'alexnet_v2/pool5', marks=pytest.mark.slow)])
def test_default_layer_is_the_last_with_several_pixels(name, size, layer):
  network = nets_factory.build_network(name, image_shape=[size, size, 3], num_classes=5)
  images = np.random.default_rng(0).normal(size=[2, size, size, 3]).astype(np.float32)
  found = GradCam(network)
  assert layer in (None, found.layer)
  point = network(images, is_training=False)[1][found.layer]
  assert point.shape[1] * point.shape[2] > 1
  maps = found(images, np.array([0, 4]))
  assert maps.shape == (2, size, size) and np.isfinite(maps).all() and maps.max() > 0.5


def test_unknown_layer_is_named():
  network = nets_factory.build_network('mobilenet_v1_025', image_shape=[64, 64, 3], num_classes=2)
  with pytest.raises(ValueError, match=r'Conv2d_13_pointwize.*Conv2d_13_pointwise'):
    GradCam(network, 'Conv2d_13_pointwize')
