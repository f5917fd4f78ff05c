"""The ways of resizing an image, each rounding as the library that it is named after.

`bilinear` and `bicubic` give the pixels of Pillow, with which torchvision, timm and Keras resize.
The names ending in `_no_antialias` take the pixel centres like OpenCV and TensorFlow 2, and
`bilinear_tf1` samples like TensorFlow 1, with which TF-Slim's networks were trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from preprocessing import image_ops


def _pillow(method: str) -> Callable:
  """Resizes like Pillow: antialiased, the width first, rounding after each of both directions.

  Pillow 13 resizes the height first if that is less work, which changes some pixels by one.
  """
  def resize_first(pixels, size):
    """Resizes the first axis of [length, n, channels] to `size`; uint8."""
    shape = tf.shape(pixels)
    # As an image one pixel wide with many channels: the kernel computes whole rows in one go, and
    # the pixels of a row one by one.
    column = tf.reshape(pixels, [shape[0], 1, -1])
    resized = tf.image.resize(column, [size, 1], method=method, antialias=True)
    if method != 'bilinear':  # Bicubic interpolation overshoots.
      resized = tf.clip_by_value(resized, 0.0, 255.0)
    # Halves are rounded up, as in Pillow; tf.round would round them to even.
    return tf.reshape(tf.cast(resized + 0.5, tf.uint8), [size, *tf.unstack(shape[1:])])

  def resize(pixels, height, width):
    channels = pixels.shape[2]
    for size in (width, height):
      pixels = resize_first(tf.transpose(pixels, [1, 0, 2]), size)
    return tf.ensure_shape(tf.cast(pixels, tf.float32), [None, None, channels])

  return resize


def _centred(method: str) -> Callable:
  """Resizes with half-pixel centres, without antialiasing."""
  def resize(pixels, height, width):
    return tf.clip_by_value(
        tf.image.resize(pixels, [height, width], method=method, antialias=False), 0.0, 255.0)

  return resize


def _pillow_scaled(shape, side):
  """The longer side is rounded down, as by torchvision."""
  shorter = tf.cast(tf.minimum(*shape), tf.int64)
  return [tf.cast(side * tf.cast(length, tf.int64) // shorter, tf.int32) for length in shape]


def _nearest_scaled(shape, side):
  """The longer side is rounded to the nearest integer, as by TF-Slim."""
  shape = tf.cast(tf.stack(shape), tf.float32)
  scale = tf.cast(side, tf.float32) / tf.reduce_min(shape)
  return tf.unstack(tf.cast(tf.round(shape * scale), tf.int32))


def _pillow_crop(image, height, width):
  """Rounds the corner to the nearest integer, halves to even, as torchvision does."""
  y, x = (tf.cast(tf.round((length - kept) / 2), tf.int32)
          for length, kept in zip(tf.unstack(tf.shape(image)[:2]), (height, width), strict=True))
  return image[y:y + height, x:x + width]


@dataclasses.dataclass(frozen=True)
class Interpolation:
  """A way of resizing.

  Attributes:
    resize: (pixels, height, width) -> float32 [height, width, channels] in [0, 255], of an image
      [in_height, in_width, channels] in [0, 255].
    scaled: ((in_height, in_width), side) -> [height, width] with the shorter side as given, and the
      same aspect ratio.
    central_crop: (image, height, width) -> the centre.
    dct_method: how the library decodes JPEGs; see `decoding.open_image`.
  """
  resize: Callable
  scaled: Callable = _nearest_scaled
  central_crop: Callable = image_ops.central_crop
  dct_method: str = 'INTEGER_ACCURATE'


INTERPOLATIONS = {
    'bilinear': Interpolation(_pillow('bilinear'), _pillow_scaled, _pillow_crop),
    'bicubic': Interpolation(_pillow('bicubic'), _pillow_scaled, _pillow_crop),
    'bilinear_no_antialias': Interpolation(_centred('bilinear')),
    'bicubic_no_antialias': Interpolation(_centred('bicubic')),
    'bilinear_tf1': Interpolation(image_ops.legacy_resize, dct_method=''),
}
