"""MobileNet V2 against Keras' own."""

from __future__ import annotations

import functools

import keras
import pytest
import tensorflow as tf

from nets import inverted_residual, nets_factory


# The odd size shows that Keras' explicit padding before a stride of 2 equals 'SAME'.
@pytest.mark.parametrize(('name', 'alpha'), [
  ('mobilenet_v2_035', 0.35),
  pytest.param('mobilenet_v2_050', 0.5, marks=pytest.mark.thorough),
  pytest.param('mobilenet_v2', 1.0, marks=pytest.mark.thorough),
  pytest.param('mobilenet_v2_140', 1.4, marks=pytest.mark.thorough)])
def test_logits_equal_keras(name, alpha, assert_equals_keras):
  assert_equals_keras(name, functools.partial(
    keras.applications.MobileNetV2, alpha=alpha, weights=None, classes=12,
    classifier_activation=None))


@pytest.mark.parametrize(('depth', 'expected'), [
  (1, 8), (8, 8), (11.2, 16), (12, 16), (19, 24), (20, 24), (33.6, 32), (36, 40), (56, 56),
  (179.2, 176), (1280 / 0.35 * 0.35, 1280)])
def test_depth_is_rounded_as_in_keras(depth, expected):
  divisible = keras.src.applications.mobilenet_v2._make_divisible(depth, 8)
  assert inverted_residual.round_depth(depth) == expected == divisible


def test_multiplier_must_be_positive():
  function = nets_factory.get_network_fn('mobilenet_v2', 10)
  with tf.Graph().as_default(), pytest.raises(ValueError, match='depth_multiplier.* 0'):
    function(tf.zeros([1, 32, 32, 3]), depth_multiplier=0)


@pytest.mark.parametrize(('name', 'width'), [
  ('mobilenet_v2', 1280), ('mobilenet_v2_140', 1792), ('mobilenet_v2_050', 1280),
  ('mobilenet_v2_035', 1280), ('mobilenet_edgetpu_075', 1280)])
def test_small_multipliers_keep_the_feature_width(name, width):
  with tf.Graph().as_default():
    features, end_points = nets_factory.get_network_fn(name, None)(tf.zeros([2, 32, 32, 3]))
  assert features.shape == [2, width]
  assert end_points['global_pool'].shape == [2, 1, 1, width]
