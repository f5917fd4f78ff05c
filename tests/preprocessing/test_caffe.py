"""Caffe's recipe, checked against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import image_ops
from preprocessing.preprocessing_factory import get_preprocessing

BGR_MEAN = np.array([104.0, 117.0, 124.0])


@pytest.mark.parametrize('size, stored, start', [
    ((227, 227), (256, 256), (14, 14)), ((64, 113), (72, 127), (4, 7))])
def test_eval(photo, interpolate, size, stored, start):
  warped = interpolate(photo, *stored, 0.5)
  cropped = warped[start[0]:start[0] + size[0], start[1]:start[1] + size[1]]
  expected = cropped[..., ::-1] - BGR_MEAN
  np.testing.assert_allclose(get_preprocessing('caffe')(tf.constant(photo), *size), expected,
                             atol=0.02)


def test_eval_of_grey(photo, interpolate, grey_of):
  expected = interpolate(grey_of(photo), 256, 256, 0.5)[14:241, 14:241]
  expected = expected - BGR_MEAN @ [0.1140, 0.5870, 0.2989]
  result = get_preprocessing('caffe', channels=1)(tf.constant(photo), 227, 227)
  np.testing.assert_allclose(result, expected, atol=1.01)


def test_train_equals_numpy(photo, interpolate):
  warped = interpolate(photo, 256, 256, 0.5)
  flips = set()
  for i in range(6):
    seed = tf.constant([i, 1])
    y_seed, x_seed, flip = (image_ops.decision_seed(seed, decision) for decision in range(3))
    y, x = (int(tf.random.stateless_uniform([], s, 0, 30, tf.int32)) for s in (y_seed, x_seed))
    expected = warped[y:y + 227, x:x + 227]
    flips.add(bool(tf.random.stateless_uniform([], flip) < 0.5))
    if tf.random.stateless_uniform([], flip) < 0.5:
      expected = expected[:, ::-1]
    result = get_preprocessing('caffe', True)(tf.constant(photo), 227, 227, seed=seed)
    np.testing.assert_allclose(result, expected[..., ::-1] - BGR_MEAN, atol=0.02)
  assert flips == {True, False}
