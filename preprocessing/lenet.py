"""The recipe of LeNet, for digits. Follows TF-Slim's `lenet_preprocessing`."""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops


def preprocess(image, height, width, *, channels=3):
  """Crops or pads an image centrally, and scales it, for both training and evaluation.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels] in [-1, 1): (value - 128) / 128.
  """
  image = image_ops.central_crop_or_pad(decoding.open_image(image, channels), height, width)
  return (tf.cast(image, tf.float32) - 128.0) / 128.0
