"""The recipe of Inception, MobileNet and TF-Slim's AlexNet.

Follows TF-Slim's `inception_preprocessing` with its default, `fast_mode=True`
(https://arxiv.org/abs/1409.4842, section 6).
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops

_AREA_RANGE = (0.05, 1.0)
_ASPECT_RATIO_RANGE = (0.75, 1.33)
_MIN_OBJECT_COVERED = 0.1
_MAX_ATTEMPTS = 100
_MAX_BRIGHTNESS_DELTA = 32.0 / 255.0
_SATURATION_RANGE = (0.5, 1.5)
_COLOUR_ORDERS = 4

# The random decisions about an image, each with its own seed.
_BOX, _FLIP, _ORDER, _BRIGHTNESS, _SATURATION = range(5)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Crops a random box, resizes it without keeping its aspect ratio, flips, distorts colours.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey, which has no saturation to distort.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [-1, 1].
  """
  image = decoding.open_image(image, channels)
  in_height, in_width = decoding.shape_of(image)
  box = random_box(in_height, in_width, image_ops.decision_seed(seed, _BOX))
  image = decoding.crop(image, box)
  image = image_ops.legacy_resize(image_ops.to_float(image), height, width)
  image = tf.image.stateless_random_flip_left_right(image, image_ops.decision_seed(seed, _FLIP))
  return _scaled(_distort_colour(image, seed))


def preprocess_for_eval(image, height, width, *, channels=3, central_fraction=0.875):
  """Crops the centre of an image and resizes it without keeping its aspect ratio.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey.
    central_fraction: fraction of each side that is kept, in (0, 1].

  Returns:
    float32 [height, width, channels] in [-1, 1].

  Raises:
    ValueError: if `central_fraction` is outside (0, 1].
  """
  if not 0.0 < central_fraction <= 1.0:
    raise ValueError(f'Expected central_fraction in (0, 1]. Received: {central_fraction}.')
  image = decoding.open_image(image, channels)
  in_height, in_width = decoding.shape_of(image)
  box = central_box(in_height, in_width, central_fraction)
  image = image_ops.to_float(decoding.crop(image, box))
  return _scaled(image_ops.legacy_resize(image, height, width))


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


def central_box(height, width, fraction):
  """The box of `tf.image.central_crop`: (y, x, height, width), int32 scalars."""
  def start(side):
    side = tf.cast(side, tf.float64)
    return tf.cast((side - side * fraction) / 2, tf.int32)

  y, x = start(height), start(width)
  return y, x, height - 2 * y, width - 2 * x


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


def _scaled(image):
  """Scales from [0, 1] to [-1, 1]."""
  return (image - 0.5) * 2.0
