"""torchvision's recipe, checked against Pillow, with which torchvision resizes."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing import image_ops, torchvision
from preprocessing.preprocessing_factory import get_preprocessing

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
LUMA = np.array([0.2989, 0.5870, 0.1140])


def shrunk(image, height, width):
  """Resizes in two steps, since Pillow's versions differ in which direction is first."""
  narrow = Image.fromarray(image).resize((width, image.shape[0]), Image.Resampling.BILINEAR)
  return np.asarray(narrow.resize((width, height), Image.Resampling.BILINEAR))


def normalized(pixels):
  return (pixels / 255 - MEAN) / STD


def assert_near(result, expected):
  """Allows different rounding of ties, since Pillow's weights are integers.

  Ties occur for sides in simple proportion, as some here, but hardly in photos.
  """
  difference = np.abs(np.asarray(result) - expected) * 255 * STD
  assert difference.max() < 1.01
  assert difference.mean() < 0.05


@pytest.mark.parametrize('size, side', [((224, 224), 256), ((64, 100), 114), ((225, 225), 257)])
@pytest.mark.parametrize('shape', [(180, 250), (179, 61), (120, 120)])
def test_eval(photo, shape, size, side):
  image = photo[:shape[0], :shape[1]]
  height, width = (int(side * length / min(shape)) for length in shape)
  resized = shrunk(image, height, width)
  y, x = (round((length - kept) / 2) for length, kept in zip((height, width), size, strict=True))
  expected = normalized(resized[y:y + size[0], x:x + size[1]])
  assert_near(get_preprocessing('torchvision')(tf.constant(image), *size), expected)


def test_eval_of_grey(photo, grey_of):
  grey = np.rint(grey_of(photo)[..., 0]).astype(np.uint8)
  expected = shrunk(grey, 256, 355)[16:240, 66:290]
  expected = (expected / 255 - MEAN @ LUMA) / (STD @ LUMA)
  result = get_preprocessing('torchvision', channels=1)(tf.constant(photo), 224, 224)
  np.testing.assert_allclose(result[..., 0], expected, atol=2.1 / 255 / 0.22)


def test_train_equals_pillow(photo):
  flips = set()
  for i in range(6):
    seed = tf.constant([i, 3])
    y, x, height, width = map(int, torchvision.random_box(180, 250, seed))
    expected = shrunk(photo[y:y + height, x:x + width], 61, 83)
    flip = bool(tf.random.stateless_uniform([], image_ops.decision_seed(seed, 4)) < 0.5)
    flips.add(flip)
    expected = normalized(expected[:, ::-1] if flip else expected)
    result = get_preprocessing('torchvision', True)(tf.constant(photo), 61, 83, seed=seed)
    assert_near(result, expected)
  assert flips == {True, False}


def test_distribution_of_random_boxes():
  boxes = np.array([[int(value) for value in torchvision.random_box(
    tf.constant(300), tf.constant(400), tf.constant([7, i]))] for i in range(300)])
  y, x, height, width = boxes.T
  assert (y >= 0).all() and (x >= 0).all()
  assert (y + height <= 300).all() and (x + width <= 400).all()
  ratio, share = width / height, height * width / (300 * 400)
  assert 0.74 < ratio.min() < 0.8 and 1.26 < ratio.max() < 1.35
  assert abs(np.log(ratio).mean()) < 0.05  # Uniform in logarithms.
  assert 0.079 < share.min() < 0.11 and 0.85 < share.max() <= 1
  inside = (height < 300) & (width < 400)
  assert 0.4 < (y / np.maximum(300 - height, 1))[inside].mean() < 0.6
  assert 0.4 < (x / np.maximum(400 - width, 1))[inside].mean() < 0.6


@pytest.mark.parametrize('shape, expected', [((10, 1000), (0, 493, 10, 13)),
                                             ((1000, 9), (494, 0, 12, 9)), ((1, 1), (0, 0, 1, 1))])
def test_centre_is_used_if_no_box_fits(shape, expected):
  found = {tuple(int(value) for value in torchvision.random_box(
    *map(tf.constant, shape), tf.constant([5, i]))) for i in range(5)}
  assert expected in found
