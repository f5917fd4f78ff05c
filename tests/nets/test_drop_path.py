"""Stochastic depth of every residual network: what is dropped, and how often."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, random_layers

# {network: (number of residual blocks that can be dropped, depth of the first and the last)}.
_NETWORKS = {
  'resnet_v1_18': (8, 1 / 8, 1), 'resnet_v1_50': (16, 1 / 16, 1), 'resnet_v2_50': (16, 1 / 16, 1),
  'resnet50_keras': (16, 1 / 16, 1), 'resnet50_torchvision': (16, 1 / 16, 1),
  'mobilenet_v2': (10, 3 / 17, 16 / 17), 'mobilenet_v3_small': (6, 3 / 11, 1),
  'mobilenet_v3_large': (10, 1 / 15, 1), 'mobilenet_edgetpu': (15, 3 / 22, 21 / 22),
  'efficientnet_lite0': (9, 2 / 16, 14 / 16), 'inception_resnet_v2': (40, 1 / 40, 1),
}


@pytest.fixture
def drawn(monkeypatch):
  """The (scope, probability of keeping) of each path that is drawn."""
  found = {}

  def scale(inputs, keep_prob, *, keys, shape, scope):
    if scope.endswith('drop_path'):
      found[scope] = keep_prob
    return inputs

  monkeypatch.setattr(random_layers, '_scale_kept', scale)
  return found


def _build(name, **arguments):
  size = 96 if name == 'inception_resnet_v2' else 32
  return nets_factory.build_network(name, image_shape=[size, size, 3], num_classes=3,
                                    is_training=True, **arguments)


@pytest.mark.parametrize('name', [
  pytest.param(name, marks=() if name in ('resnet_v1_18', 'mobilenet_v2', 'efficientnet_lite0')
               else pytest.mark.thorough) for name in _NETWORKS])
def test_rate_rises_with_the_depth(drawn, name):
  count, first, last = _NETWORKS[name]
  _build(name, drop_path_rate=0.4)
  keep = list(drawn.values())
  assert len(keep) == count and keep == sorted(keep, reverse=True)
  np.testing.assert_allclose([keep[0], keep[-1]], [1 - 0.4 * first, 1 - 0.4 * last])


@pytest.mark.parametrize('name', ['resnet_v1_18', 'mobilenet_v2'])
def test_nothing_is_dropped_by_default(drawn, name):
  _build(name)
  assert not drawn


def test_nothing_is_dropped_where_nothing_is_trained(drawn):
  _build('resnet_v1_18', drop_path_rate=0.4,
         trainable_scopes=['resnet_v1_18/logits', 'resnet_v1_18/block4/unit_2'])
  assert list(drawn) == ['resnet_v1_18/block4/unit_2/basic_v1/drop_path']


def test_dropped_block_is_its_shortcut():
  network = _build('resnet_v1_18', drop_path_rate=0.999)
  images = tf.random.stateless_normal([4, 32, 32, 3], [1, 2])
  keys = tf.stack([tf.zeros(4, tf.int64), tf.range(4, dtype=tf.int64)], axis=1)
  _, end_points = network(images, is_training=True, keys=keys)
  before, after = (end_points[f'resnet_v1_18/block4/unit_{unit}/basic_v1'].numpy()
                   for unit in (1, 2))
  np.testing.assert_array_equal(after, before)


def test_networks_without_blocks_are_refused():
  with pytest.raises(ValueError, match='--drop_path_rate'):
    _build('mobilenet_v1_025', drop_path_rate=0.1)
