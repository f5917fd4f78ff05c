"""EfficientNet-Lite's recipe, checked against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import image_ops
from preprocessing.preprocessing_factory import get_preprocessing


@pytest.mark.parametrize('shape, size, box', [
  ((180, 250), (224, 224), (12, 47, 157, 157)), ((179, 61), (240, 240), (63, 4, 53, 53)),
  ((180, 250), (64, 96), (30, 35, 120, 180))])
def test_eval(photo, interpolate, shape, size, box):
  image = photo[:shape[0], :shape[1]]
  y, x, height, width = box
  if size[0] == size[1]:  # As in the first implementation, for square images only.
    side = int(size[0] / (size[0] + 32) * min(shape))
    assert box == ((shape[0] - side + 1) // 2, (shape[1] - side + 1) // 2, side, side)
  expected = (interpolate(image[y:y + height, x:x + width], *size, 0) - 127) / 128
  result = get_preprocessing('efficientnet_lite')(tf.constant(image), *size)
  np.testing.assert_allclose(result, expected, atol=2e-4)


def test_eval_of_grey(photo, interpolate, grey_of):
  expected = (interpolate(grey_of(photo)[12:169, 47:204], 224, 224, 0) - 127) / 128
  result = get_preprocessing('efficientnet_lite', channels=1)(tf.constant(photo), 224, 224)
  np.testing.assert_allclose(result, expected, atol=1.01 / 128)


def test_train_equals_numpy(photo, interpolate):
  flips = set()
  for i in range(6):
    seed = tf.constant([i, 1])
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
      [180, 250, 1], [[[0.0, 0.0, 1.0, 1.0]]], image_ops.decision_seed(seed, 0),
      min_object_covered=0.1, aspect_ratio_range=(3 / 4, 4 / 3), area_range=(0.08, 1.0),
      max_attempts=10)
    (y, x, _), (height, width, _) = begin.numpy(), size.numpy()
    expected = (interpolate(photo[y:y + height, x:x + width], 48, 60, 0) - 127) / 128
    flip = bool(tf.random.stateless_uniform([], image_ops.decision_seed(seed, 1)) < 0.5)
    flips.add(flip)
    result = get_preprocessing('efficientnet_lite', True)(tf.constant(photo), 48, 60, seed=seed)
    np.testing.assert_allclose(result, expected[:, ::-1] if flip else expected, atol=2e-4)
  assert flips == {True, False}


def test_centre_is_used_if_no_box_fits(photo, interpolate):
  """In an image of two rows, no box of a tenth of the area has a valid shape."""
  image = photo[:2, :200]
  expected = (interpolate(image[1:2, 100:101], 16, 16, 0) - 127) / 128
  for i in range(3):
    result = get_preprocessing('efficientnet_lite', True)(tf.constant(image), 16, 16,
                                                    seed=tf.constant([i, 2]))
    np.testing.assert_allclose(result, expected, atol=2e-4)
