"""Operations on pixels, which are exactly those of Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from preprocessing import pixel_ops

_AFFINE = Image.Transform.AFFINE


def _moved(image, *coefficients):
  return image.transform(image.size, _AFFINE, coefficients)


# {name: (Pillow's result, magnitudes)}.
_CASES = {
  'shear_x': (lambda image, m: _moved(image, 1, m, 0, 0, 1, 0), (-0.99, -0.2, 0, 0.3, 0.77)),
  'shear_y': (lambda image, m: _moved(image, 1, 0, 0, m, 1, 0), (-0.99, -0.2, 0, 0.3, 0.77)),
  'translate_x': (lambda image, m: _moved(image, 1, 0, -int(m), 0, 1, 0), (-31.9, -3, 0, 7.7, 400)),
  'translate_y': (lambda image, m: _moved(image, 1, 0, 0, 0, 1, -int(m)), (-31.9, -3, 0, 7.7, 400)),
  'rotate': (lambda image, m: image.rotate(m), (-135, -90, -13.5, 0, 4.5, 30, 45, 90, 121.5)),
  'brightness': (lambda image, m: ImageEnhance.Brightness(image).enhance(m), (0, 0.33, 1, 1.99)),
  'color': (lambda image, m: ImageEnhance.Color(image).enhance(m), (0, 0.33, 1, 1.99)),
  'contrast': (lambda image, m: ImageEnhance.Contrast(image).enhance(m), (0, 0.33, 1, 1.99)),
  'sharpness': (lambda image, m: ImageEnhance.Sharpness(image).enhance(m), (0, 0.33, 1, 1.99)),
  'posterize': (ImageOps.posterize, range(1, 9)),
  'solarize': (ImageOps.solarize, (0, 8.5, 127, 127.5, 255, 256)),
  'invert': (lambda image, m: ImageOps.invert(image), (0,)),
  'autocontrast': (lambda image, m: ImageOps.autocontrast(image), (0,)),
  'equalize': (lambda image, m: ImageOps.equalize(image), (0,)),
}


def _images(photo):
  """Colour and grey images: a photo, a dark part of it, noise, one colour, two values, one row."""
  noise = np.random.default_rng(0).integers(0, 256, [40, 40, 3], np.uint8)
  photos = [photo, photo // 5 + 40, noise, np.full([8, 8, 3], 77, np.uint8),
            np.where(noise > 100, 3, 200).astype(np.uint8), photo[:1], photo[:2, :5]]
  return [*photos, *(image[:, :, :1] for image in photos)]


@pytest.mark.parametrize('name', _CASES)
def test_pixels_are_those_of_pillow(photo, name):
  expected_of, magnitudes = _CASES[name]
  function = tf.function(getattr(pixel_ops, name), autograph=False)
  for image in _images(photo):
    pillow = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
    for magnitude in magnitudes:
      if name == 'rotate' and magnitude in (-90, 90) and pillow.width != pillow.height:
        continue  # Pillow turns such images in another way.
      magnitude = np.float32(magnitude)
      found = function(tf.constant(image, tf.int32), tf.constant(magnitude)).numpy()
      argument = int(magnitude) if name == 'posterize' else float(magnitude)
      expected = np.asarray(expected_of(pillow, argument)).reshape(image.shape)
      np.testing.assert_array_equal(found, expected, err_msg=f'{name} {magnitude} {image.shape}')
