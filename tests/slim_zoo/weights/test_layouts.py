"""Layouts of other programs: a layer with a converted kernel computes the same."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from slim_zoo.weights import layouts
from slim_zoo.weights.layouts import DEPTHWISE_OIHW, HWIO, OIHW, SWAP_RED_AND_BLUE, Take


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def _valid(images, kernel, groups=1):
  """A convolution in TensorFlow: images [batch, height, width, channels], kernel HWIO."""
  assert images.shape[-1] == kernel.shape[2] * groups
  return tf.nn.conv2d(images, kernel, 1, 'VALID').numpy()


@pytest.mark.parametrize('groups', [1, 2])
def test_convolution_of_pytorch_and_caffe(rng, groups):
  images, kernel = rng.normal(size=(2, 6, 5, 4)), rng.normal(size=(6, 4 // groups, 3, 2))
  expected = np.zeros((2, 4, 4, 6))
  for n, out in np.ndindex(2, 6):
    for i in range(4 // groups):
      channel = out // (6 // groups) * (4 // groups) + i
      expected[n, :, :, out] += scipy.signal.correlate2d(images[n, :, :, channel], kernel[out, i],
                                                         'valid')
  ours = Take('', (OIHW,)).apply(kernel, (3, 2, 4 // groups, 6))
  np.testing.assert_allclose(_valid(images, ours, groups), expected, atol=1e-12)


@pytest.mark.parametrize('multiplier', [1, 2])
def test_depthwise_convolution_of_pytorch(rng, multiplier):
  images, kernel = rng.normal(size=(1, 6, 5, 3)), rng.normal(size=(3 * multiplier, 1, 3, 2))
  expected = np.stack([scipy.signal.correlate2d(images[0, :, :, out // multiplier], kernel[out, 0],
                                                'valid') for out in range(3 * multiplier)], -1)
  ours = Take('', (DEPTHWISE_OIHW,)).apply(kernel, (3, 2, 3, multiplier))
  found = tf.nn.depthwise_conv2d(images, ours, [1, 1, 1, 1], 'VALID')[0]
  np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(('step', 'axes', 'out_first'), [(OIHW, (0, 3, 1, 2), True),
                                                        (HWIO, (0, 1, 2, 3), False)])
def test_fully_connected_layer_as_convolution(rng, step, axes, out_first):
  """Its inputs were flattened from channels, height and width, or height, width and channels."""
  images, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(60, 7))
  expected = images.transpose(axes).reshape(2, -1) @ kernel
  ours = Take('', (step,)).apply(kernel.T if out_first else kernel, (3, 4, 5, 7))
  np.testing.assert_allclose(_valid(images, ours)[:, 0, 0], expected, atol=1e-12)


@pytest.mark.parametrize(('step', 'given', 'wanted'), [
  (OIHW, (7, 60), (60, 7)),
  (OIHW, (7, 60), (1, 1, 60, 7)),
  (OIHW, (7, 60, 1, 1), (60, 7)),
  (HWIO, (60, 7), (60, 7)),
  (HWIO, (60, 7), (1, 1, 60, 7)),
  (HWIO, (1, 1, 60, 7), (60, 7)),
])
def test_1x1_windows_are_added_and_removed(rng, step, given, wanted):
  array = rng.normal(size=given)
  ours = step.function(array, wanted)
  assert ours.shape == wanted
  matrix = array.reshape(7, 60).T if step is OIHW else array.reshape(60, 7)
  np.testing.assert_array_equal(ours.reshape(60, 7), matrix)


@pytest.mark.parametrize(('step', 'given', 'wanted', 'shown'), [
  (OIHW, (1000, 60), (60, 5), (60, 1000)),  # A different number of classes.
  (OIHW, (7, 61), (3, 4, 5, 7), (1, 1, 61, 7)),  # No matching window.
  (HWIO, (61, 7), (3, 4, 5, 7), (1, 1, 61, 7)),
  (HWIO, (120, 7), (3, 4, 5, 7), (3, 4, 10, 7)),
  (DEPTHWISE_OIHW, (8, 1, 3, 3), (3, 3, 5, 1), (3, 3, 8, 1)),
  (DEPTHWISE_OIHW, (7, 1, 3, 3), (3, 3, 5, 2), (3, 3, 7, 1)),
])
def test_unfitting_kernel_keeps_its_shape(step, given, wanted, shown):
  assert step.function(np.zeros(given), wanted).shape == shown


def test_red_and_blue(rng):
  images, kernel = rng.normal(size=(1, 5, 5, 3)), rng.normal(size=(3, 3, 3, 2))
  ours = SWAP_RED_AND_BLUE.function(kernel, kernel.shape)
  np.testing.assert_allclose(_valid(images[..., ::-1].copy(), ours), _valid(images, kernel),
                             atol=1e-12)


def test_numbers(rng):
  array = rng.normal(size=3).astype(np.float32)
  take = Take('variance', (layouts.plus(-0.5), layouts.times(2)))
  found = take.apply(array, (3,))
  assert found.dtype == np.float32
  np.testing.assert_allclose(found, (array - 0.5) * 2)
  assert take.text() == '+ -0.5, × 2'
  np.testing.assert_array_equal(layouts.constant(1).apply(np.float32(0), (2, 3)), np.ones((2, 3)))


@pytest.mark.parametrize(('step', 'theirs', 'ours'), [
  (OIHW, (7, 5, 3, 2), (3, 2, 5, 7)),
  (OIHW, (7, 60), (60, 7)),
  (layouts.OI, (7, 60), (3, 4, 5, 7)),
  (layouts.OI, (7, 60), (1, 1, 60, 7)),
  (layouts.OI, (7, 60), (60, 7)),
  (DEPTHWISE_OIHW, (10, 1, 3, 2), (3, 2, 5, 2)),
  (HWIO, (3, 2, 5, 7), (3, 2, 5, 7)),
  (SWAP_RED_AND_BLUE, (3, 2, 3, 7), (3, 2, 3, 7)),
  (layouts.plus(0.25), (7,), (7,)),
  (layouts.times(4), (7,), (7,)),
])
def test_steps_are_reverted(step, theirs, ours):
  array = np.arange(np.prod(theirs), dtype=np.float32).reshape(theirs)
  converted = Take('', (step,)).apply(array, ours)
  assert converted.shape == ours
  np.testing.assert_array_equal(Take('', (step,)).revert(converted), array)


def test_steps_are_reverted_in_reverse_order():
  take = Take('', (layouts.plus(3), layouts.times(2)))
  np.testing.assert_array_equal(take.revert(take.apply(np.float32([1, 4]), [2])), [1, 4])
  with pytest.raises(ValueError, match="'channels.*' for 'conv1'"):
    Take('conv1', (layouts.CHANGE_CHANNELS,)).revert(np.zeros([1, 1, 3, 2]))


@pytest.mark.parametrize('channels', [1, 2, 4, 7])
@pytest.mark.parametrize('given', [1, 3])
def test_converted_kernel_gives_the_same_for_equal_channels(rng, given, channels):
  kernel = rng.normal(size=(3, 3, given, 2))
  grey = rng.normal(size=(1, 6, 6, 1))
  ours = layouts.change_channels(kernel, (3, 3, channels, 2))
  assert ours.shape == (3, 3, channels, 2)
  np.testing.assert_allclose(_valid(np.repeat(grey, channels, -1), ours),
                             _valid(np.repeat(grey, given, -1), kernel), atol=1e-12)


def test_added_channels_repeat_existing_ones(rng):
  kernel = rng.normal(size=(3, 3, 3, 2))
  ours = layouts.change_channels(kernel, (3, 3, 4, 2))
  np.testing.assert_array_equal(ours[:, :, 1:3], kernel[:, :, 1:])
  np.testing.assert_array_equal(ours[:, :, 0], kernel[:, :, 0] / 2)
  np.testing.assert_array_equal(ours[:, :, 3], kernel[:, :, 0] / 2)
  assert layouts.change_channels(kernel, kernel.shape) is kernel
