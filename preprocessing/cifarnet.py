"""The recipe of CifarNet, for small images. Follows TF-Slim's `cifarnet_preprocessing`."""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops

_PADDING = 4
_MAX_BRIGHTNESS_DELTA = 63.0
_CONTRAST_RANGE = (0.2, 1.8)

# The random decisions about an image, each with its own seed.
_CROP_Y, _CROP_X, _FLIP, _BRIGHTNESS, _CONTRAST = range(5)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Pads by 4 pixels, crops at random, flips, changes brightness and contrast, standardizes.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. An image that is smaller than this even after
      padding is first centrally cropped or padded to this size.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] with mean 0 and standard deviation 1.
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
  image = tf.image.stateless_random_flip_left_right(
      tf.cast(image, tf.float32), image_ops.decision_seed(seed, _FLIP))
  image = tf.image.stateless_random_brightness(
      image, _MAX_BRIGHTNESS_DELTA, image_ops.decision_seed(seed, _BRIGHTNESS))
  image = tf.image.stateless_random_contrast(
      image, *_CONTRAST_RANGE, image_ops.decision_seed(seed, _CONTRAST))
  return tf.image.per_image_standardization(image)


def preprocess_for_eval(image, height, width, *, channels=3):
  """Crops or pads an image centrally, and standardizes it.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels] with mean 0 and standard deviation 1.
  """
  image = image_ops.central_crop_or_pad(decoding.open_image(image, channels), height, width)
  return tf.image.per_image_standardization(image)
