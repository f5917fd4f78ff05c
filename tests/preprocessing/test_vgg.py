"""The VGG recipe, checked against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import image_ops
from preprocessing.preprocessing_factory import get_preprocessing

MEAN = np.array([123.68, 116.78, 103.94])
LUMA = np.array([0.2989, 0.5870, 0.1140])


def resized(image, side, interpolate):
  height, width = (int(np.rint(size * side / min(image.shape[:2]))) for size in image.shape[:2])
  return interpolate(image, height, width, 0)


def centre(image, height, width):
  y, x = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
  return image[y:y + height, x:x + width]


@pytest.mark.parametrize('size, side', [
    ((224, 224), 256), ((64, 100), 256), ((256, 256), 256), ((331, 331), 378), ((300, 200), 343)])
@pytest.mark.parametrize('shape', [(180, 250), (120, 60)])
def test_eval(photo, interpolate, shape, size, side):
  image = photo[:shape[0], :shape[1]]
  expected = centre(resized(image, side, interpolate), *size) - MEAN
  result = get_preprocessing('vgg')(tf.constant(image), *size)
  np.testing.assert_allclose(result, expected, atol=0.02)


def test_eval_of_grey(photo, interpolate, grey_of):
  expected = centre(resized(grey_of(photo), 256, interpolate), 32, 32) - MEAN @ LUMA
  result = get_preprocessing('vgg', channels=1)(tf.constant(photo), 32, 32)
  np.testing.assert_allclose(result, expected, atol=1.01)


@pytest.mark.parametrize('size, sides', [((200, 180), (256, 512)), ((280, 280), (320, 640))])
def test_train_equals_numpy(photo, interpolate, size, sides):
  for i in range(6):
    seed = tf.constant([i, 9])
    side_seed, y_seed, x_seed, flip = (image_ops.decision_seed(seed, k) for k in range(4))
    side = tf.random.stateless_uniform([], side_seed, sides[0], sides[1] + 1, tf.int32).numpy()
    image = resized(photo, side, interpolate)
    y, x = (tf.random.stateless_uniform([], s, 0, image.shape[k] - size[k] + 1, tf.int32).numpy()
            for k, s in enumerate((y_seed, x_seed)))
    image = image[y:y + size[0], x:x + size[1]]
    if tf.random.stateless_uniform([], flip) < 0.5:
      image = image[:, ::-1]
    result = get_preprocessing('vgg', True)(tf.constant(photo), *size, seed=seed)
    np.testing.assert_allclose(result, image - MEAN, atol=0.05)


def test_train_draws_every_side_and_position():
  sides = [int(image_ops.uniform_integer(tf.constant([1, i]), 3, 5)) for i in range(100)]
  assert set(sides) == {3, 4, 5}
  ramp = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
  corners = {int(image_ops.random_crop(tf.constant(ramp), 2, 2, y_seed=tf.constant([2, i]),
                                       x_seed=tf.constant([3, i]))[0, 0, 0]) for i in range(60)}
  assert corners == {0, 1, 2, 4, 5, 6}
