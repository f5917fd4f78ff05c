"""Small pictures: what Pillow reads and how."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from slim_zoo.report import duplicates, images, pictures


def _file(pixels, kind='PNG', **options) -> bytes:
  buffer = io.BytesIO()
  PIL.Image.fromarray(pixels).save(buffer, kind, **options)
  return buffer.getvalue()


def _read(file, side=4) -> np.ndarray:
  return np.asarray(images.open_small(file, side))


@pytest.fixture
def shapes():
  """Two files whose shapes are in the alpha channel alone, uint8 [64, 64, 4]."""
  files = []
  for rows in (slice(5, 20), slice(40, 60)):
    pixels = np.zeros([64, 64, 4], np.uint8)
    pixels[rows, 10:50, 3] = 255
    files.append(_file(pixels))
  return files


def test_transparency_is_white(shapes):
  pixels = _read(shapes[0])
  assert pixels[0, 0].tolist() == [255] * 3 and pixels[10, 20].tolist() == [0] * 3
  assert duplicates.hash_of(shapes[0]) != duplicates.hash_of(shapes[1])


def test_sixteen_bits_lose_their_low_byte():
  values = np.array([[0, 257, 300, 65535]], np.uint16)
  assert _read(_file(values))[0, :, 0].tolist() == [0, 1, 1, 255]


def test_orientation():
  pixels = np.zeros([16, 32, 3], np.uint8)
  pixels[:, :16] = 255
  exif = PIL.Image.new('RGB', (1, 1)).getexif()
  exif[0x0112] = 6
  found = _read(_file(pixels, 'JPEG', exif=exif, quality=95), side=32)
  assert found.shape == (32, 16, 3)
  assert found[:14].min() > 200 and found[18:].max() < 50


def test_large_photos_are_decoded_small():
  pixels = np.full([400, 600, 3], 99, np.uint8)
  assert 100 <= min(_read(_file(pixels, 'JPEG'), side=100).shape[:2]) <= 200
  assert pictures.thumbnail(_file(pixels, 'JPEG')).startswith('data:image/jpeg;base64,')


@pytest.mark.parametrize('content', [
  b'', b'no image', b'%!PS-Adobe-3.0 EPSF-3.0\n', b'II*\0\x08\0\0\0',
  _file(np.zeros([9, 9, 3], np.uint8))[:-30]])
def test_other_files_are_no_pictures(content):
  assert images.open_small(content, 4) is None
  assert pictures.thumbnail(content) is None and duplicates.hash_of(content) is None
