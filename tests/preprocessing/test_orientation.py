"""Orientation from Exif data, checked against Pillow; more on JPEG's is in test_decoding.py."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from preprocessing import decoding
from scripts.fuzzing.image_parts import FORMATS, Part, join, png_chunk
from scripts.fuzzing.image_samples import RGB, RGBA, encode, exif, exif_text, with_exif_after

PNG = encode(RGB, 'PNG')
WEBP = encode(RGB, 'WEBP', lossless=True, exif=exif(1))
ORDERS = {'<': 'little-endian', '>': 'big-endian'}


def with_text(data):
  return PNG[:33] + exif_text(data) + PNG[33:]


WRITERS = {
    'jpeg': lambda data: encode(RGB, 'JPEG', exif=b'Exif\0\0' + data),
    'png': lambda data: encode(RGB, 'PNG', exif=data),
    'png alpha': lambda data: encode(RGBA, 'PNG', exif=data),
    'png palette': lambda data: encode(RGB.quantize(16), 'PNG', exif=data),
    'png after the picture': lambda data: with_exif_after(PNG, data),
    'png as text': with_text,
    'webp': lambda data: encode(RGB, 'WEBP', lossless=True, exif=data),
    'webp with prefix': lambda data: encode(RGB, 'WEBP', lossless=True, exif=b'Exif\0\0' + data),
    'webp lossy alpha': lambda data: encode(RGBA, 'WEBP', exif=data),
    'webp animated': lambda data: encode(RGB, 'WEBP', lossless=True, exif=data, save_all=True,
                                         append_images=[RGB.rotate(180)]),
}


def shown(encoded):
  """An image file on a white background, decoded by Pillow: int [height, width, 3]."""
  image = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded))).convert('RGBA')
  page = Image.new('RGBA', image.size, 'white')
  page.alpha_composite(image)
  return np.asarray(page.convert('RGB')).astype(int)


@pytest.mark.parametrize('order', ORDERS, ids=ORDERS.values())
@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('name', WRITERS)
def test_rotates_like_pillow(name, orientation, order):
  encoded = WRITERS[name](exif(orientation, order))
  expected = shown(encoded)
  assert (expected.shape[0] > expected.shape[1]) == (orientation >= 5)
  pixels = decoding.decode_image(tf.constant(encoded))
  assert pixels.shape == expected.shape
  np.testing.assert_allclose(pixels, expected, rtol=0, atol=8 if name == 'jpeg' else 0)
  image = decoding.open_image(tf.constant(encoded))
  assert [int(size) for size in decoding.shape_of(image)] == [*expected.shape[:2]]
  np.testing.assert_array_equal(decoding.pixels_of(image), pixels)
  np.testing.assert_array_equal(decoding.crop(image, (3, 5, 7, 9)), pixels[3:10, 5:14])


def test_rotates_in_an_exported_model(tmp_path):
  module = tf.Module()
  module.decode = tf.function(decoding.decode_image, input_signature=[tf.TensorSpec([], tf.string)])
  tf.saved_model.save(module, str(tmp_path))
  loaded = tf.saved_model.load(str(tmp_path))
  for name in ('png', 'png as text', 'webp', 'webp animated'):
    encoded = WRITERS[name](exif(6))
    np.testing.assert_array_equal(loaded.decode(tf.constant(encoded)), shown(encoded), name)


def changed_webp(kinds_and_bodies, flags=None):
  """A WebP with these chunks after its picture, and optionally other flags in its header."""
  parts = FORMATS['webp'].split(WEBP)[:-1]
  if flags is not None:
    parts[0] = parts[0]._replace(body=bytes([flags]) + parts[0].body[1:])
  return join('webp', [*parts, *(Part(*pair) for pair in kinds_and_bodies)])


def text_chunk(text, keyword=b'Raw profile type exif'):
  return PNG[:33] + png_chunk(b'tEXt', keyword + b'\0' + text) + PNG[33:]


DIGITS = (b'Exif\0\0' + exif(6)).hex().encode()
END = PNG[-12:]
ODD = {
    'png: eXIf before the text': (with_exif_after(with_text(exif(6)), exif(3)), 3),
    'png: name inside another chunk': (
        PNG[:33] + png_chunk(b'tEXt', b'Comment\0' + png_chunk(b'eXIf', exif(6))) + PNG[33:], 1),
    'png: empty': (with_exif_after(PNG, b''), 1),
    'png: cut in the entry': (with_exif_after(PNG, exif(6)[:15]), 1),
    'png: noise': (with_exif_after(PNG, np.random.default_rng(1).bytes(300)), 1),
    'png: longer than the file': (PNG[:-12] + png_chunk(b'eXIf', exif(6), 999) + END, None),
    'png: negative length': (PNG[:-12] + png_chunk(b'eXIf', exif(6), -5) + END, None),
    'png: cut behind the picture': (PNG[:-12] + b'\0\0\0\x1aeXI', None),
    'png: text with lines': (text_chunk(b'\nexif\n 32\n' + DIGITS[:30] + b'\n' + DIGITS[30:]), 6),
    'png: text with capitals': (text_chunk(b'\nexif\n 32\n' + DIGITS.upper()), 6),
    'png: text without digits': (text_chunk(b'\nexif\n 32\n'), 1),
    'png: text of other signs': (text_chunk(b'\nexif\n 32\nxyz\xff\xfe'), 1),
    'png: text without lines': (text_chunk(DIGITS), 1),
    'png: odd number of digits': (text_chunk(b'\nexif\n 32\n' + DIGITS + b'1'), 6),
    'png: text with another keyword': (text_chunk(b'\nexif\n 32\n' + DIGITS, b'Profile'), 1),
    'webp: first of two': (changed_webp([(b'EXIF', exif(6)), (b'EXIF', exif(3))]), 6),
    'webp: after another chunk of odd length': (
        changed_webp([(b'XMP ', b'<x/>!'), (b'EXIF', exif(8))]), 8),
    'webp: without the flag': (changed_webp([(b'EXIF', exif(6))], flags=0), 1),
    'webp: flag without the chunk': (changed_webp([]), 1),
    'webp: empty': (changed_webp([(b'EXIF', b'')]), 1),
    'webp: only the prefix': (changed_webp([(b'EXIF', b'Exif\0\0')]), 1),
    'webp: noise': (changed_webp([(b'EXIF', np.random.default_rng(2).bytes(300))]), 1),
    'webp: longer than the file': (
        changed_webp([]) + b'EXIF' + (10 ** 6).to_bytes(4, 'little') + exif(6), 1),
}


@pytest.mark.parametrize('name', ODD)
def test_odd_or_damaged_metadata(name):
  encoded, orientation = ODD[name]
  if orientation is None:  # The file is truncated.
    with pytest.raises(tf.errors.InvalidArgumentError):
      decoding.decode_image(tf.constant(encoded))
    return
  plain = Image.fromarray(np.asarray(RGB))
  plain.getexif()[0x112] = orientation
  np.testing.assert_array_equal(decoding.decode_image(tf.constant(encoded)),
                                np.asarray(ImageOps.exif_transpose(plain)))


@pytest.mark.parametrize('name', ['png', 'png as text', 'webp'])
def test_damaged_tags_are_ignored(name):
  """With damage only inside the tags, the image is unchanged or rotated."""
  whole, rng = exif(6), np.random.default_rng(2)
  for _ in range(40):
    data = bytearray(whole)
    for at in rng.integers(0, len(data), 3):
      data[at] = rng.integers(256)
    pixels = decoding.decode_image(tf.constant(WRITERS[name](bytes(data))))
    assert pixels.shape[0] * pixels.shape[1] == RGB.width * RGB.height
