"""The recipe of EfficientNet-Lite.

Follows its original implementation (https://github.com/tensorflow/tpu,
`models/official/efficientnet`: `main.py` and `preprocessing.py`), without AutoAugment. The lite
networks were trained and evaluated with bilinear resizing, the other EfficientNets with bicubic.
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops

_MEAN, _SCALE = 127.0, 128.0
_BORDER = 32  # Pixels that are cropped away from each side length of (crop + _BORDER) pixels.
_AREA_RANGE = (0.08, 1.0)
_ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
_MIN_OBJECT_COVERED = 0.1
_MAX_ATTEMPTS = 10

# The random decisions about an image, each with its own seed.
_BOX, _FLIP = range(2)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Crops a random box, resizes it without keeping its aspect ratio, flips, scales.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels.
    channels: 3, or 1 for grey.
    seed: integer tensor [2]; the result is a function of it and the image.

  Returns:
    float32 [height, width, channels] in [-127/128, 1].
  """
  image = decoding.open_image(image, channels)
  shape = decoding.shape_of(image)
  begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
      tf.stack([*shape, 1]), tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
      image_ops.decision_seed(seed, _BOX), min_object_covered=_MIN_OBJECT_COVERED,
      aspect_ratio_range=_ASPECT_RATIO_RANGE, area_range=_AREA_RANGE, max_attempts=_MAX_ATTEMPTS)
  # The op returns the whole image if no box fits; then the central box is used.
  is_whole = tf.reduce_all(size[:2] == tf.stack(shape))
  box = tf.where(is_whole, tf.stack(central_box(shape, height, width)),
                 tf.concat([begin[:2], size[:2]], axis=0))
  image = image_ops.legacy_resize(decoding.crop(image, tf.unstack(box)), height, width)
  image = tf.image.stateless_random_flip_left_right(image, image_ops.decision_seed(seed, _FLIP))
  return _scaled(image)


def preprocess_for_eval(image, height, width, *, channels=3):
  """Crops the centre, size / (size + 32) of the shorter side, resizes and scales it.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels; the crop has the same aspect ratio.
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels] in [-127/128, 1].
  """
  image = decoding.open_image(image, channels)
  box = central_box(decoding.shape_of(image), height, width)
  return _scaled(image_ops.legacy_resize(decoding.crop(image, box), height, width))


def central_box(shape, height, width):
  """The box that is used for evaluation: (y, x, height, width), int32 scalars.

  Args:
    shape: (height, width) of the image, int32 scalars.
    height, width: size of the result, in pixels.
  """
  in_height, in_width = (tf.cast(side, tf.float32) for side in shape)
  scale = tf.minimum(in_height / (height + _BORDER), in_width / (width + _BORDER))
  sides = [tf.maximum(tf.cast(scale * side, tf.int32), 1) for side in (height, width)]
  # Rounding up must not lead out of an image of one pixel.
  y, x = (tf.minimum((in_side - side + 1) // 2, in_side - side)
          for in_side, side in zip(shape, sides, strict=True))
  return y, x, sides[0], sides[1]


def _scaled(image):
  """Scales from [0, 255] to [-127/128, 1]."""
  return (image - _MEAN) / _SCALE
