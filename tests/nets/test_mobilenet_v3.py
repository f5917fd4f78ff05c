"""MobileNet V3 against Keras' own."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest

from nets import inverted_residual, nets_factory

LARGE, SMALL = keras.applications.MobileNetV3Large, keras.applications.MobileNetV3Small


# The odd size shows that Keras' explicit padding before a stride of 2 equals 'SAME'.
@pytest.mark.parametrize(('name', 'function'), [
  ('mobilenet_v3_small', SMALL),
  pytest.param('mobilenet_v3_small_minimalistic', SMALL, marks=pytest.mark.slow),
  pytest.param('mobilenet_v3_large', LARGE, marks=pytest.mark.slow),
  pytest.param('mobilenet_v3_large_minimalistic', LARGE, marks=pytest.mark.slow)])
def test_logits_equal_keras(name, function, assert_equals_keras):
  assert_equals_keras(name, functools.partial(
    function, minimalistic=name.endswith('minimalistic'), weights=None, classes=12,
    classifier_activation=None, include_preprocessing=False))


def test_hard_swish_equals_keras():
  values = np.linspace(-5, 5, 101, dtype=np.float32)
  np.testing.assert_allclose(inverted_residual.hard_swish(values),
                             keras.activations.hard_swish(values), rtol=0, atol=1e-6)


def test_edgetpu_starts_with_full_convolutions():
  network = nets_factory.build_network('mobilenet_edgetpu', image_shape=(32, 32, 3), num_classes=10)
  blocks = {name.split('/')[1] for name in network.variables if 'depthwise' in name}
  assert blocks == {f'expanded_conv_{i}' for i in range(9, 22)}
  expand = network.variables['MobilenetEdgeTPU/expanded_conv_1/expand/weights']
  assert expand.shape == [3, 3, 16, 128]
  _, end_points = network(np.ones([1, 32, 32, 3], np.float32), is_training=False)
  # The second block of 96 channels, with expansion 8, is not residual; its neighbours are.
  for number, adds in ((14, True), (15, False), (16, True)):
    output = end_points[f'layer_{number}/projection_output']
    if adds:
      output += end_points[f'layer_{number - 1}']
    np.testing.assert_array_equal(end_points[f'layer_{number}'], output)
