"""SqueezeNet: its shapes, poolings that round up, and features without classes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory

# Heights from the authors' Caffe files at 227 pixels, whose pooling rounds up.
SHAPES = {
  'squeezenet': {'conv1': (111, 96), 'pool1': (55, 96), 'fire4': (55, 256), 'pool4': (27, 256),
                 'fire8': (27, 512), 'pool8': (13, 512), 'fire9': (13, 512), 'conv10': (13, 10)},
  'squeezenet_1_1': {'conv1': (113, 64), 'pool1': (56, 64), 'fire3': (56, 128), 'pool3': (28, 128),
                     'fire5': (28, 256), 'pool5': (14, 256), 'fire9': (14, 512),
                     'conv10': (14, 10)},
}


@pytest.mark.parametrize('name', SHAPES)
def test_shapes(name):
  with tf.Graph().as_default():
    _, end_points = nets_factory.get_network_fn(name, 10)(tf.zeros([1, 227, 227, 3]))
  shapes = {key: tuple(end_points[f'{name}/{key}'].shape[2:]) for key in SHAPES[name]}
  assert shapes == SHAPES[name]
  assert end_points[f'{name}/fire2/squeeze'].shape[-1] == 16
  assert end_points[f'{name}/fire9/expand3x3'].shape[-1] == 256


@pytest.mark.parametrize('name', SHAPES)
def test_logits_and_features_are_means_over_the_image(name, rng, randomize):
  images = rng.uniform(-1, 1, [2, 70, 81, 3]).astype(np.float32)
  network = nets_factory.build_network(name, image_shape=(64, 64, 3), num_classes=10)
  values = randomize(network)
  logits, end_points = network(images, is_training=False)
  np.testing.assert_allclose(logits, np.mean(end_points[f'{name}/conv10'], (1, 2)), rtol=1e-5)
  assert np.min(logits) >= 0
  headless = nets_factory.build_network(name, image_shape=(64, 64, 3), num_classes=None)
  for key, variable in headless.variables.items():
    variable.assign(values[key])
  features, _ = headless(images, is_training=True)  # No dropout, so no keys.
  np.testing.assert_allclose(features, np.mean(end_points[f'{name}/fire9'], (1, 2)), rtol=1e-5)
  np.testing.assert_allclose(features, np.squeeze(end_points['global_pool']), rtol=1e-5)


def test_pooling_rounds_up(rng, randomize):
  """At 33 pixels, unlike 31, a window that is partly outside the image covers the last row."""
  network = nets_factory.build_network('squeezenet_1_1', image_shape=(64, 64, 3), num_classes=10)
  randomize(network)
  for size, rows, start in ((33, 16, 14), (31, 15, 12)):
    images = rng.uniform(-1, 1, [1, size, size, 3]).astype(np.float32)
    _, end_points = network(images, is_training=False)
    first, pooled = (end_points[f'squeezenet_1_1/{key}'].numpy() for key in ('conv1', 'pool1'))
    assert first.shape[1] == rows
    np.testing.assert_array_equal(pooled[:, -1, 0], first[:, start:, :3].max(axis=(1, 2)))
