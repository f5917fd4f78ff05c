"""The Inception recipe, checked against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import decoding, image_ops, inception, transform
from preprocessing.preprocessing_factory import get_preprocessing


def seeds(count):
  return [tf.constant([7, i], tf.int64) for i in range(count)]


@pytest.mark.parametrize('shape, size', [((180, 250), (96, 96)), ((33, 20), (40, 64)),
                                         ((1, 1), (8, 8)), ((101, 7), (101, 7))])
def test_eval(photo, interpolate, shape, size):
  image = photo[:shape[0], :shape[1]]
  y, x = (int((side - side * 0.875) / 2) for side in shape)
  cropped = image[y:shape[0] - y, x:shape[1] - x]
  expected = interpolate(cropped / 255.0, *size, 0) * 2 - 1
  result = get_preprocessing('inception')(tf.constant(image), *size)
  np.testing.assert_allclose(result, expected, atol=2e-5)


def test_eval_crops_like_tensorflow():
  for height in range(1, 60):
    pixels = tf.zeros([height, 60 - height, 1])
    *_, box_height, box_width = transform.central_box((height, 60 - height), (0.875, 0.875))
    assert tf.image.central_crop(pixels, 0.875).shape[:2] == [box_height, box_width]


def test_eval_of_grey(photo, interpolate, grey_of):
  image = photo[:64, :64]
  expected = interpolate(grey_of(image)[4:60, 4:60] / 255.0, 32, 32, 0) * 2 - 1
  result = get_preprocessing('inception', channels=1)(tf.constant(image), 32, 32)
  np.testing.assert_allclose(result, expected, atol=2 / 255)


@pytest.mark.parametrize('is_training', [False, True])
@pytest.mark.parametrize('file_format', ['JPEG', 'PNG'])
def test_fused_decoding_and_cropping_gives_the_same(photo, encode, file_format, is_training):
  encoded = tf.constant(encode(photo, file_format))
  pixels = decoding.decode_image(encoded)
  for seed in seeds(8):
    if is_training:
      of_file, of_pixels = (get_preprocessing('inception', True)(image, 48, 48, seed=seed)
                            for image in (encoded, pixels))
    else:
      of_file, of_pixels = (get_preprocessing('inception')(image, 48, 48)
                            for image in (encoded, pixels))
    np.testing.assert_array_equal(of_file, of_pixels)


@tf.function
def boxes_of(height, width, count):
  return tf.map_fn(lambda i: tf.stack(inception.random_box(height, width, tf.stack([i, 3]))),
                   tf.range(count), fn_output_signature=tf.int32)


@pytest.mark.parametrize('height, width', [(300, 400), (500, 200)])
def test_random_boxes(height, width):
  y, x, h, w = boxes_of(height, width, 1000).numpy().T
  assert (y >= 0).all() and (x >= 0).all()
  assert (y + h <= height).all() and (x + w <= width).all()
  area = h * w / (height * width)
  aspect = w / h
  # Sides are whole pixels, so the smallest boxes miss the bounds by a little. (Min object covered
  # is 0.1 of the image, which the area of every box then is as well.)
  assert area.min() > 0.095 and area.min() < 0.15
  assert area.max() > 0.6 * min(1, width / height * 1.33)
  assert aspect.min() > 0.74 and aspect.min() < 0.77
  assert aspect.max() < 1.35 and aspect.max() > 1.28
  assert len({(a, b) for a, b in zip(y, x, strict=True)}) > 700


@tf.function
def trained(image, count, channels):
  return tf.map_fn(
      lambda i: get_preprocessing('inception', True, channels=channels)(
          image, 8, 8, seed=tf.stack([tf.constant(5), i])),
      tf.range(count), fn_output_signature=tf.float32)


def test_train_flips_half_the_time():
  ramp = np.repeat(np.tile(np.linspace(60, 190, 64).astype(np.uint8), (64, 1))[..., None], 3, 2)
  results = trained(tf.constant(ramp), 400, 3).numpy()
  flipped = results[:, :, 0].mean(axis=(1, 2)) > results[:, :, -1].mean(axis=(1, 2))
  assert 0.43 < flipped.mean() < 0.57


def test_train_brightness_and_range():
  grey = np.full((16, 16, 3), 128, np.uint8)
  results = trained(tf.constant(grey), 400, 3).numpy()
  assert np.ptp(results, axis=(1, 2, 3)).max() < 1e-5  # no saturation in grey to change
  delta = (results.mean(axis=(1, 2, 3)) + 1) / 2 - 128 / 255
  assert np.abs(delta).max() <= 32 / 255 + 1e-6
  assert delta.min() < -30 / 255 and delta.max() > 30 / 255 and abs(delta.mean()) < 0.01
  extremes = np.zeros((16, 16, 3), np.uint8)
  extremes[::2] = 255
  results = trained(tf.constant(extremes), 50, 3).numpy()
  assert results.min() == -1 and results.max() == 1


def test_train_saturation():
  colour = np.full((16, 16, 3), [100, 120, 140], np.uint8)
  pixels = (trained(tf.constant(colour), 400, 3).numpy()[:, 0, 0] + 1) / 2
  spread = np.ptp(pixels, axis=1) / (40 / 255)  # brightness shifts channels alike
  assert 0.4 < spread.min() < 0.6 and 1.4 < spread.max() < 1.75


def test_train_equals_its_steps(photo, interpolate):
  """Combines the same draws step by step."""
  seen_orders = set()
  for seed in seeds(12):
    box, flip, order, brightness, saturation = (
        image_ops.decision_seed(seed, decision) for decision in range(5))
    y, x, h, w = inception.random_box(*photo.shape[:2], box)
    image = interpolate(photo[y:y + h, x:x + w] / 255.0, 24, 24, 0)
    if tf.random.stateless_uniform([], flip) < 0.5:
      image = image[:, ::-1]
    delta = tf.random.stateless_uniform([], brightness, -32 / 255, 32 / 255).numpy()
    factor = tf.random.stateless_uniform([], saturation, 0.5, 1.5)
    brightness_first = tf.random.stateless_uniform([], order, 0, 4, tf.int32) == 0
    seen_orders.add(bool(brightness_first))
    if brightness_first:
      image = tf.image.adjust_saturation(tf.constant(image + delta, tf.float32), factor)
    else:
      image = tf.image.adjust_saturation(tf.constant(image, tf.float32), factor) + delta
    expected = np.clip(image, 0, 1) * 2 - 1
    result = get_preprocessing('inception', True)(tf.constant(photo), 24, 24, seed=seed)
    np.testing.assert_allclose(result, expected, atol=1e-4)
  assert seen_orders == {True, False}


def test_train_of_grey_has_one_channel(photo):
  results = trained(tf.constant(photo), 30, 1).numpy()
  assert results.shape == (30, 8, 8, 1)
  assert len({result.tobytes() for result in results}) == 30
