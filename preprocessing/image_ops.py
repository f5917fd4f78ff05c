"""Operations on images that several recipes share."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from preprocessing import decoding

# Weights of red, green and blue in `tf.image.rgb_to_grayscale` (ITU-R 601).
_LUMA = (0.2989, 0.5870, 0.1140)


def decision_seed(seed, decision):
  """Derives the seed of one random decision about one image.

  Args:
    seed: integer tensor [2], the image's stateless seed.
    decision: integer, the number of the decision in the recipe.

  Returns:
    Integer tensor [2]: a different seed for every decision, so that none depends on how much
    randomness the others use.
  """
  return tf.random.fold_in(seed, decision)


def uniform_integer(seed, low, high):
  """Draws an int32 scalar uniformly from [low, high], both ends included."""
  return tf.random.stateless_uniform([], seed, low, high + 1, tf.int32)


def random_flip(image, seed):
  """Flips an image horizontally with probability 1/2."""
  return tf.image.stateless_random_flip_left_right(image, seed)


def legacy_resize(image, height, width):
  """Resizes by bilinear interpolation as TensorFlow 1 did.

  Pixel (i, j) of the result is read at (i * in_height / height, j * in_width / width), with neither
  the half-pixel shift nor the antialiasing of `tf.image.resize`: TF-Slim's published networks were
  trained and evaluated on such images.

  Args:
    image: [in_height, in_width, channels] of any real dtype.
    height, width: int32 scalars, the size of the result.

  Returns:
    float32 [height, width, channels] in the range of `image`.
  """
  # `tf.compat.v1.image.resize_bilinear` is this op with a deprecation warning.
  return tf.raw_ops.ResizeBilinear(
      images=image[tf.newaxis], size=tf.stack([height, width]), align_corners=False,
      half_pixel_centers=False)[0]


def central_crop_or_pad(image, height, width):
  """Crops an image about its centre, or pads it with zeros, to a given size.

  Args:
    image: from `decoding.open_image`; only the part that is kept is decoded.
    height, width: size of the result, in pixels.

  Returns:
    uint8 [height, width, channels].
  """
  in_height, in_width = decoding.shape_of(image)
  kept_height, kept_width = tf.minimum(in_height, height), tf.minimum(in_width, width)
  kept = decoding.crop(image, ((in_height - kept_height) // 2, (in_width - kept_width) // 2,
                               kept_height, kept_width))
  return tf.image.resize_with_crop_or_pad(kept, height, width)


def random_crop(image, height, width, *, y_seed, x_seed):
  """Crops [height, width] out of an image at least as large, at a uniformly random position."""
  shape = tf.shape(image)
  y = uniform_integer(y_seed, 0, shape[0] - height)
  x = uniform_integer(x_seed, 0, shape[1] - width)
  return _crop(image, (y, x, height, width))


def central_crop(image, height, width):
  """Crops [height, width] out of the middle of an image at least as large."""
  shape = tf.shape(image)
  return _crop(image, ((shape[0] - height) // 2, (shape[1] - width) // 2, height, width))


def _crop(image, box):
  y, x, height, width = box
  part = tf.slice(image, tf.stack([y, x, 0]), [height, width, -1])
  return tf.ensure_shape(part, [height, width, image.shape[2]])


def normalize(image, mean, scale):
  """Computes (image - mean) / scale; for a grey image, with the luma of these colours.

  Args:
    image: float32 [height, width, channels] in [0, 255], 1 or 3 channels.
    mean, scale: three numbers each, red, green and blue.

  Returns:
    float32 [height, width, channels].
  """
  shape, channels = tf.shape(image), image.shape[2]
  # By rows: TensorFlow takes four times as long to repeat three numbers for each pixel. In some
  # graphs, it replaces division by a constant with multiplication by the reciprocal, which rounds
  # differently; this does so everywhere.
  rows = tf.reshape(image, [shape[0], -1]) - tf.tile(luma_of(mean, channels), shape[1:2])
  if tuple(scale) != (1.0, 1.0, 1.0):  # Whose luma is 0.9999.
    rows *= tf.tile(1 / luma_of(scale, channels), shape[1:2])
  return tf.ensure_shape(tf.reshape(rows, shape), image.shape)


def luma_of(colour, channels):
  """Returns a colour as a float32 array [channels]: itself, or its luma for one channel."""
  if channels == 1:
    colour = [sum(weight * value for weight, value in zip(_LUMA, colour, strict=True))]
  return np.array(colour, np.float32)
