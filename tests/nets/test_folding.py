"""Inference with folded batch norm against batch norm itself."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory, network
from nets.folding import Folded

# With the number of batch norms that follow no layer directly.
_NETWORKS = {'mobilenet_v1_025': 0, 'mobilenet_v3_small': 0, 'efficientnet_lite0': 0,
             'inception_v3': 0, 'resnet_v1_18': 0, 'resnet50_keras': 0, 'alexnet_v2': 0,
             # Before each of 16 units, and at the end.
             'resnet_v2_50': 17}
_NORM = 'FusedBatchNormV3'


def _operations(function, *arguments):
  graph = tf.function(function, autograph=False).get_concrete_function(*arguments).graph
  return [operation.type for operation in graph.get_operations()]


@pytest.fixture
def build(rng):
  def build(name, size=96, **options):
    net = nets_factory.build_network(name, image_shape=[size, size, 3], num_classes=7, **options)
    for variable in net.variables.values():
      if len(variable.shape) == 1:  # Of batch norm, and biases.
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    return net
  return build


@pytest.mark.parametrize('name', [
  pytest.param(name, marks=[] if name == 'mobilenet_v3_small' else pytest.mark.slow)
  for name in _NETWORKS])
def test_folded_networks_compute_the_same(name, build, rng):
  size = 224 if name == 'alexnet_v2' else 96
  net, images = build(name, size), rng.random([2, size, size, 3], np.float32)
  folded = Folded(net)
  expected, points = net(images, is_training=False)
  logits, found = folded(images)
  assert list(found) == list(points)
  for one, other in [(logits, expected), *((found[name], points[name]) for name in points)]:
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-5 * float(tf.reduce_max(abs(other))))
  assert _operations(folded, images).count(_NORM) == _NETWORKS[name]


@pytest.mark.parametrize('layer', [
  lambda images: layers.conv2d(images, 6, 3, normalizer_fn=layers.batch_norm),
  lambda images: layers.conv2d(images, 6, 3, groups=2, normalizer_fn=layers.batch_norm),
  lambda images: layers.conv2d(images, 6, 8, padding='VALID', normalizer_fn=layers.batch_norm),
  lambda images: layers.separable_conv2d(images, None, 3, normalizer_fn=layers.batch_norm),
  lambda images: layers.separable_conv2d(images, None, 3, 2, normalizer_fn=layers.batch_norm),
  lambda images: layers.separable_conv2d(images[..., :1], None, 3, 2,
                                         normalizer_fn=layers.batch_norm),
  lambda images: layers.separable_conv2d(images, 5, 3, normalizer_fn=layers.batch_norm),
  lambda images: layers.fully_connected(layers.flatten(images), 5,
                                        normalizer_fn=layers.batch_norm)])
@pytest.mark.parametrize(('dtype', 'difference'), [(tf.float32, 1e-5), (tf.bfloat16, 0.1)])
def test_folded_layers_compute_the_same(layer, dtype, difference, rng):
  def function(images, num_classes, *, is_training):
    del num_classes
    with layers.arg_scope([layers.batch_norm], is_training=is_training, scale=True):
      return layer(images), {}

  def no_scope(weight_decay):
    del weight_decay
    with layers.arg_scope([]) as scope:
      return scope

  net = network.Network(function, no_scope, image_shape=[8, 8, 4], num_classes=1, dtype=dtype)
  for name, variable in net.variables.items():
    variable.assign(rng.uniform(0.5, 1.5, variable.shape) if 'variance' in name else
                    rng.normal(size=variable.shape))
  images = rng.normal(size=[3, 8, 8, 4]).astype(np.float32)
  folded = Folded(net)
  expected = net(images, is_training=False)[0].numpy()
  np.testing.assert_allclose(folded(images)[0], expected, rtol=0,
                             atol=difference * np.abs(expected).max())
  assert _NORM not in _operations(folded, images)


def test_layers_after_the_start_of_a_custom_head_are_not_folded(build, rng):
  net = build('mobilenet_v1_025', head='pool,fc', head_from='Conv2d_5_pointwise')
  images = rng.random([2, 96, 96, 3], np.float32)
  expected = net(images, is_training=False)[0]
  traced = tf.function(Folded(net), autograph=False)
  np.testing.assert_allclose(traced(images)[0], expected, rtol=1e-4, atol=1e-5)


def test_later_changes_have_no_effect_on_folded_weights(build, rng):
  net, images = build('mobilenet_v1_025'), rng.random([1, 96, 96, 3], np.float32)
  folded = Folded(net)
  before = folded(images)[0].numpy()
  beta = net.variables['MobilenetV1/Conv2d_13_pointwise/BatchNorm/beta']
  beta.assign(tf.zeros_like(beta))
  np.testing.assert_array_equal(folded(images)[0], before)
  assert np.abs(net(images, is_training=False)[0] - before).max() > 1e-3


def test_training_is_refused(build):
  with pytest.raises(ValueError, match='is_training'):
    Folded(build('mobilenet_v1_025'))(tf.zeros([1, 96, 96, 3]), is_training=True)
