"""ResNets against Keras' own, and the differences of their layouts."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, resnet_utils
from scripts.oracles import keras_models

v1 = tf.compat.v1
MODELS = {
  'resnet50_keras': keras.applications.ResNet50,
  'resnet101_keras': keras.applications.ResNet101,
  'resnet152_keras': keras.applications.ResNet152,
  'resnet_v2_50': keras.applications.ResNet50V2,
  'resnet_v2_101': keras.applications.ResNet101V2,
  'resnet_v2_152': keras.applications.ResNet152V2,
}


@pytest.fixture
def build(randomize):
  """Builds a network with bounded activations, so that biases have an effect at any depth."""
  def function(name, num_classes=12):
    network = nets_factory.build_network(name, image_shape=(64, 64, 3), num_classes=num_classes)
    values = randomize(network)
    for key in values:
      if key.endswith(('v1/conv3/BatchNorm/gamma', 'v2/conv3/weights')):
        values[key] *= np.float32(0.3)
    if name.startswith('resnet_v2'):
      # Keras' pooling pads with zeros, TF-Slim's ignores padding: the same for positive inputs.
      values[f'{name}/conv1/biases'] += np.float32(10)
      values[f'{name}/block1/unit_1/bottleneck_v2/preact/moving_mean'] += np.float32(10)
    for key, value in values.items():
      network.variables[key].assign(value)
    return network, values

  return function


# Keras pads symmetrically, like our networks for its weights. In ResNet V2 our pooling does not, so
# both agree only if its input has an odd size, as with images of 97 and 66 pixels, but not 64.
@pytest.mark.parametrize(('name', 'size'), [
  ('resnet50_keras', 64), ('resnet_v2_50', 66),
  *(pytest.param(name, size, marks=pytest.mark.thorough) for name, size in (
    ('resnet50_keras', 97), ('resnet_v2_50', 97),  # The first is also trained below.
    ('resnet101_keras', 64), ('resnet101_keras', 97),
    ('resnet152_keras', 64), ('resnet152_keras', 97),
    ('resnet_v2_101', 66), ('resnet_v2_101', 97),
    ('resnet_v2_152', 66), ('resnet_v2_152', 97)))])
def test_logits_equal_keras(name, size, rng, build):
  network, values = build(name)
  model = MODELS[name](input_shape=(size, size, 3), weights=None, classes=12,
                       classifier_activation=None)
  images = rng.uniform(-1, 1, [3, size, size, 3]).astype(np.float32)
  keras_models.assign(name, model, values)
  expected = model(images, training=False).numpy()
  logits, _ = network(images, is_training=False)
  assert np.abs(expected[0] - expected[1]).max() > 0.01 * expected.std()
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std())


def test_training_equals_keras(rng, build):
  network, values = build('resnet50_keras')
  model = MODELS['resnet50_keras'](input_shape=(97, 97, 3), weights=None, classes=12,
                                   classifier_activation=None)
  images = rng.uniform(-1, 1, [4, 97, 97, 3]).astype(np.float32)
  theirs = keras_models.assign('resnet50_keras', model, values)
  weights = rng.uniform(-1, 1, [4, 12]).astype(np.float32)

  def differentiate(apply, variables):
    with tf.GradientTape() as tape:
      logits = apply()
      loss = tf.reduce_sum(logits * weights)
    return logits.numpy(), tape.gradient(loss, variables)

  expected, their_gradients = differentiate(
    lambda: model(images, training=True), [theirs[key].value for key in network.trainable])
  logits, gradients = differentiate(
    lambda: network(images, is_training=True)[0], [network.variables[key]
                                                   for key in network.trainable])
  np.testing.assert_allclose(logits, expected, rtol=0, atol=2e-2 * expected.std())
  norms = [np.linalg.norm(gradient) for gradient in their_gradients]
  for key, ours, other, norm in zip(network.trainable, gradients, their_gradients, norms,
                                    strict=True):
    # Rounding switches ReLUs; biases before batch norm have gradients only from rounding.
    slack = 3e-2 * norm + 1e-5 * max(norms)
    assert np.linalg.norm(ours - tf.reshape(other, ours.shape)) < slack, key
  for key, variable in network.variables.items():
    if key.endswith(('moving_mean', 'moving_variance')):
      np.testing.assert_allclose(variable, theirs[key].numpy(), rtol=2e-2, atol=1e-3, err_msg=key)


# Height of the outputs of the first and the last unit of each block at 224 pixels.
@pytest.mark.parametrize(('name', 'unit', 'counts', 'first', 'last'), [
  ('resnet_v1_50', 'bottleneck_v1', (3, 4, 6, 3), (56, 28, 14, 7), (28, 14, 7, 7)),
  ('resnet_v2_50', 'bottleneck_v2', (3, 4, 6, 3), (56, 28, 14, 7), (28, 14, 7, 7)),
  ('resnet50_keras', 'bottleneck_v1', (3, 4, 6, 3), (56, 28, 14, 7), (56, 28, 14, 7)),
  ('resnet50_torchvision', 'bottleneck_v1', (3, 4, 6, 3), (56, 28, 14, 7), (56, 28, 14, 7)),
  ('resnet_v1_18', 'basic_v1', (2, 2, 2, 2), (56, 28, 14, 7), (56, 28, 14, 7)),
  ('resnet_v1_34', 'basic_v1', (3, 4, 6, 3), (56, 28, 14, 7), (56, 28, 14, 7))])
def test_position_of_the_stride(name, unit, counts, first, last):
  with tf.Graph().as_default():
    _, end_points = nets_factory.get_network_fn(name, 10)(tf.zeros([1, 224, 224, 3]))
  for block, (count, *sizes) in enumerate(zip(counts, first, last, strict=True), start=1):
    scope = f'{name}/block{block}'
    assert f'{scope}/unit_{count + 1}/{unit}' not in end_points
    assert end_points[scope] is end_points[f'{scope}/unit_{count}/{unit}']
    assert [end_points[f'{scope}/unit_{i}/{unit}'].shape[1] for i in (1, count)] == sizes


@pytest.mark.parametrize(('name', 'unit', 'sizes'), [
  ('resnet_v1_50', 'block2/unit_4/bottleneck_v1', (28, 14, 14)),
  ('resnet50_keras', 'block2/unit_1/bottleneck_v1', (28, 28, 28)),
  ('resnet50_torchvision', 'block2/unit_1/bottleneck_v1', (56, 28, 28)),
  ('resnet_v1_18', 'block2/unit_1/basic_v1', (28, 28))])
def test_strided_convolution_of_a_unit(name, unit, sizes):
  with tf.Graph().as_default():
    _, end_points = nets_factory.get_network_fn(name, 10)(tf.zeros([1, 224, 224, 3]))
  assert [end_points[f'{name}/{unit}/conv{i}'].shape[1]
          for i, _ in enumerate(sizes, start=1)] == list(sizes)


@pytest.mark.thorough
def test_slims_layout_equals_keras_except_for_the_pooling(rng, build):
  """A stride of the last 3×3 omits what a stride of the next 1×1 would skip."""
  slims, values = build('resnet_v1_50')
  kerass, others = build('resnet50_keras')
  for name in others:
    value = values.get(name.replace('resnet50_keras', 'resnet_v1_50'), np.zeros_like(others[name]))
    kerass.variables[name].assign(value)
  for size, is_equal in ((65, True), (64, False)):
    images = rng.uniform(-1, 1, [2, size, size, 3]).astype(np.float32)
    ours, theirs = (net(images, is_training=False)[0].numpy() for net in (slims, kerass))
    assert (np.abs(ours - theirs).max() < 1e-4 * ours.std()) == is_equal


@pytest.mark.parametrize('size', [1, 2, 7, 8])
def test_max_pool2d_same_ignores_padding(size, rng):
  images = tf.nn.relu(rng.normal(size=[2, size, size, 3]).astype(np.float32))
  margins = [[0, 0], [1, 1], [1, 1], [0, 0]]
  np.testing.assert_array_equal(
    resnet_utils.max_pool2d_same(images, 3, 2, scope='pool'),
    tf.nn.max_pool2d(images, 3, 2, padding=margins))


def test_first_convolution_of_v2_has_biases_and_no_batch_norm():
  with tf.Graph().as_default():
    nets_factory.get_network_fn('resnet_v2_50', 10)(tf.zeros([1, 64, 64, 3]))
    names = {v.op.name for v in v1.global_variables()}
  assert {name for name in names if name.startswith('resnet_v2_50/conv1/')} == {
    'resnet_v2_50/conv1/weights', 'resnet_v2_50/conv1/biases'}
