"""Folded batch norm gets new statistics, and the network's outputs stay the same."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory, network, outline
from slim_zoo.weights.batch_norm_estimation import re_estimate

_EPSILON = 1e-3


def _function(images, num_classes, *, is_training):
  with tf.compat.v1.variable_scope('net'), \
      layers.arg_scope([layers.batch_norm], is_training=is_training):
    net = layers.conv2d(images, 6, 3, normalizer_fn=layers.batch_norm, scope='conv1')
    net = layers.separable_conv2d(net, None, 3, stride=2, normalizer_fn=layers.batch_norm,
                                  scope='conv2')
    net = layers.batch_norm(net, scope='preact', activation_fn=tf.nn.relu)
    net = layers.flatten(net)
    net = layers.fully_connected(net, 7, normalizer_fn=layers.batch_norm, scope='fc3')
    return layers.fully_connected(net, num_classes, activation_fn=None, scope='fc4'), {}


def _arg_scope(weight_decay, *, scale=True):
  del weight_decay
  with layers.arg_scope([layers.batch_norm], scale=scale, epsilon=_EPSILON) as sc:
    return sc


def _network(*, scale=True):
  """A network whose first batch norm is folded; the others have random values."""
  net = network.Network(_function, lambda weight_decay: _arg_scope(weight_decay, scale=scale),
                        image_shape=[6, 6, 3], num_classes=5)
  rng = np.random.default_rng(0)
  for name, variable in net.variables.items():
    kind = name.rpartition('/')[2]
    values = rng.uniform(0.2, 2, variable.shape) if kind in ('moving_variance', 'gamma') else \
      rng.normal(size=variable.shape)
    if name.startswith('net/conv1/BatchNorm/'):
      values = {'moving_mean': 0, 'moving_variance': 1 - _EPSILON, 'gamma': 1}.get(kind, values)
    variable.assign(np.broadcast_to(values, variable.shape).astype(np.float32))
  return net


def _images(count=40):
  return np.random.default_rng(1).normal(1, 2, [count, 6, 6, 3]).astype(np.float32)


def _logits(net, images, is_training=False):
  return net(tf.constant(images), is_training=is_training)[0].numpy()


def test_training_outputs_equal_inference_outputs():
  net, images = _network(), _images()
  before = _logits(net, images)
  assert np.abs(_logits(_network(), images, is_training=True) - before).max() > 0.5 * before.std()
  assert re_estimate(net, [images]) == []
  np.testing.assert_allclose(_logits(net, images), before, atol=1e-5 * before.std())
  # On the very images, training's mean and variance are the measured ones, the latter but for the
  # correction of the averages, a 40th at most.
  training = _logits(net, images, is_training=True)
  assert np.abs(training - before).max() < 0.1 * before.std()


def test_statistics_equal_those_of_the_first_layers_outputs():
  net, images = _network(), _images()
  inputs = tf.nn.conv2d(images, net.variables['net/conv1/weights'], 1, 'SAME').numpy()
  re_estimate(net, [images[:7], images[7:30], images[30:]])
  for name, expected in (('mean', inputs.mean((0, 1, 2), np.float64)),
                         ('variance', inputs.reshape(-1, 6).var(0, np.float64, ddof=1))):
    np.testing.assert_allclose(net.variables[f'net/conv1/BatchNorm/moving_{name}'], expected,
                               rtol=1e-4, atol=1e-5)


def test_variance_is_kept_without_gamma():
  net, images = _network(scale=False), _images()
  variances = {name: variable.numpy() for name, variable in net.variables.items()
               if name.endswith('/moving_variance')}
  before = _logits(net, images)
  assert re_estimate(net, [images]) == [name.rpartition('/')[0] for name in variances]
  np.testing.assert_allclose(_logits(net, images), before, atol=1e-5 * before.std())
  for name, variance in variances.items():
    np.testing.assert_array_equal(net.variables[name], variance)
    assert np.abs(net.variables[name.replace('variance', 'mean')].numpy()).min() > 1e-4


def test_no_images():
  with pytest.raises(ValueError, match='Expected images'):
    re_estimate(_network(), [])


def test_networks_without_batch_norm():
  net = nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=10)
  assert re_estimate(net, [np.zeros([1, 28, 28, 1], np.float32)]) == []


@pytest.mark.parametrize('name', [
  name if name in ('inception_v1', 'mobilenet_v3_small', 'resnet_v2_50')
  else pytest.param(name, marks=pytest.mark.thorough) for name in nets_factory.NETS])
def test_operators_are_named_as_their_variables(name):
  """The estimation finds the variables of an operator by its name."""
  net = nets_factory.get_net(name)
  traced = outline.trace(name, 10, image_shape=[net.image_size, net.image_size, net.channels])
  scopes = {operator.name.rpartition('/')[0] for operator in traced.graph.get_operations()
            if operator.type == 'FusedBatchNormV3'}
  assert scopes == {variable.rpartition('/')[0] for variable in traced.others
                    if variable.endswith('/moving_variance')}
