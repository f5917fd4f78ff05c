"""A head alone computes what the same head computes at the end of a network."""

from __future__ import annotations

import numpy as np
import pytest

from nets import extractors, feature_classifier, nets_factory


@pytest.mark.parametrize(('end_point', 'head'), [
  ('features', 'fc'), ('pool2', 'pool,fc:7,dropout:0.5,fc'), ('pool2', 'fc')])
def test_trunk_and_head_are_the_whole_network(end_point, head):
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


def test_all_weights_decay():
  network = feature_classifier.build('fc:3,fc', shape=[4], num_classes=2, weight_decay=0.1)
  weights = [v.numpy() for name, v in network.variables.items() if name.endswith('/weights')]
  assert float(network.regularization_loss()) == pytest.approx(
      sum(0.05 * (w ** 2).sum() for w in weights))


def test_features_that_do_not_fit():
  with pytest.raises(ValueError, match=r'--head: expected features \[height, width, channels\]'):
    feature_classifier.build('pool,fc', shape=[4], num_classes=2)
