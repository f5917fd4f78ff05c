"""Operations on 8-bit images that give Pillow's pixels, for augmentation.

Images are int32 [height, width, channels] in [0, 255] with 1 or 3 channels, RGB. Magnitudes are
float32 scalars.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

# Weights of red, green and blue in Pillow's conversion to grey, in 65,536ths.
_LUMA = (19595, 38470, 7471)
_FIXED = 65536  # Pillow computes the positions of nearest neighbours in 16.16 bits.
# Pillow's ImageFilter.SMOOTH.
_SMOOTH = ((1, 1, 1), (1, 5, 1), (1, 1, 1))


def shear_x(image, slope):
  """Reads pixel (x, y) at (x + slope · y, y); `Image.transform` with the nearest neighbour."""
  return _affine(image, (1.0, slope, 0.0), (0.0, 1.0, 0.0))


def shear_y(image, slope):
  """Reads pixel (x, y) at (x, y + slope · x)."""
  return _affine(image, (1.0, 0.0, 0.0), (slope, 1.0, 0.0))


def translate_x(image, pixels):
  """Moves an image to the right, by whole pixels."""
  return _affine(image, (1.0, 0.0, -_truncated(pixels)), (0.0, 1.0, 0.0))


def translate_y(image, pixels):
  """Moves an image down, by whole pixels."""
  return _affine(image, (1.0, 0.0, 0.0), (0.0, 1.0, -_truncated(pixels)))


def rotate(image, degrees):
  """Rotates an image counter-clockwise about its centre; `Image.rotate`."""
  angle = -tf.cast(degrees, tf.float64) * (math.pi / 180)
  # Rounded and added up as in Pillow: the last bit may decide which pixel is the nearest.
  cos, sin = (tf.round(value * 1e15) / 1e15 for value in (tf.cos(angle), tf.sin(angle)))
  height, width, _ = image.shape
  x, y = width / 2, height / 2
  return _affine(image, (cos, sin, (cos * -x + sin * -y) + x),
                 (-sin, cos, (-sin * -x + cos * -y) + y))


def brightness(image, factor):
  """Blends with black; `ImageEnhance.Brightness`."""
  return _blend(tf.zeros_like(image), image, factor)


def color(image, factor):
  """Blends with the grey image; `ImageEnhance.Color`."""
  return _blend(tf.broadcast_to(_grey(image), tf.shape(image)), image, factor)


def contrast(image, factor):
  """Blends with the mean of the grey image; `ImageEnhance.Contrast`."""
  grey = tf.cast(_grey(image), tf.float64)
  mean = tf.cast(tf.floor(tf.reduce_mean(grey) + 0.5), tf.int32)
  return _blend(tf.fill(tf.shape(image), mean), image, factor)


def sharpness(image, factor):
  """Blends with the smoothed image; `ImageEnhance.Sharpness`."""
  height, width, channels = image.shape
  if height < 3 or width < 3:
    return image
  kernel = tf.tile(tf.constant(_SMOOTH, tf.float32)[:, :, tf.newaxis, tf.newaxis],
                   [1, 1, channels, 1])
  total = tf.nn.depthwise_conv2d(tf.cast(image, tf.float32)[tf.newaxis], kernel, [1, 1, 1, 1],
                                 'VALID')[0]
  smooth = tf.cast(tf.floor(total / np.sum(_SMOOTH) + 0.5), tf.int32)
  border = [[1, 1], [1, 1], [0, 0]]  # It stays as it is.
  smooth = tf.where(tf.pad(tf.ones_like(smooth, tf.bool), border), tf.pad(smooth, border), image)
  return _blend(smooth, image, factor)


def posterize(image, bits):
  """Keeps the highest bits of each value; `ImageOps.posterize`."""
  low = tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32)) - 1
  return tf.bitwise.bitwise_and(image, 255 - low)


def solarize(image, threshold):
  """Inverts the values from a threshold on; `ImageOps.solarize`."""
  return tf.where(tf.cast(image, tf.float32) < threshold, image, 255 - image)


def invert(image, unused=None):
  """Inverts all values; `ImageOps.invert`."""
  del unused
  return 255 - image


def autocontrast(image, unused=None):
  """Stretches the values of each channel to 0 … 255; `ImageOps.autocontrast`."""
  del unused
  low, high = (tf.cast(bound(image, [0, 1]), tf.float64) for bound in
               (tf.reduce_min, tf.reduce_max))
  scale = 255.0 / tf.maximum(high - low, 1.0)
  values = tf.range(256, dtype=tf.float64)[:, tf.newaxis]
  # In double precision and this order, as Pillow computes it, since the result is truncated.
  table = tf.cast(tf.clip_by_value(values * scale + -low * scale, 0, 255), tf.int32)
  identity = tf.broadcast_to(tf.range(256)[:, tf.newaxis], tf.shape(table))
  return _looked_up(image, tf.where(high > low, table, identity))


def equalize(image, unused=None):
  """Makes the histogram of each channel flat; `ImageOps.equalize`."""
  del unused
  tables = [_equalizing(image[:, :, channel]) for channel in range(image.shape[2])]
  return _looked_up(image, tf.stack(tables, axis=1))


def _equalizing(values):
  """The table that equalizes one channel: int32 [256]."""
  counts = tf.math.bincount(tf.reshape(values, [-1]), minlength=256, maxlength=256)
  used = tf.where(counts > 0)[:, 0]
  step = (tf.reduce_sum(counts) - counts[used[-1]]) // 255
  before = step // 2 + tf.cumsum(counts, exclusive=True)
  table = tf.minimum(before // tf.maximum(step, 1), 255)
  return tf.where((step > 0) & (tf.size(used) > 1), table, tf.range(256))


def _looked_up(image, tables):
  """Replaces each value by that of its channel's table, int32 [256, channels]."""
  channels = image.shape[2]
  return tf.gather(tf.reshape(tables, [-1]), image * channels + tf.range(channels))


def _grey(image):
  """Pillow's conversion to grey: int32 [height, width, 1]."""
  if image.shape[2] == 1:
    return image
  weighted = tf.reduce_sum(image * tf.constant(_LUMA), axis=2, keepdims=True)
  return tf.bitwise.right_shift(weighted + _FIXED // 2, 16)


def _blend(degenerate, image, factor):
  """Pillow's `Image.blend`, which extrapolates for factors above 1, and truncates."""
  start, end = tf.cast(degenerate, tf.float32), tf.cast(image, tf.float32)
  blended = start + tf.cast(factor, tf.float32) * (end - start)
  return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.int32)


def _truncated(value):
  return tf.cast(tf.cast(value, tf.int32), tf.float64)


def _affine(image, of_x, of_y):
  """Reads each pixel at an affine function of its position; black outside of the image.

  Args:
    image: int32 [height, width, channels] of a static shape.
    of_x, of_y: (a, b, c), so that the position is a · x + b · y + c, for pixel centres.
  """
  height, width, channels = image.shape

  def positions(a, b, c):
    a, b, c = (tf.cast(value, tf.float64) for value in (a, b, c))
    first = _fixed(c + a * 0.5 + b * 0.5)
    found = (first + _fixed(a) * tf.range(width)
             + _fixed(b) * tf.range(height)[:, tf.newaxis])
    return tf.bitwise.right_shift(found, 16)  # Rounds down, negative numbers too.

  x, y = positions(*of_x), positions(*of_y)
  inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
  pixels = tf.gather(tf.reshape(image, [-1, channels]), tf.where(inside, y * width + x, 0))
  return tf.where(inside[:, :, tf.newaxis], pixels, 0)


def _fixed(value):
  return tf.cast(tf.floor(value * _FIXED + 0.5), tf.int32)
