"""The recipe of Inception, MobileNet and TF-Slim's AlexNet.

Follows TF-Slim's `inception_preprocessing` with its default, `fast_mode=True`
(https://arxiv.org/abs/1409.4842, section 6).
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops
from preprocessing.transform import SQUEEZE, Transform

TRANSFORM = Transform(resize_mode=SQUEEZE, crop_fraction=0.875, crops_first=True,
                      interpolation='bilinear_tf1', mean=(127.5, 127.5, 127.5),
                      scale=(127.5, 127.5, 127.5))

_AREA_RANGE = (0.05, 1.0)
_ASPECT_RATIO_RANGE = (0.75, 1.33)
_MIN_OBJECT_COVERED = 0.1
_MAX_ATTEMPTS = 100
_MAX_BRIGHTNESS_DELTA = 32.0 / 255.0
_SATURATION_RANGE = (0.5, 1.5)
_COLOUR_ORDERS = 4

# The random decisions about an image, each with its own seed.
_BOX, _FLIP, _ORDER, _BRIGHTNESS, _SATURATION = range(5)


def random_crop(image, height, width, *, channels=3, seed):
  """Crops a random box, and resizes it without keeping its aspect ratio.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [0, 255].
  """
  image = decoding.open_image(image, channels)
  in_height, in_width = decoding.shape_of(image)
  box = random_box(in_height, in_width, image_ops.decision_seed(seed, _BOX))
  return image_ops.legacy_resize(decoding.crop(image, box), height, width)


def flip(image, seed):
  """Flips at random: float32 [height, width, channels]."""
  return image_ops.random_flip(image, image_ops.decision_seed(seed, _FLIP))


def recolor(image, seed):
  """Changes brightness and, of colour images, saturation.

  Args:
    image: float32 [height, width, channels] in [0, 255].
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [0, 255].
  """
  return _distort_colour(image / 255.0, seed) * 255.0


def random_box(height, width, seed):
  """Draws a box with 5% to 100% of the image's area and width / height in [0.75, 1.33].

  Args:
    height, width: int32 scalars, the image's size.
    seed: integer tensor [2].

  Returns:
    (y, x, height, width), int32 scalars; the whole image if no box fits.
  """
  begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
      tf.stack([height, width, 1]), tf.constant([[[0.0, 0.0, 1.0, 1.0]]]), seed,
      min_object_covered=_MIN_OBJECT_COVERED, aspect_ratio_range=_ASPECT_RATIO_RANGE,
      area_range=_AREA_RANGE, max_attempts=_MAX_ATTEMPTS)
  return begin[0], begin[1], size[0], size[1]


def _distort_colour(image, seed):
  """Changes brightness and saturation in a random order; keeps values in [0, 1]."""
  def brightness(pixels):
    return tf.image.stateless_random_brightness(
        pixels, _MAX_BRIGHTNESS_DELTA, image_ops.decision_seed(seed, _BRIGHTNESS))

  def saturation(pixels):
    return tf.image.stateless_random_saturation(
        pixels, *_SATURATION_RANGE, image_ops.decision_seed(seed, _SATURATION))

  if image.shape[2] == 1:
    image = brightness(image)
  else:
    # TF-Slim draws from four orders; fast mode only distinguishes the first from the others.
    order = image_ops.uniform_integer(image_ops.decision_seed(seed, _ORDER), 0, _COLOUR_ORDERS - 1)
    image = tf.cond(order == 0, lambda: saturation(brightness(image)),
                    lambda: brightness(saturation(image)))
  return tf.clip_by_value(image, 0.0, 1.0)
