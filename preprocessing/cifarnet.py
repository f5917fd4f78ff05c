"""The recipe of CifarNet, for small images. Follows TF-Slim's `cifarnet_preprocessing`."""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops
from preprocessing.transform import CROP_OR_PAD, Transform

TRANSFORM = Transform(resize_mode=CROP_OR_PAD, interpolation='bilinear_tf1', mean=None, scale=None)

_PADDING = 4
_MAX_BRIGHTNESS_DELTA = 63.0
_CONTRAST_RANGE = (0.2, 1.8)

# The random decisions about an image, each with its own seed.
_CROP_Y, _CROP_X, _FLIP, _BRIGHTNESS, _CONTRAST = range(5)


def random_crop(image, height, width, *, channels=3, seed):
  """Pads by 4 pixels, and crops at random.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. An image that is smaller than this even after
      padding is first centrally cropped or padded to this size.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [0, 255].
  """
  image = decoding.pixels_of(decoding.open_image(image, channels))
  in_height, in_width = decoding.shape_of(image)
  too_small = (in_height + 2 * _PADDING < height) | (in_width + 2 * _PADDING < width)
  image = tf.cond(too_small, lambda: image_ops.central_crop_or_pad(image, height, width),
                  lambda: image)
  image = tf.pad(image, [[_PADDING, _PADDING], [_PADDING, _PADDING], [0, 0]])
  image = image_ops.random_crop(image, height, width,
                                y_seed=image_ops.decision_seed(seed, _CROP_Y),
                                x_seed=image_ops.decision_seed(seed, _CROP_X))
  return tf.cast(image, tf.float32)


def flip(image, seed):
  """Flips at random: float32 [height, width, channels]."""
  return image_ops.random_flip(image, image_ops.decision_seed(seed, _FLIP))


def recolor(image, seed):
  """Changes brightness and contrast; values may leave [0, 255].

  Args:
    image: float32 [height, width, channels] in [0, 255].
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels].
  """
  image = tf.image.stateless_random_brightness(
      image, _MAX_BRIGHTNESS_DELTA, image_ops.decision_seed(seed, _BRIGHTNESS))
  return tf.image.stateless_random_contrast(
      image, *_CONTRAST_RANGE, image_ops.decision_seed(seed, _CONTRAST))
