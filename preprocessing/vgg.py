"""The recipe of VGG and ResNet V1.

Follows TF-Slim's `vgg_preprocessing` (https://arxiv.org/abs/1409.1556, section 3).
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops

_MEAN = (123.68, 116.78, 103.94)
_IMAGE_SIZE = 224
_RESIZE_SIDE_MIN, _RESIZE_SIDE_MAX = 256, 512

# The random decisions about an image, each with its own seed.
_SIDE, _CROP_Y, _CROP_X, _FLIP = range(4)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Resizes the shorter side to 256 to 512 pixels, crops at random, flips, subtracts the mean.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. If the crop does not fit into 256 pixels, both
      ends of the range are scaled in proportion (TF-Slim raises an error).
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels]: [0, 255] minus the mean (123.68, 116.78, 103.94), RGB, or its
    luma.
  """
  sides = [_fitting_side(side, height, width) for side in (_RESIZE_SIDE_MIN, _RESIZE_SIDE_MAX)]
  side = image_ops.uniform_integer(image_ops.decision_seed(seed, _SIDE), *sides)
  image = _resize_shorter_side(image, side, channels)
  image = image_ops.random_crop(image, height, width,
                                y_seed=image_ops.decision_seed(seed, _CROP_Y),
                                x_seed=image_ops.decision_seed(seed, _CROP_X))
  image = tf.image.stateless_random_flip_left_right(image, image_ops.decision_seed(seed, _FLIP))
  return image_ops.subtract_mean(image, _MEAN)


def preprocess_for_eval(image, height, width, *, channels=3):
  """Resizes the shorter side to 256 pixels, crops the centre, subtracts the mean.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. If the crop does not fit into 256 pixels, the
      shorter side is resized to 256 / 224 of the crop's longer side (TF-Slim raises an error).
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels]: [0, 255] minus the mean (123.68, 116.78, 103.94), RGB, or its
    luma.
  """
  image = _resize_shorter_side(image, _fitting_side(_RESIZE_SIDE_MIN, height, width), channels)
  return image_ops.subtract_mean(image_ops.central_crop(image, height, width), _MEAN)


def _fitting_side(side, height, width):
  """`side`, scaled in proportion to the crop if the crop exceeds the smallest side."""
  size = max(height, width)
  return side if size <= _RESIZE_SIDE_MIN else round(size * side / _IMAGE_SIZE)


def _resize_shorter_side(image, side, channels):
  """Resizes a whole image, keeping its aspect ratio to the pixel: float32 in [0, 255]."""
  image = decoding.pixels_of(decoding.open_image(image, channels))
  shape = tf.cast(tf.shape(image)[:2], tf.float32)
  scale = tf.cast(side, tf.float32) / tf.reduce_min(shape)
  size = tf.cast(tf.round(shape * scale), tf.int32)
  return image_ops.legacy_resize(image, size[0], size[1])
