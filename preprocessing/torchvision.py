"""The recipe of torchvision's reference training and published weights.

Follows torchvision's `ImageClassification` preset and its `RandomResizedCrop`, both with
antialiasing (https://github.com/pytorch/vision, `torchvision/transforms`).
"""

from __future__ import annotations

import math

import tensorflow as tf

from preprocessing import decoding, image_ops

_MEAN = (123.675, 116.28, 103.53)  # 0.485, 0.456, 0.406 of 255.
_STD = (58.395, 57.12, 57.375)  # 0.229, 0.224, 0.225 of 255.
_RESIZED_SIZE, _CROP_SIZE = 256, 224
_AREA_RANGE = (0.08, 1.0)
_ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
_ATTEMPTS = 10

# The random decisions about an image, each with its own seed.
_AREA, _ASPECT_RATIO, _CROP_Y, _CROP_X, _FLIP = range(5)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Crops a random box, resizes it without keeping its aspect ratio, flips, normalizes.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels]: the pixels minus ImageNet's mean, divided by its standard
    deviation; for grey images, the luma of both is used.
  """
  image = decoding.open_image(image, channels)
  in_height, in_width = decoding.shape_of(image)
  image = decoding.crop(image, random_box(in_height, in_width, seed))
  image = _resize(image, height, width)
  image = tf.image.stateless_random_flip_left_right(image, image_ops.decision_seed(seed, _FLIP))
  return _normalized(image)


def preprocess_for_eval(image, height, width, *, channels=3):
  """Resizes the shorter side to 256 / 224 of the crop, crops the centre, normalizes.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels; the longer one determines the resizing.
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels]: the pixels minus ImageNet's mean, divided by its standard
    deviation; for grey images, the luma of both is used.
  """
  image = decoding.pixels_of(decoding.open_image(image, channels))
  in_height, in_width = decoding.shape_of(image)
  side = round(max(height, width) * _RESIZED_SIZE / _CROP_SIZE)
  shorter = tf.minimum(in_height, in_width)
  resized = [tf.cast(side * tf.cast(length, tf.int64) // tf.cast(shorter, tf.int64), tf.int32)
             for length in (in_height, in_width)]
  image = _resize(image, *resized)
  y, x = (tf.cast(tf.round((length - kept) / 2), tf.int32)  # Rounds halves to even, like PyTorch.
          for length, kept in zip(resized, (height, width), strict=True))
  return _normalized(tf.ensure_shape(image[y:y + height, x:x + width], [height, width, channels]))


def random_box(height, width, seed):
  """Draws a box with 8% to 100% of the image's area and log-uniform width / height in [3/4, 4/3].

  Args:
    height, width: int32 scalars, the image's size.
    seed: integer tensor [2].

  Returns:
    (y, x, height, width), int32 scalars: the first of ten boxes that fits into the image; if none
    does, the largest central box with an aspect ratio in the range.
  """
  sides = tf.cast(tf.stack([height, width]), tf.float32)
  area = tf.reduce_prod(sides) * tf.random.stateless_uniform(
      [_ATTEMPTS], image_ops.decision_seed(seed, _AREA), *_AREA_RANGE)
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


def _resize(pixels, height, width):
  """Resizes like Pillow: antialiased, the width first, rounding after each of both directions.

  Pillow 13 resizes the height first if that is less work, which changes some pixels by one.
  """
  for size in ([tf.shape(pixels)[0], width], [height, width]):
    resized = tf.image.resize(pixels, size, method='bilinear', antialias=True)
    pixels = tf.floor(resized + 0.5)  # tf.round would round halves to even.
  return pixels


def _normalized(image):
  return image_ops.subtract_mean(image, _MEAN) / image_ops.luma_of(_STD, image.shape[2])
