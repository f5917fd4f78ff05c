"""Cutting networks before the first trained layer: both parts together equal the network."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import cut, nets_factory

# Networks that need their own size, and the size of the others.
_SIZES = {'alexnet': 227, 'caffenet': 227, 'overfeat': 231, 'vgg': 224, 'inception_v4': 107,
          'inception_resnet': 107, 'inception_v3': 107, 'cifarnet': 32, 'lenet': 28}
_OF_FAMILIES = ('alexnet_v2', 'efficientnet_lite0', 'inception_v3', 'lenet', 'mobilenet_v3_small',
                'resnet_v1_18', 'squeezenet')
# Number of channels of the dropout before the layer below the classifier.
_DROPOUT_BELOW = {'alexnet_torchvision': 256, 'cifarnet': 384, 'overfeat': 3072}
# A head with arithmetic on its own variables, one of which tracks the features.
_FUNCTION = """
import tensorflow as tf
from nets import layers

def head(net, num_classes, is_training):
  net = layers.flatten(net)
  scale = tf.compat.v1.get_variable("scale", net.shape[1:])
  bias = tf.compat.v1.get_variable("bias", [net.shape[-1]])
  mean = tf.compat.v1.get_variable("mean", [net.shape[-1]], trainable=False)
  net = net - mean
  if is_training:
    mean.assign(0.9 * mean + 0.1 * tf.reduce_mean(net, 0))
    mean.assign_add(0.01 * bias)
  net = (1.0 + scale) ** 2 * (net + mean) + bias.read_value() / 2 - (-bias)[0] * bias.value()[:1]
  return layers.fully_connected(net, num_classes, activation_fn=None, scope="fc")
"""
_DROP_PATHS = ('nasnet_cifar', 'nasnet_large', 'pnasnet_large')
_KEYS = tf.constant([[1, 2], [3, 4], [5, 6]], tf.int64)
_STEP = tf.constant(5, tf.int64)


def _every_network(*slow):
  """All networks; those not listed run only with --thorough."""
  return pytest.mark.parametrize('name', [
    pytest.param(name, marks=pytest.mark.slow if name in slow else pytest.mark.thorough)
    for name in sorted(nets_factory.NETS)])


def _size(name):
  return next((size for prefix, size in _SIZES.items() if name.startswith(prefix)), 64)


def _build(name, trainable_scopes=None):
  net, size = nets_factory.get_net(name), _size(name)
  network = nets_factory.build_network(
    name, image_shape=[size, size, net.channels], num_classes=7, weight_decay=1e-4,
    trainable_scopes=net.head[:1] if trainable_scopes is None else trainable_scopes,
    is_training=True)
  return network, [size, size, net.channels]


@tf.function(autograph=False)
def _differentiate(network, images, is_training):
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    trained = [network.variables[name] for name in network.trainable]
    tape.watch(trained)
    logits, end_points = network(images, is_training=is_training, keys=_KEYS, step=_STEP)
    loss = tf.reduce_sum(tf.square(logits) * tf.range(1.0, 8))
    if 'AuxLogits' in end_points:
      loss += tf.reduce_sum(end_points['AuxLogits'])
  return logits, tape.gradient(loss, trained)


def _assert_parts_equal_network(network, shape, rng):
  trunk, head, boundary = cut.cut(network, shape)
  images = tf.constant(rng.normal(size=[3, *shape]), tf.float32)
  start = {name: variable.numpy() for name, variable in network.variables.items()}
  results = []
  for part in (network, head):
    for name, variable in network.variables.items():
      variable.assign(start[name])
    inputs = images if part is network else list(tf.function(trunk, autograph=False)(images))
    found = [_differentiate(part, inputs, is_training) for is_training in (True, False)]
    results.append((found, {n: v.numpy() for n, v in network.variables.items()}))
  (whole, after), (parts, after_parts) = results
  tf.nest.map_structure(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(a).max()),
    whole, parts)
  for name, value in after.items():  # Batch norm's averages.
    np.testing.assert_allclose(after_parts[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
  return boundary


@_every_network(*_OF_FAMILIES)
def test_every_network_is_cut_before_its_head(name):
  net = nets_factory.get_net(name)
  network, shape = _build(name)
  _, _, boundary = cut.cut(network, shape)
  assert boundary
  assert all(tensor.name != 'cut/images:0' for tensor in boundary), boundary
  classifier = next(network.variables[n] for n in network.trainable if len(
    network.variables[n].shape) > 1)
  if name.startswith(_DROP_PATHS):
    return  # Random already much earlier.
  # The boundary includes the input of the classifier, or of the dropout before it.
  expected = _DROPOUT_BELOW.get(name, classifier.shape[-2])
  assert expected in {tensor.shape[-1] for tensor in boundary}, (net.head, boundary)


@_every_network('cifarnet', 'inception_v3', 'mobilenet_v3_small', 'resnet_v1_18')
def test_trunk_and_head_equal_network(name, rng):
  network, shape = _build(name)
  _assert_parts_equal_network(network, shape, rng)


@pytest.mark.parametrize(('name', 'scopes', 'expected'), [
  ('lenet', ['LeNet/fc3', 'LeNet/fc4'], ['LeNet/Reshape:0']),
  ('mobilenet_v1_025', ['MobilenetV1/Conv2d_13_pointwise', 'MobilenetV1/Logits'],
   ['MobilenetV1/Conv2d_13_depthwise/Relu6:0']),
  # Trained batch norm, which is only in the head, updates its moving averages.
  ('mobilenet_v1_025', ['MobilenetV1/Conv2d_12_pointwise/BatchNorm', 'MobilenetV1/Logits'], None),
])
def test_cut_below_the_classifier(name, scopes, expected, rng):
  network, shape = _build(name, scopes)
  boundary = _assert_parts_equal_network(network, shape, rng)
  if expected:
    assert [tensor.name for tensor in boundary] == expected


def test_head_function_with_arithmetic_on_variables(tmp_path, rng):
  (tmp_path / 'mine.py').write_text(_FUNCTION)
  network = nets_factory.build_network(
    'lenet', head=f'{tmp_path}/mine.py:head', head_from='pool1', image_shape=[28, 28, 1],
    num_classes=7, trainable_scopes=['head'], is_training=True)
  assert network.trainable == ['head/scale', 'head/bias', 'head/fc/weights', 'head/fc/biases']
  boundary = _assert_parts_equal_network(network, [28, 28, 1], rng)
  # Before the subtraction of the mean, which changes at every step.
  assert [tensor.shape for tensor in boundary] == [(14 * 14 * 32,)]


def test_no_cut_without_frozen_layers():
  network, shape = _build('lenet', [])
  _, _, boundary = cut.cut(network, shape)
  assert [tensor.name for tensor in boundary] == ['cut/images:0']


@_every_network('mobilenet_v1_025')
def test_head_trains_on_every_replica(name, rng):
  strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'],
                                            tf.distribute.ReductionToOneDevice())
  with strategy.scope():
    network, shape = _build(name)
  trunk, head, _ = cut.cut(network, shape)
  features = tf.function(trunk, autograph=False)(tf.constant(rng.normal(size=[6, *shape]),
                                                             tf.float32))
  halves = [tf.stack([tensor[:3], tensor[3:]]) for tensor in features]

  def replica(context):
    index = context.replica_id_in_sync_group
    return [tensor[index] for tensor in halves]

  values = strategy.experimental_distribute_values_from_function(replica)

  @tf.function(autograph=False)
  def step():
    return strategy.run(lambda given: _differentiate.python_function(head, given, True),
                        args=(values,))

  alone, _ = _build(name)  # The same seed gives the same variables.
  _, alone, _ = cut.cut(alone, shape)
  found = strategy.experimental_local_results(step())
  assert len(found) == 2
  for index, (logits, gradients) in enumerate(found):
    expected, expected_gradients = _differentiate(alone, [tensor[index] for tensor in halves], True)
    for received, value in zip([logits, *gradients], [expected, *expected_gradients], strict=True):
      assert np.abs(value).max() > 0
      np.testing.assert_allclose(received, value, rtol=1e-3, atol=1e-4 * np.abs(value).max())
