"""The recipe of EfficientNet-Lite.

Follows its original implementation (https://github.com/tensorflow/tpu,
`models/official/efficientnet`: `main.py` and `preprocessing.py`), without AutoAugment. The lite
networks were trained and evaluated with bilinear resizing, the other EfficientNets with bicubic.
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import decoding, image_ops
from preprocessing.transform import Transform, fitting_box

TRANSFORM = Transform(crop_padding=32, crops_first=True, interpolation='bilinear_tf1',
                      mean=(127.0, 127.0, 127.0), scale=(128.0, 128.0, 128.0))
_AREA_RANGE = (0.08, 1.0)
_ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
_MIN_OBJECT_COVERED = 0.1
_MAX_ATTEMPTS = 10

# The random decisions about an image, each with its own seed.
_BOX, _FLIP = range(2)


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
  image = decoding.open_image(image, channels)
  shape = decoding.shape_of(image)
  begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
      tf.stack([*shape, 1]), tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
      image_ops.decision_seed(seed, _BOX), min_object_covered=_MIN_OBJECT_COVERED,
      aspect_ratio_range=_ASPECT_RATIO_RANGE, area_range=_AREA_RANGE, max_attempts=_MAX_ATTEMPTS)
  # The op returns the whole image if no box fits; then the box of an evaluation is used.
  is_whole = tf.reduce_all(size[:2] == tf.stack(shape))
  central = fitting_box(shape, (height, width), [TRANSFORM.resized(side) for side in
                                                 (height, width)])
  box = tf.where(is_whole, tf.stack(central), tf.concat([begin[:2], size[:2]], axis=0))
  return image_ops.legacy_resize(decoding.crop(image, tf.unstack(box)), height, width)


def flip(image, seed):
  """Flips at random: float32 [height, width, channels]."""
  return image_ops.random_flip(image, image_ops.decision_seed(seed, _FLIP))
