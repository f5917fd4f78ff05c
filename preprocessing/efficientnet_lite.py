"""The recipe of EfficientNet-Lite.

Follows its first implementation (https://github.com/tensorflow/tpu, `models/official/efficientnet`:
`main.py` and `preprocessing.py`), without AutoAugment. The lite networks were trained and measured
on images resized bilinearly, the other EfficientNets on bicubic ones.
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops

_MEAN, _SCALE = 127.0, 128.0
_BORDER = 32  # Pixels that the crop leaves out, of an image as large as the crop and them.
_AREA_RANGE = (0.08, 1.0)
_ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
_MIN_OBJECT_COVERED = 0.1
_MAX_ATTEMPTS = 10

# The random decisions about an image; each has its own seed.
_BOX, _FLIP = range(2)


def preprocess_for_train(image, height, width, *, channels=3, seed):
  """Crops a random box, resizes it without keeping its shape, flips, scales.

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
  # The whole image is what comes back where no box fits: then it is the centre.
  is_whole = tf.reduce_all(size[:2] == tf.stack(shape))
  box = tf.where(is_whole, tf.stack(central_box(*shape, height, width)),
                 tf.concat([begin[:2], size[:2]], axis=0))
  image = image_ops.legacy_resize(decoding.crop(image, *tf.unstack(box)), height, width)
  image = tf.image.stateless_random_flip_left_right(image, image_ops.decision_seed(seed, _FLIP))
  return _scaled(image)


def preprocess_for_eval(image, height, width, *, channels=3):
  """Crops the centre, size / (size + 32) of the shorter side, resizes and scales it.

  Args:
    image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
    height, width: size of the result, in pixels; the crop has their shape.
    channels: 3, or 1 for grey.

  Returns:
    float32 [height, width, channels] in [-127/128, 1].
  """
  image = decoding.open_image(image, channels)
  box = central_box(*decoding.shape_of(image), height, width)
  return _scaled(image_ops.legacy_resize(decoding.crop(image, *box), height, width))


def central_box(in_height, in_width, height, width):
  """The box that is kept for evaluation: (y, x, height, width), int32 scalars.

  Args:
    in_height, in_width: int32 scalars, the image's size.
    height, width: of the result, in pixels.
  """
  in_sides = [tf.cast(side, tf.float32) for side in (in_height, in_width)]
  scale = tf.minimum(in_sides[0] / (height + _BORDER), in_sides[1] / (width + _BORDER))
  sides = [tf.maximum(tf.cast(scale * side, tf.int32), 1) for side in (height, width)]
  starts = [(in_side - side + 1) // 2
            for in_side, side in zip((in_height, in_width), sides, strict=True)]
  # The half pixel that is rounded up must not lead out of an image of one pixel.
  starts = [tf.minimum(start, in_side - side) for start, in_side, side
            in zip(starts, (in_height, in_width), sides, strict=True)]
  return *starts, *sides


def _scaled(image):
  """From [0, 255] to [-1, 1], all but."""
  return (image - _MEAN) / _SCALE
