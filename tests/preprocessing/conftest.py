"""References shared by the tests of several recipes."""

import io

import numpy as np
import pytest
from PIL import Image


def _interpolate(image, height, width, offset):
  """Bilinear interpolation in NumPy; `offset` is 0 (TensorFlow 1) or 0.5 (pixel centres)."""
  image = np.asarray(image, np.float64)

  def positions(size, in_size):
    at = np.maximum((np.arange(size) + offset) * (in_size / size) - offset, 0)
    low = np.minimum(np.floor(at).astype(int), in_size - 1)
    return low, np.minimum(low + 1, in_size - 1), at - low

  top, bottom, dy = positions(height, image.shape[0])
  left, right, dx = positions(width, image.shape[1])
  dy, dx = dy[:, None, None], dx[None, :, None]
  upper = image[top][:, left] * (1 - dx) + image[top][:, right] * dx
  lower = image[bottom][:, left] * (1 - dx) + image[bottom][:, right] * dx
  return upper * (1 - dy) + lower * dy


@pytest.fixture(scope='session')
def interpolate():
  return _interpolate


@pytest.fixture(scope='session')
def photo():
  """A smooth coloured image with some texture: uint8 [180, 250, 3]."""
  y, x = np.mgrid[:180, :250]
  waves = [127 + 90 * np.sin(y / a + x / b) for a, b in ((17, 29), (31, 11), (23, 41))]
  noise = np.random.default_rng(0).integers(-20, 21, (180, 250, 3))
  return (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='session')
def grey_of():
  """ITU-R 601 luma as `tf.image.rgb_to_grayscale` stores it, to one step of 255."""
  return lambda image: (image @ np.array([0.2989, 0.5870, 0.1140]))[..., None]


@pytest.fixture(scope='session')
def encode():
  def encode_image(image, file_format, **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, file_format, **options)
    return buffer.getvalue()
  return encode_image
