"""A head computes the same alone and at the end of a network."""

from __future__ import annotations

import numpy as np
import pytest

from nets import extractors, feature_classifier, nets_factory


@pytest.mark.parametrize(('end_point', 'head'), [
  ('features', 'fc'), ('pool2', 'pool,fc:7,dropout:0.5,fc'), ('pool2', 'fc')])
def test_trunk_and_head_equal_the_whole_network(end_point, head):
  images = np.random.default_rng(0).normal(size=[3, 28, 28, 1]).astype(np.float32)
  whole = nets_factory.build_network('lenet', head=head, head_from=end_point, num_classes=4,
                                     image_shape=[28, 28, 1])
  trunk = extractors.build_extractor(nets_factory.get_net('lenet'), end_point,
                                     image_shape=[28, 28, 1])
  features = trunk(images, is_training=False)[0]
  alone = feature_classifier.build(head, shape=features.shape[1:], num_classes=4, seed=5)
  assert set(whole.variables) == {*trunk.variables, *alone.variables}
  for part in (trunk, alone):
    for name, variable in part.variables.items():
      whole.variables[name].assign(variable)
  expected, end_points = whole(images, is_training=False)
  found, found_end_points = alone(features, is_training=False)
  assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)
  assert set(end_points) == set(found_end_points)


def test_all_weights_have_weight_decay():
  network = feature_classifier.build('fc:3,fc', shape=[4], num_classes=2, weight_decay=0.1)
  weights = [v.numpy() for name, v in network.variables.items() if name.endswith('/weights')]
  assert float(network.regularization_loss()) == pytest.approx(
      sum(0.05 * (w ** 2).sum() for w in weights))


def test_features_of_wrong_shape_are_rejected():
  with pytest.raises(ValueError, match=r'--head.*\(4,\)'):
    feature_classifier.build('pool,fc', shape=[4], num_classes=2)


_FUNCTION = """
from nets import layers

def head(net, num_classes, is_training):
  net = layers.conv2d(net, 6, 3, normalizer_fn=layers.batch_norm)
  net = layers.batch_norm(layers.max_pool2d(net, 3))
  net = layers.separable_conv2d(layers.dropout(net), None, 3, 1)
  return layers.fully_connected(layers.flatten(net), num_classes, activation_fn=None)
"""


def test_head_function_gets_the_same_layers_alone_and_on_a_network(tmp_path, rng):
  # ResNet's layers have a different epsilon, a gamma, no biases, and poolings with padding.
  (tmp_path / 'mine.py').write_text(_FUNCTION)
  head, end_point = f'{tmp_path}/mine.py:head', 'resnet_v1_18/conv1'
  keys = np.arange(4).reshape(2, 2)
  whole = nets_factory.build_network('resnet_v1_18', head=head, head_from=end_point, num_classes=3,
                                     image_shape=[32, 32, 3], weight_decay=0.1, is_training=True)
  trunk = extractors.build_extractor(nets_factory.get_net('resnet_v1_18'), end_point,
                                     image_shape=[32, 32, 3])
  images = rng.normal(size=[2, 32, 32, 3]).astype(np.float32)
  alone = feature_classifier.build(head, shape=[16, 16, 64], num_classes=3, weight_decay=0.1,
                                   is_training=True)
  ours = {name: v for name, v in whole.variables.items() if name.startswith('head/')}
  assert {n: v.shape for n, v in ours.items()} == {n: v.shape for n, v in alone.variables.items()}
  assert not any(name.endswith('gamma') for name in ours)
  for name, variable in alone.variables.items():
    variable.assign_add(rng.uniform(0, 0.1, variable.shape).astype(np.float32))
    whole.variables[name].assign(variable)
  assert whole.regularization_loss(list(ours)).numpy() == alone.regularization_loss().numpy() > 0
  for name, variable in trunk.variables.items():
    variable.assign(whole.variables[name])
  for is_training in (False, True):
    # In training the trunk's batch norm uses batch statistics, so features are taken from there.
    expected = _logits(whole, images, keys, is_training)
    features = trunk(images, is_training=is_training)[0]
    assert _logits(alone, features, keys, is_training) == pytest.approx(expected, abs=1e-5)
  for name, variable in alone.variables.items():
    assert variable.numpy() == pytest.approx(ours[name].numpy(), abs=1e-6), name


def _logits(network, inputs, keys, is_training):
  return network(inputs, is_training=is_training, keys=keys)[0].numpy()
