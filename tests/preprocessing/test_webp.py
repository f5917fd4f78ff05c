"""The first frame of animated WebP files, and sizes claimed by headers."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from preprocessing import decoding
from scripts.fuzzing.image_parts import FORMATS, Part, join, riff, riff_chunk
from scripts.fuzzing.image_samples import RGB, RGBA, animated_webp, encode

FRAMES = {'save_all': True, 'append_images': [RGB.rotate(180)], 'duration': 50}


def shown(encoded):
  image = Image.open(io.BytesIO(encoded)).convert('RGBA')
  page = Image.new('RGBA', image.size, 'white')
  page.alpha_composite(image)
  return np.asarray(page.convert('RGB'))


def flags(encoded):
  return FORMATS['webp'].split(encoded)[0].body[0]


@pytest.mark.parametrize('size', [(2, 3), (37, 22), (64, 64), (120, 90), (333, 257)])
@pytest.mark.parametrize('lossless', [False, True])
def test_animation_without_transparency(size, lossless):
  image = RGB.resize(size)
  frames = {**FRAMES, 'append_images': [image.rotate(180)]}
  encoded = bytearray(encode(image, 'WEBP', lossless=lossless, **frames))
  encoded[20] &= ~0x10  # Pillow may find that the second frame leaves transparent pixels.
  encoded = bytes(encoded)
  assert flags(encoded) & 0x12 == 0x02
  pixels = decoding.decode_image(tf.constant(encoded))
  np.testing.assert_array_equal(pixels, shown(encoded))
  opened = decoding.open_image(tf.constant(encoded), 1)
  np.testing.assert_array_equal(decoding.pixels_of(opened), tf.image.rgb_to_grayscale(pixels))


@pytest.mark.parametrize('lossless', [False, True])
def test_animation_with_transparency(lossless):
  encoded = encode(RGBA, 'WEBP', lossless=lossless, **FRAMES)
  assert flags(encoded) & 0x12 == 0x12
  np.testing.assert_array_equal(decoding.decode_image(tf.constant(encoded)), shown(encoded))


@pytest.mark.parametrize('announced', [0x02, 0x12])
@pytest.mark.parametrize('image', [RGB, RGBA], ids=['RGB', 'RGBA'])
def test_first_frame_smaller_than_its_canvas(image, announced):
  encoded = animated_webp(image, (51, 40), (6, 4), flags=announced, lossless=True)
  pixels = decoding.decode_image(tf.constant(encoded)).numpy()
  assert pixels.shape == (40, 51, 3)
  np.testing.assert_array_equal(pixels[4:4 + image.height, 6:6 + image.width],
                                shown(encode(image, 'WEBP', lossless=True)))
  pixels[4:4 + image.height, 6:6 + image.width] = 255
  assert pixels.min() == 255  # As outside the picture of a GIF.


@pytest.mark.parametrize('corner, canvas', [((0, 0), (36, 40)), ((0, 0), (40, 21)),
                                            ((20, 0), (40, 40)), ((0, 20), (40, 40))])
def test_frame_outside_its_canvas_is_an_error(corner, canvas):
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoding.decode_image(tf.constant(animated_webp(RGB, canvas, corner)))


@pytest.mark.parametrize('name', ['no picture', 'another chunk first', 'raw data', 'no RIFF'])
def test_other_chunks_are_an_error(name):
  parts = FORMATS['webp'].split(encode(RGB, 'WEBP', **FRAMES))
  encoded = {
      'no picture': join('webp', parts[:2]),
      'another chunk first': join('webp', [Part(b'ICCP', b'abcd'), *parts]),
      'raw data': riff(encode(RGB, 'WEBP')[20:]),
      'no RIFF': b'RIFX' + encode(RGB, 'WEBP')[4:]}[name]
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoding.decode_image(tf.constant(encoded))


def _u24(number):
  return number.to_bytes(3, 'little')


HUGE = {
    'VP8': (riff_chunk(b'VP8 ', b'\x10\0\0\x9d\x01\x2a' + (16383).to_bytes(2, 'little')
                       + (0x4000 | 16382).to_bytes(2, 'little') + bytes(40)), '16382 16383'),
    'VP8L': (riff_chunk(b'VP8L', b'\x2f' + (16382 | 16381 << 14 | 7 << 28).to_bytes(4, 'little')
                        + bytes(40)), '16382 16383'),
    'VP8X': (riff_chunk(b'VP8X', b'\2\0\0\0' + _u24(16382) + _u24(16381)) + riff_chunk(
        b'ANIM', bytes(6)), '16382 16383'),
}


@pytest.mark.parametrize('name', HUGE)
def test_huge_sizes_are_an_error(name):
  chunks, size = HUGE[name]
  with pytest.raises(tf.errors.InvalidArgumentError, match=size):
    decoding.decode_image(tf.constant(riff(chunks)))
