"""EfficientNet-Lite: what the comparison with timm does not cover."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, outline, random_layers


@pytest.mark.parametrize(('name', 'repeats', 'first'), [
  # Numbers of blocks in timm's stages, and the depth of the first one.
  ('efficientnet_lite0', (1, 2, 2, 3, 3, 4, 1), 16),
  ('efficientnet_lite1', (1, 3, 3, 4, 4, 5, 1), 16),
  ('efficientnet_lite2', (1, 3, 3, 4, 4, 5, 1), 16),
  ('efficientnet_lite3', (1, 3, 3, 5, 5, 6, 1), 24),
  ('efficientnet_lite4', (1, 4, 4, 6, 6, 8, 1), 24)])
def test_first_and_last_stage_are_not_repeated(name, repeats, first):
  end_points = outline.trace(name, 10, image_shape=[32, 32, 3]).end_points
  blocks = [key for key in end_points if key.startswith('block_') and '/' not in key]
  assert blocks == [f'block_{i}' for i in range(sum(repeats))]
  assert end_points['stem'].shape[-1] == 32
  assert end_points['head'].shape[-1] == 1280
  assert end_points['block_0'].shape[-1] == first


@pytest.mark.parametrize('is_training', [True, False])
def test_drop_rate_increases_with_depth(is_training, monkeypatch):
  drawn = []
  monkeypatch.setattr(random_layers, '_scale_kept',
                      lambda inputs, keep_prob, *, keys, shape, scope:
                      drawn.append((scope, shape, keep_prob)) or inputs)
  with tf.Graph().as_default():
    function = nets_factory.get_network_fn('efficientnet_lite0', 10, is_training=is_training)
    function(tf.zeros([2, 32, 32, 3]), keys=tf.zeros([2, 2], tf.int64))
  if not is_training:
    assert drawn == []
    return
  # The residual ones of 16 blocks: all except the first of each stage.
  *paths, dropout = drawn
  assert [scope for scope, _, _ in paths] == [
    f'efficientnet_lite0/block_{i}/drop_path' for i in (2, 4, 6, 7, 9, 10, 12, 13, 14)]
  assert {tuple(shape) for _, shape, _ in paths} == {(1, 1, 1)}
  np.testing.assert_allclose([keep for _, _, keep in paths],
                             [1 - 0.2 * i / 16 for i in (2, 4, 6, 7, 9, 10, 12, 13, 14)])
  assert dropout == ('efficientnet_lite0/dropout', [1280], 0.8)


@pytest.mark.parametrize(('scopes', 'expected'), [
  (['logits'], []), (['block_14', 'logits'], [14]), (['block_9/project', 'block_13'], [9, 13])])
def test_no_path_is_dropped_where_nothing_is_trained(monkeypatch, scopes, expected):
  drawn = []
  monkeypatch.setattr(random_layers, '_scale_kept',
                      lambda inputs, keep_prob, *, keys, shape, scope:
                      drawn.append(scope) or inputs)
  nets_factory.build_network(
    'efficientnet_lite0', image_shape=[32, 32, 3], num_classes=3, is_training=True,
    trainable_scopes=[f'efficientnet_lite0/{scope}' for scope in scopes])
  assert list(dict.fromkeys(drawn)) == [  # It may be traced twice.
    *(f'efficientnet_lite0/block_{i}/drop_path' for i in expected), 'efficientnet_lite0/dropout']
