"""The recipe of torchvision's reference training and published weights.

Follows torchvision's `ImageClassification` preset and its `RandomResizedCrop`, both with
antialiasing (https://github.com/pytorch/vision, `torchvision/transforms`).
"""

from __future__ import annotations

import math

import tensorflow as tf

from preprocessing import decoding, image_ops, resizing
from preprocessing.transform import Transform

TRANSFORM = Transform(
    crop_fraction=224 / 256, mean=(123.675, 116.28, 103.53),  # 0.485, 0.456, 0.406 of 255.
    scale=(58.395, 57.12, 57.375))  # 0.229, 0.224, 0.225 of 255.
_LEAST_AREA = 0.08
_ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
_ATTEMPTS = 10

# The random decisions about an image, each with its own seed.
_AREA, _ASPECT_RATIO, _CROP_Y, _CROP_X, _FLIP = range(5)


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
  resize = resizing.INTERPOLATIONS[TRANSFORM.interpolation]
  image = decoding.open_image(image, channels, dct_method=resize.dct_method)
  in_height, in_width = decoding.shape_of(image)
  box = random_box(in_height, in_width, seed)
  return resize.resize(decoding.crop(image, box), height, width)


def flip(image, seed):
  """Flips at random: float32 [height, width, channels]."""
  return image_ops.random_flip(image, image_ops.decision_seed(seed, _FLIP))


def random_box(height, width, seed, *, least_area=_LEAST_AREA):
  """Draws a box of the image with a log-uniform width / height in [3/4, 4/3].

  Args:
    height, width: int32 scalars, the image's size.
    seed: integer tensor [2].
    least_area: the box has this share of the image's area or more, uniformly up to 1.

  Returns:
    (y, x, height, width), int32 scalars: the first of ten boxes that fits into the image; if none
    does, the largest central box with an aspect ratio in the range.
  """
  sides = tf.cast(tf.stack([height, width]), tf.float32)
  area = tf.reduce_prod(sides) * tf.random.stateless_uniform(
      [_ATTEMPTS], image_ops.decision_seed(seed, _AREA), least_area, 1.0)
  ratio = tf.exp(tf.random.stateless_uniform(
      [_ATTEMPTS], image_ops.decision_seed(seed, _ASPECT_RATIO),
      *(math.log(ratio) for ratio in _ASPECT_RATIO_RANGE)))
  boxes = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], axis=1)))
  fits = tf.reduce_all((boxes > 0) & (boxes <= sides), axis=1)
  box = tf.where(tf.reduce_any(fits), boxes[tf.argmax(fits)], _central_box(sides))
  box = tf.cast(box, tf.int32)
  shares = (tf.random.stateless_uniform([], image_ops.decision_seed(seed, decision))
            for decision in (_CROP_Y, _CROP_X))
  room = tf.stack([height, width]) - box
  y, x = (tf.where(tf.reduce_any(fits),
                   tf.minimum(tf.cast(tf.cast(space + 1, tf.float32) * share, tf.int32), space),
                   space // 2) for space, share in zip(tf.unstack(room), shares, strict=True))
  return y, x, box[0], box[1]


def _central_box(sides):
  """The largest [height, width] in the image with an aspect ratio in the range."""
  low, high = _ASPECT_RATIO_RANGE
  height, width = tf.unstack(sides)
  ratio = width / height
  return tf.stack([tf.where(ratio < low, tf.maximum(tf.round(width / low), 1), height),
                   tf.where(ratio > high, tf.maximum(tf.round(height * high), 1), width)])
