"""Checks before the decoders run: sizes claimed by headers, and files that are not images."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from datasets import bad_images
from preprocessing import checks, decoding
from scripts.fuzzing.image_parts import FORMATS, Part, join
from scripts.fuzzing.image_samples import PALETTE, RGB, encode, samples


def test_first_failed_check_is_reported():
  @tf.function(input_signature=[tf.TensorSpec([], tf.int32)])
  def checked(value):
    value = checks.after(value, checks.Check(value > 0, 'first {}', value),
                         checks.Check(value > 1, 'second {}', value))
    return 10 // (value - 1)  # Divides by zero unless the checks run before.

  assert checked(3) == 5
  for value, message in ((0, 'first 0'), (1, 'second 1')):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
      checked(value)


def test_largest_size():
  @tf.function(input_signature=[tf.TensorSpec([2], tf.int32)])
  def checked(shape):
    return checks.after(shape, checks.size(shape[0], shape[1]))

  for height, width in ((1, checks.MAX_PIXELS), (checks.MAX_PIXELS // 2, -2), (0, 2 ** 31 - 1)):
    checked([height, width])
  for height, width in ((1, checks.MAX_PIXELS + 1), (2 ** 31 - 1, 2 ** 31 - 1), (-2 ** 31, -1)):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f'{height} {width}'):
      checked([height, width])


def png(height, width):
  parts = FORMATS['png'].split(encode(RGB, 'PNG'))
  parts[0] = parts[0]._replace(body=struct.pack('>II', width, height) + parts[0].body[8:])
  return join('png', parts)


def jpeg(height, width):
  parts = FORMATS['jpeg'].split(encode(RGB, 'JPEG'))
  at = [part.kind for part in parts].index(b'\xff\xc0')
  body = parts[at].body
  parts[at] = Part(parts[at].kind, body[:1] + struct.pack('>HH', height, width) + body[5:])
  return join('jpeg', parts)


def gif(height, width):
  encoded = encode(PALETTE, 'GIF')
  return encoded[:6] + struct.pack('<HH', width, height) + encoded[10:]


def gif_picture(height, width):
  encoded = encode(PALETTE, 'GIF')
  at = encoded.index(b'\x2c\0\0\0\0' + struct.pack('<HH', *PALETTE.size))
  return encoded[:at + 5] + struct.pack('<HH', width, height) + encoded[at + 9:]


def gif_corner(height, width):
  """The picture's position makes the canvas this large."""
  encoded = encode(PALETTE, 'GIF')
  at = encoded.index(b'\x2c\0\0\0\0' + struct.pack('<HH', *PALETTE.size))
  corner = struct.pack('<HH', width - PALETTE.width, height - PALETTE.height)
  return encoded[:at + 1] + corner + encoded[at + 5:]


def bmp(height, width):
  encoded = encode(RGB, 'BMP')
  return encoded[:18] + struct.pack('<ii', width, height) + encoded[26:]


@pytest.mark.parametrize('make, height, width', [
    (png, 50_000, 50_000), (png, 2 ** 31 - 1, 2 ** 31 - 1), (jpeg, 65_000, 64_000),
    (jpeg, 13_378, 13_378), (gif, 65_535, 65_535), (gif_picture, 60_000, 60_001),
    (gif_corner, 65_000, 64_999), (bmp, 100_000, 100_001), (bmp, -2 ** 31, 3)])
def test_huge_sizes_are_an_error(make, height, width):
  encoded = tf.constant(make(height, width))
  shown = f'{height} {width}'
  for decode in (decoding.decode_image,
                 lambda file: decoding.crop(decoding.open_image(file), (0, 0, 1, 1))):
    with pytest.raises(tf.errors.InvalidArgumentError, match=shown) as caught:
      decode(encoded)
    assert shown in bad_images.short_reason(caught.value)


@pytest.mark.parametrize('beginning, name', [
    (b'', 'empty'), (b'\0' * 3000, 'zero'), (b'II*\0\x08\0\0\0', 'TIFF'),
    (b'MM\0*\0\0\0\x08', 'TIFF'),
    (b'II+\0', 'TIFF'), (b'\0\0\0\x18ftypheic\0\0\0\0', 'HEIC'), (b'\0\0\0\x1cftypavif', 'AVIF'),
    (b'\0\0\0\x1cftypmif1', 'HEIC'),
    (b'\0\0\0\x0cJXL \r\n\x87\n', 'JPEG XL'), (b'\0\0\0\x0cjP  \r\n\x87\n', 'JPEG 2000'),
    (b'PK\x03\x04\x14\0', 'archive'), (b'\x1f\x8b\x08\0', 'archive'),
    (b'7z\xbc\xaf\x27\x1c\0', 'archive'),
    (b'8BPS\0\1', 'Photoshop'), (b'%PDF-1.7\n%\xff\xff', 'PDF'),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'SVG'),
    (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- \xff -->\n<SVG>', 'SVG'),
    (b'\r\n <!DOCTYPE html>\n<html>', 'HTML'), (b'<html lang="en">', 'HTML'),
    (b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n', 'git lfs pull'),
    (b'<?xml version="1.0"?><note/>', 'unknown'), (b'<htmlx>', 'unknown'),
    (b'hello', 'unknown'), (b'\0' * 30 + b'x', 'unknown'),
    (b'RIFF\0\0\0\0WAVE', 'unknown')])
def test_other_file_formats_are_named(beginning, name):
  for encoded in (beginning, beginning and beginning + np.random.default_rng(0).bytes(5000)):
    if beginning[:3] == b'\0' * 3 and name == 'zero':
      encoded = beginning
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
      decoding.decode_image(tf.constant(encoded, tf.string))
    reason = bad_images.short_reason(caught.value)
    assert name in reason and 'PNG' in reason


@pytest.mark.parametrize('formats', [['JPEG'], ['PNG'], ['WebP', 'BMP'], ['GIF']])
def test_only_the_given_formats_are_decoded(formats):
  png, jpeg = tf.io.encode_png(np.full([2, 3, 3], 9, np.uint8)), tf.io.encode_jpeg(
    np.full([2, 3, 3], 9, np.uint8))
  for name, encoded in (('PNG', png), ('JPEG', jpeg)):
    for decode in (decoding.decode_image, lambda file, formats: decoding.crop(
        decoding.open_image(file, formats=formats), (0, 0, 2, 3))):
      if name in formats:
        np.testing.assert_array_equal(decode(encoded, formats=formats),
                                      decoding.decode_image(encoded))
        continue
      with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        decode(encoded, formats=formats)
      reason = bad_images.short_reason(caught.value)
      assert f'Received a {name} file' in reason and formats[0] in reason.split('Received')[0]


def test_large_transparent_image_is_composited_like_a_small_one():
  """Compositing in blocks, which saves memory, gives the same values."""
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (2103, 2000, 4), np.uint8)
  encoded = tf.io.encode_png(pixels, compression=1)
  whole = decoding.decode_image(encoded)
  for rows in (slice(0, 100), slice(2000, 2103)):
    part = decoding.decode_image(tf.io.encode_png(pixels[rows], compression=1))
    np.testing.assert_array_equal(whole[rows], part)


def test_bmp_with_too_many_colours():
  encoded = bytearray(samples('bmp')['8 bits'])
  encoded[46:50] = (300).to_bytes(4, 'little')
  palette = bytes(4 * 44)
  encoded[10:14] = (int.from_bytes(encoded[10:14], 'little') + len(palette)).to_bytes(4, 'little')
  longer = bytes(encoded[:54 + 1024]) + palette + bytes(encoded[54 + 1024:])
  np.testing.assert_array_equal(decoding.decode_image(tf.constant(longer)),
                                decoding.decode_image(tf.constant(samples('bmp')['8 bits'])))
