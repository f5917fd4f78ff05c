"""The recipes of CifarNet and LeNet, checked against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import decoding, image_ops
from preprocessing.preprocessing_factory import get_preprocessing


def crop_or_pad(image, height, width):
  """Crops or pads around the centre, in NumPy."""
  for axis, size in ((0, height), (1, width)):
    extra = size - image.shape[axis]
    if extra >= 0:
      margins = [(0, 0)] * 3
      margins[axis] = (extra // 2, extra - extra // 2)
      image = np.pad(image, margins)
    else:
      start = -extra // 2
      image = np.take(image, range(start, start + size), axis)
  return image


def standardise(image):
  return (image - image.mean()) / max(image.std(), 1 / np.sqrt(image.size))


SHAPES = [((32, 32), (32, 32)), ((40, 21), (32, 32)), ((21, 40), (28, 30)), ((9, 9), (16, 17)),
          ((50, 51), (16, 17))]


@pytest.mark.parametrize('shape, size', SHAPES)
@pytest.mark.parametrize('file_format', [None, 'JPEG', 'PNG'])
def test_eval(photo, encode, shape, size, file_format):
  image = tf.constant(photo[:shape[0], :shape[1]])
  pixels = image
  if file_format:
    image = tf.constant(encode(image.numpy(), file_format))
    pixels = decoding.decode_image(image)
  expected = crop_or_pad(pixels.numpy().astype(float), *size)
  np.testing.assert_allclose(get_preprocessing('lenet')(image, *size), (expected - 128) / 128,
                             atol=1e-6)
  np.testing.assert_allclose(get_preprocessing('cifarnet')(image, *size), standardise(expected),
                             atol=1e-4)


def test_eval_of_grey(photo, grey_of):
  image = photo[:28, :28]
  expected = (grey_of(image) - 128) / 128
  result = get_preprocessing('lenet', channels=1)(tf.constant(image), 28, 28)
  np.testing.assert_allclose(result, expected, atol=1 / 128)


@pytest.mark.parametrize('shape, size', SHAPES)
def test_cifarnet_train_equals_numpy(photo, shape, size):
  image = photo[:shape[0], :shape[1]]
  for i in range(4):
    seed = tf.constant([i, 4])
    y_seed, x_seed, flip, brightness, contrast = (
        image_ops.decision_seed(seed, decision) for decision in range(5))
    expected = image.astype(float)
    if shape[0] + 8 < size[0] or shape[1] + 8 < size[1]:
      expected = crop_or_pad(expected, *size)
    expected = np.pad(expected, [(4, 4), (4, 4), (0, 0)])
    y, x = (tf.random.stateless_uniform([], s, 0, expected.shape[k] - size[k] + 1, tf.int32).numpy()
            for k, s in enumerate((y_seed, x_seed)))
    expected = expected[y:y + size[0], x:x + size[1]]
    if tf.random.stateless_uniform([], flip) < 0.5:
      expected = expected[:, ::-1]
    expected = expected + tf.random.stateless_uniform([], brightness, -63, 63).numpy()
    factor = tf.random.stateless_uniform([], contrast, 0.2, 1.8).numpy()
    mean = expected.mean(axis=(0, 1))
    expected = standardise((expected - mean) * factor + mean)
    result = get_preprocessing('cifarnet', True)(tf.constant(image), *size, seed=seed)
    np.testing.assert_allclose(result, expected, atol=1e-3)


def test_cifarnet_of_one_colour_is_finite():
  result = get_preprocessing('cifarnet')(tf.fill([32, 32, 3], tf.constant(9, tf.uint8)), 32, 32)
  np.testing.assert_array_equal(result, np.zeros([32, 32, 3]))
