"""Operations on 8-bit images that give Pillow's pixels, for augmentation.

Images are int32 [height, width, channels] in [0, 255] with 1 or 3 channels, RGB. Magnitudes are
float32 scalars.
"""

from __future__ import annotations

import math

import tensorflow as tf

# Weights of red, green and blue in Pillow's conversion to grey, in 65,536ths.
_LUMA = (19595, 38470, 7471)
_FIXED = 65536  # Pillow computes the positions of nearest neighbours in 16.16 bits.
# Pillow's ImageFilter.SMOOTH has 5 in the centre, 1 around it.
_SMOOTH_CENTRE, _SMOOTH_SUM = 5, 13


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
  return _blend(_grey(image), image, factor)


def contrast(image, factor):
  """Blends with the mean of the grey image; `ImageEnhance.Contrast`."""
  # Each pixel's grey is there once per channel.
  mean = tf.reduce_mean(tf.cast(_grey(image), tf.float64))
  return _blend(tf.floor(mean + 0.5), image, factor)


def sharpness(image, factor):
  """Blends with the smoothed image; `ImageEnhance.Sharpness`."""
  height, width, channels = image.shape
  if height < 3 or width < 3:
    return image
  # Sums of three rows, then of three pixels: rows of values are added much faster than convolved.
  rows = tf.reshape(image, [height, width * channels])
  total = rows[:-2] + rows[1:-1] + rows[2:]
  total = total[:, :-2 * channels] + total[:, channels:-channels] + total[:, 2 * channels:]
  inner = rows[1:-1, channels:-channels]
  total = tf.cast(total + (_SMOOTH_CENTRE - 1) * inner, tf.float32)
  smooth = tf.cast(total / _SMOOTH_SUM + 0.5, tf.int32)
  # The border stays as it is.
  smooth = tf.concat([rows[1:-1, :channels], smooth, rows[1:-1, -channels:]], axis=1)
  smooth = tf.reshape(tf.concat([rows[:1], smooth, rows[-1:]], axis=0), [height, width, channels])
  return _blend(smooth, image, factor)


def posterize(image, bits):
  """Keeps the highest bits of each value; `ImageOps.posterize`."""
  low = tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32)) - 1
  return tf.bitwise.bitwise_and(image, 255 - low)


def solarize(image, threshold):
  """Inverts the values from a threshold on; `ImageOps.solarize`."""
  is_inverted = tf.cast(image >= tf.cast(tf.math.ceil(threshold), tf.int32), tf.int32)
  return image + is_inverted * (255 - 2 * image)  # Three times as fast as `tf.where`.


def invert(image, unused=None):
  """Inverts all values; `ImageOps.invert`."""
  del unused
  return 255 - image


def autocontrast(image, unused=None):
  """Stretches the values of each channel to 0 … 255; `ImageOps.autocontrast`."""
  del unused
  low, high = (tf.cast(_of_channels(bound, image), tf.float64) for bound in
               (tf.reduce_min, tf.reduce_max))
  scale = 255.0 / tf.maximum(high - low, 1.0)
  values = tf.range(256, dtype=tf.float64)
  # In double precision and this order, as Pillow computes it, since the result is truncated.
  table = tf.cast(tf.clip_by_value(values * scale + -low * scale, 0, 255), tf.int32)
  return _looked_up(image, tf.where(high > low, table, tf.range(256)))


def equalize(image, unused=None):
  """Makes the histogram of each channel flat; `ImageOps.equalize`."""
  del unused
  channels = image.shape[2]
  counts = tf.math.bincount(tf.reshape(_places(image), [-1]), minlength=256 * channels,
                            maxlength=256 * channels)
  counts = tf.unstack(tf.reshape(counts, [channels, 256]))
  return _looked_up(image, tf.stack([_equalizing(of_channel) for of_channel in counts]))


def _equalizing(counts):
  """The table that equalizes a channel with this histogram: int32 [256]."""
  used = tf.where(counts > 0)[:, 0]
  step = (tf.reduce_sum(counts) - counts[used[-1]]) // 255
  before = step // 2 + tf.cumsum(counts, exclusive=True)
  table = tf.minimum(before // tf.maximum(step, 1), 255)
  return tf.where((step > 0) & (tf.size(used) > 1), table, tf.range(256))


def _of_channels(reduce, image):
  """Reduces the values of each channel: [channels, 1]."""
  height, width, channels = image.shape
  of_columns = reduce(tf.reshape(image, [height, width * channels]), axis=0)
  return reduce(tf.reshape(of_columns, [width, channels]), axis=0)[:, tf.newaxis]


def _places(image):
  """Value + 256 · channel: int32 [height, width · channels]."""
  height, width, channels = image.shape
  # By rows: TensorFlow takes much longer to repeat a few numbers for each pixel.
  return (tf.reshape(image, [height, width * channels])
          + tf.tile(256 * tf.range(channels), [width]))


def _looked_up(image, tables):
  """Replaces each value by that of its channel's table, int32 [channels, 256]."""
  return tf.reshape(tf.gather(tf.reshape(tables, [-1]), _places(image)), image.shape)


def _grey(image):
  """Pillow's conversion to grey, in each channel: float32, whole numbers, shaped like the image."""
  values = tf.cast(image, tf.float32)
  if image.shape[2] == 1:
    return values
  # As a product, which is much faster than sums over the last axis. All sums are whole numbers
  # below 2**24, so that they are exact.
  weights = tf.tile(tf.constant(_LUMA, tf.float32)[:, tf.newaxis], [1, 3])
  with tf.device('CPU'):  # GPUs round to fewer bits.
    weighted = tf.matmul(tf.reshape(values, [-1, 3]), weights)
  return tf.reshape(tf.floor((weighted + _FIXED / 2) / _FIXED), image.shape)


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
  outside = height * width  # A black pixel after the last.
  pixels = tf.concat([tf.reshape(image, [-1, channels]), tf.zeros([1, channels], tf.int32)], axis=0)
  return tf.gather(pixels, tf.where(inside, y * width + x, outside))


def _fixed(value):
  return tf.cast(tf.floor(value * _FIXED + 0.5), tf.int32)
