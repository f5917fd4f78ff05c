"""The recipe of Caffe's AlexNet (`bvlc_alexnet`).

Images of any shape were stored at 256 x 256, resized by OpenCV's bilinear `resize`. Crops of 227
are taken from them, mirrored in training, in BGR, and the mean colour is subtracted
(https://github.com/BVLC/caffe, `models/bvlc_alexnet` and `examples/imagenet`).
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops

_MEAN = (124.0, 117.0, 104.0)  # red, green, blue
_STORED_SIZE, _CROP_SIZE = 256, 227

# The random decisions about an image, each with its own seed.
_CROP_Y, _CROP_X, _FLIP = range(3)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Resizes without keeping the aspect ratio, crops at random, mirrors, subtracts the mean.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. The crop is 227 / 256 of each resized side.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels]: [0, 255] minus the mean (104, 117, 124), BGR, or its luma.
  """
  image = image_ops.random_crop(_resize(image, height, width, channels=channels), height, width,
                                y_seed=image_ops.decision_seed(seed, _CROP_Y),
                                x_seed=image_ops.decision_seed(seed, _CROP_X))
  image = tf.image.stateless_random_flip_left_right(image, image_ops.decision_seed(seed, _FLIP))
  return _to_bgr(image)


def preprocess_for_eval(image, height, width, *, channels=3):
  """Resizes without keeping the aspect ratio, crops the centre, subtracts the mean.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels. The crop is 227 / 256 of each resized side.
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels]: [0, 255] minus the mean (104, 117, 124), BGR, or its luma.
  """
  image = _resize(image, height, width, channels=channels)
  return _to_bgr(image_ops.central_crop(image, height, width))


def _resize(image, height, width, *, channels):
  """Resizes a whole image like OpenCV (half-pixel centres, no antialiasing): float32 [0, 255]."""
  image = decoding.pixels_of(decoding.open_image(image, channels))
  size = [round(side * _STORED_SIZE / _CROP_SIZE) for side in (height, width)]
  return tf.image.resize(image, size, method='bilinear', antialias=False)


def _to_bgr(image):
  return tf.reverse(image_ops.subtract_mean(image, _MEAN), [2])
