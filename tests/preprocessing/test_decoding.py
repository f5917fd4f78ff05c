"""Decoding, checked against Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from preprocessing import decoding

HEIGHT, WIDTH = 37, 53
# TensorFlow's default inverse cosine transform is the fast one, Pillow's the exact one.
JPEG_TOLERANCE = 6
LUMA = np.array([0.2989, 0.5870, 0.1140])
RNG = np.random.default_rng(0)


def gradient(height=HEIGHT, width=WIDTH):
  y, x = np.mgrid[:height, :width]
  return np.stack([y * 6 % 256, x * 4 % 256, (x + 2 * y) % 256], axis=-1).astype(np.uint8)


RGB = Image.fromarray(gradient())
GREY = RGB.convert('L')
ALPHA = Image.fromarray(RNG.integers(0, 256, (HEIGHT, WIDTH), np.uint8))
RGBA = Image.merge('RGBA', [*RGB.split(), ALPHA])
PALETTE = RGB.quantize(16)
SIXTEEN_BITS = Image.fromarray((np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) * 33)
                               .astype(np.uint16))


def encode(image, file_format, **options):
  buffer = io.BytesIO()
  image.save(buffer, file_format, **options)
  return buffer.getvalue()


def shown(encoded):
  """An image file on a white background, decoded by Pillow: int [height, width, 3]."""
  image = Image.open(io.BytesIO(encoded))
  if image.mode.startswith('I;16'):
    image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
  image = ImageOps.exif_transpose(image).convert('RGBA')
  page = Image.new('RGBA', image.size, 'white')
  page.alpha_composite(image)
  return np.asarray(page.convert('RGB')).astype(int)


def jpeg_with_orientation(orientation, image=None, **options):
  exif = Image.Exif()
  exif[0x0112] = orientation
  return encode(image or RGB, 'JPEG', exif=exif, **options)


def gif_inside_canvas():
  """A GIF whose picture covers only part of the canvas: 8 x 6 at (3, 2) of 16 x 12."""
  encoded = encode(Image.fromarray(gradient(6, 8)).quantize(16), 'GIF')
  at = encoded.index(b'\x2c\0\0\0\0' + struct.pack('<HH', 8, 6))
  return (encoded[:6] + struct.pack('<HH', 16, 12) + encoded[10:at + 1] + struct.pack('<HH', 3, 2) +
          encoded[at + 5:])


def bmp_with_alpha():
  """A 32-bit BMP whose header (version 4) announces alpha."""
  pixels = np.asarray(RGBA)[::-1, :, [2, 1, 0, 3]].tobytes()
  header = struct.pack('<IiiHHIIiiII', 108, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
  header += struct.pack('<4I', 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b'BGRs' + b'\0' * 48
  return struct.pack('<2sIHHI', b'BM', 122 + len(pixels), 0, 0, 122) + header + pixels


def top_down_bmp(image):
  """A top-down BMP (negative height), which Pillow reads but does not write."""
  encoded = bytearray(encode(ImageOps.flip(image), 'BMP'))
  encoded[22:26] = struct.pack('<i', -image.height)
  return bytes(encoded)


def four_bit_bmp():
  indices = np.asarray(PALETTE)
  packed = np.zeros((HEIGHT, -(-WIDTH // 8) * 4), np.uint8)
  padded = np.pad(indices, [(0, 0), (0, packed.shape[1] * 2 - WIDTH)])
  packed[:] = padded[::-1, ::2] << 4 | padded[::-1, 1::2]
  colours = np.asarray(PALETTE.getpalette()[:48], np.uint8).reshape(16, 3)[:, ::-1]
  palette = np.pad(colours, [(0, 0), (0, 1)]).tobytes()
  header = struct.pack('<IiiHHIIiiII', 40, WIDTH, HEIGHT, 1, 4, 0, packed.size, 0, 0, 16, 0)
  offset = 14 + len(header) + len(palette)
  start = struct.pack('<2sIHHI', b'BM', offset + packed.size, 0, 0, offset)
  return start + header + palette + packed.tobytes()


def raw_png(depth, colour_type, *, transparent=None):
  """A random PNG of a kind that Pillow does not write; 5 rows of 16 bytes."""
  def chunk(kind, data):
    return (struct.pack('>I', len(data)) + kind + data +
            struct.pack('>I', zlib.crc32(kind + data)))

  samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
  width = 16 * 8 // (depth * samples)
  rows = RNG.integers(0, 256, (5, depth * samples * width // 8), np.uint8)
  header = struct.pack('>IIBBBBB', width, 5, depth, colour_type, 0, 0, 0)
  key = b'' if transparent is None else chunk(b'tRNS', struct.pack('>H', transparent))
  data = zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows))
  return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + key + chunk(b'IDAT', data) +
          chunk(b'IEND', b''))


EXACT = {
    'png': encode(RGB, 'PNG'),
    'png grey': encode(GREY, 'PNG'),
    'png 1 bit': encode(GREY.convert('1'), 'PNG'),
    'png 2 bits': raw_png(2, 0),
    'png 4 bits': raw_png(4, 0),
    'png 1 bit with transparent grey': encode(GREY.convert('1'), 'PNG', transparency=0),
    'png alpha': encode(RGBA, 'PNG'),
    'png grey and alpha': encode(Image.merge('LA', [GREY, ALPHA]), 'PNG'),
    'png all transparent': encode(Image.new('RGBA', (5, 4), (9, 8, 7, 0)), 'PNG'),
    'png palette': encode(PALETTE, 'PNG'),
    'png palette with transparent colour': encode(PALETTE, 'PNG', transparency=3),
    'png palette with alphas': encode(PALETTE, 'PNG', transparency=bytes(range(0, 256, 16))),
    'png with transparent colour': encode(RGB, 'PNG', transparency=RGB.getpixel((20, 10))),
    'png grey with transparent value': encode(GREY, 'PNG', transparency=GREY.getpixel((9, 9))),
    'png 16 bits': encode(SIXTEEN_BITS, 'PNG'),
    'png 16 bits colour': raw_png(16, 2),
    'png 16 bits alpha': raw_png(16, 6),
    'png palette of 2 bits': encode(RGB.quantize(4), 'PNG', bits=2),
    'png palette of 8 bits': encode(RGB.quantize(200), 'PNG'),
    'gif': encode(RGB, 'GIF'),
    'gif grey': encode(GREY, 'GIF'),
    'gif animated': encode(RGB, 'GIF', save_all=True, append_images=[RGB.rotate(180), GREY]),
    'gif transparent': encode(PALETTE, 'GIF', transparency=3),
    'gif transparent animated': encode(PALETTE, 'GIF', transparency=5, save_all=True,
                                       append_images=[PALETTE.rotate(180)]),
    'gif with comment': encode(PALETTE, 'GIF', comment=b'c' * 700, transparency=2),
    'bmp': encode(RGB, 'BMP'),
    'bmp from the top': top_down_bmp(RGB),
    'bmp with bytes after it': encode(RGB, 'BMP') + b'\0\0',
    'bmp grey': encode(GREY, 'BMP'),
    'bmp palette': encode(PALETTE, 'BMP'),
    'bmp palette from the top': top_down_bmp(PALETTE),
    'bmp 1 bit': encode(GREY.convert('1'), 'BMP'),
    'bmp 4 bits': four_bit_bmp(),
    'bmp 32 bits': encode(RGBA, 'BMP'),
    'bmp alpha': bmp_with_alpha(),
    'webp': encode(RGB, 'WEBP'),
    'webp lossless': encode(RGB, 'WEBP', lossless=True),
    'webp alpha': encode(RGBA, 'WEBP', lossless=True),
    'webp lossy alpha': encode(RGBA, 'WEBP'),
    'webp animated': encode(RGB, 'WEBP', lossless=True, save_all=True,
                            append_images=[RGB.rotate(180)]),
}
CMYK = Image.merge('CMYK', [*RGB.split(), GREY.point(lambda value: value // 3)])
JPEGS = {
    'jpeg': encode(RGB, 'JPEG'),
    'jpeg 4:4:4': encode(RGB, 'JPEG', subsampling=0),
    'jpeg 4:2:2': encode(RGB, 'JPEG', subsampling=1),
    'jpeg progressive': encode(RGB, 'JPEG', progressive=True),
    'jpeg restarts': encode(RGB, 'JPEG', restart_marker_blocks=2),
    'jpeg grey': encode(GREY, 'JPEG'),
    'jpeg cmyk': encode(CMYK, 'JPEG', quality=95),
    'jpeg rgb': encode(RGB, 'JPEG', keep_rgb=True),
    **{f'jpeg orientation {i}': jpeg_with_orientation(i) for i in range(1, 9)},
    'jpeg grey orientation 6': jpeg_with_orientation(6, GREY),
}


def as_file(encoded):
  return tf.constant(encoded, tf.string)


@pytest.mark.parametrize('name', [*EXACT, *JPEGS])
@pytest.mark.parametrize('channels', [3, 1])
def test_decodes_like_pillow(name, channels):
  encoded = {**EXACT, **JPEGS}[name]
  expected = shown(encoded)
  if channels == 1:
    expected = (expected @ LUMA)[..., None]
  pixels = decoding.decode_image(as_file(encoded), channels)
  assert pixels.dtype == tf.uint8
  assert pixels.shape == expected.shape
  tolerance = (0 if name in EXACT else JPEG_TOLERANCE) + (1 if channels == 1 else 0)
  np.testing.assert_allclose(pixels, expected, atol=tolerance, rtol=0)


def test_transparent_low_bit_grey():
  # The specification compares the stored value; Pillow compares it after spreading.
  encoded = raw_png(2, 0, transparent=1)
  stored = np.asarray(Image.open(io.BytesIO(encoded)).convert('L')) // 85
  expected = np.where(stored == 1, 255, stored * 85)
  np.testing.assert_array_equal(decoding.decode_image(as_file(encoded))[..., 0], expected)


def test_gif_canvas_outside_the_picture_is_white():
  pixels = decoding.decode_image(as_file(gif_inside_canvas())).numpy()
  assert pixels.shape == (12, 16, 3)
  whole = Image.fromarray(gradient(6, 8)).quantize(16).convert('RGB')
  np.testing.assert_array_equal(pixels[2:8, 3:11], np.asarray(whole))
  pixels[2:8, 3:11] = 255
  assert pixels.min() == 255


@pytest.mark.parametrize('file_format', ['PNG', 'BMP', 'GIF'])
def test_grey_files_keep_their_values(file_format):
  values = np.arange(256, dtype=np.uint8).reshape(16, 16)
  encoded = encode(Image.fromarray(values), file_format)
  np.testing.assert_array_equal(decoding.decode_image(as_file(encoded), 1)[..., 0], values)


def test_grey_is_tensorflows_luma():
  expected = tf.image.rgb_to_grayscale(gradient())
  pixels = decoding.decode_image(as_file(EXACT['png']), 1)
  np.testing.assert_array_equal(pixels, expected)


# --- Exif ---------------------------------------------------------------------------------------


def exif_segment(payload):
  return b'\xff\xe1' + struct.pack('>H', len(payload) + 8) + b'Exif\0\0' + payload


def directory(*entries, order='<', magic=b'II*\0', count=None):
  body = b''.join(struct.pack(order + 'HHI', *entry[:3]) + entry[3] for entry in entries)
  count = len(entries) if count is None else count
  return magic + struct.pack(order + 'IH', 8, count) + body + b'\0' * 4


def short(value, order='<'):
  return struct.pack(order + 'HH', value, 0)


PLAIN = encode(RGB, 'JPEG')
APP0_END = 20  # SOI and JFIF's segment


@pytest.mark.parametrize('name, segments, expected', [
    ('little-endian', exif_segment(directory((0x112, 3, 1, short(6)))), 6),
    ('big-endian', exif_segment(directory((0x112, 3, 1, short(8, '>')), order='>',
                                          magic=b'MM\0*')), 8),
    ('not the first entry', exif_segment(directory((0x10f, 2, 4, b'abc\0'),
                                                   (0x112, 3, 1, short(3)))), 3),
    ('after other segments', b'\xff\xfe\0\x05abc' + b'\xff\xff\xff\xed\0\x06abcd' +
     exif_segment(directory((0x112, 3, 1, short(5)))), 5),
    ('after XMP', b'\xff\xe1\0\x0ahttp://\0' + exif_segment(directory((0x112, 3, 1, short(7)))), 7),
    ('name inside a comment', b'\xff\xfe\0\x0aExif\0\0ab', 1),
    ('value 0', exif_segment(directory((0x112, 3, 1, short(0)))), 1),
    ('value 9', exif_segment(directory((0x112, 3, 1, short(9)))), 1),
    ('no such tag', exif_segment(directory((0x111, 3, 1, short(6)))), 1),
    ('wrong type', exif_segment(directory((0x112, 2, 1, short(6)))), 1),
    ('wrong order mark', exif_segment(directory((0x112, 3, 1, short(6)), magic=b'XX*\0')), 1),
    ('count too large', exif_segment(directory((0x112, 3, 1, short(6)), count=60000)), 6),
    ('directory outside', exif_segment(b'II*\0' + struct.pack('<I', 5000) + b'\0' * 20), 1),
    ('directory at a huge offset', exif_segment(b'II*\0\xff\xff\xff\xff' + b'\0' * 20), 1),
    ('directory in the header', exif_segment(b'II*\0\0\0\0\0' + b'\0' * 20), 1),
    ('empty', exif_segment(b''), 1),
    ('cut in its header', exif_segment(b'II*\0'), 1),
    ('cut in the entry', exif_segment(directory((0x112, 3, 1, short(6)))[:15]), 1),
    ('noise', exif_segment(np.random.default_rng(1).bytes(500)), 1),
])
def test_orientation_of_exif(name, segments, expected):
  encoded = PLAIN[:APP0_END] + segments + PLAIN[APP0_END:]
  plain = Image.fromarray(decoding.decode_image(as_file(PLAIN)).numpy())
  exif = Image.Exif()
  exif[0x0112] = expected
  plain.getexif()[0x0112] = expected
  np.testing.assert_array_equal(decoding.decode_image(as_file(encoded)),
                                np.asarray(ImageOps.exif_transpose(plain)))


def test_damaged_exif_is_ignored():
  encoded = jpeg_with_orientation(6)
  start = encoded.index(b'Exif')
  whole = decoding.decode_image(as_file(PLAIN)).numpy().size
  rng = np.random.default_rng(2)
  for _ in range(60):
    damaged = bytearray(encoded)
    for at in rng.integers(start + 6, start + 32, 3):
      damaged[at] = rng.integers(256)
    assert decoding.decode_image(as_file(bytes(damaged))).numpy().size == whole


# --- Crops --------------------------------------------------------------------------------------


BIG = Image.fromarray(np.concatenate([
    gradient(70, 141), RNG.integers(0, 256, (63, 141, 3), np.uint8)]))
CROPPED = {
    **{f'jpeg {name} subsampling {i}': encode(BIG, 'JPEG', subsampling=i, **options)
       for i in range(3) for name, options in {
           'baseline': {}, 'progressive': {'progressive': True},
           'restarts': {'restart_marker_blocks': 3}}.items()},
    'jpeg grey': encode(BIG.convert('L'), 'JPEG'),
    'jpeg cmyk': encode(BIG.convert('CMYK'), 'JPEG'),
    **{f'jpeg orientation {i}': jpeg_with_orientation(i, BIG) for i in range(2, 9)},
    'png': encode(BIG, 'PNG'), 'gif': encode(BIG, 'GIF'), 'webp': encode(BIG, 'WEBP'),
}


@tf.function(reduce_retracing=True)
def crops(encoded, boxes, channels):
  image = decoding.open_image(encoded, channels)
  full = decoding.decode_image(encoded, channels)
  equal = tf.map_fn(lambda box: tf.reduce_all(
      decoding.crop(image, tf.unstack(box)) ==
      full[box[0]:box[0] + box[2], box[1]:box[1] + box[3]]), boxes, fn_output_signature=tf.bool)
  return tf.stack(decoding.shape_of(image)), tf.shape(full), equal


@pytest.mark.parametrize('name', CROPPED)
def test_crop_equals_crop_of_whole(name):
  encoded = as_file(CROPPED[name])
  height, width, _ = shown(CROPPED[name]).shape
  rng = np.random.default_rng(3)
  boxes = [[0, 0, height, width], [0, 0, 1, 1], [height - 1, width - 1, 1, 1]]
  for _ in range(40):
    y, x = rng.integers(height), rng.integers(width)
    boxes.append([y, x, rng.integers(1, height - y + 1), rng.integers(1, width - x + 1)])
  shape, full_shape, equal = crops(encoded, tf.constant(boxes, tf.int32), 3)
  assert shape.numpy().tolist() == [height, width]
  assert full_shape.numpy().tolist() == [height, width, 3]
  assert equal.numpy().all()


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('name', ['jpeg', 'png'])
def test_whole_of_an_opened_image(name, channels):
  encoded = as_file({**EXACT, **JPEGS}[name])
  full = decoding.decode_image(encoded, channels)
  opened = decoding.open_image(encoded, channels)
  np.testing.assert_array_equal(decoding.pixels_of(opened), full)
  np.testing.assert_array_equal(decoding.crop(opened, (2, 3, 4, 5)), full[2:6, 3:8])
  of_pixels = decoding.open_image(decoding.decode_image(encoded), channels)
  np.testing.assert_array_equal(decoding.pixels_of(of_pixels), full)
  np.testing.assert_array_equal(decoding.crop(of_pixels, (2, 3, 4, 5)), full[2:6, 3:8])


@pytest.mark.parametrize('box', [(-1, 0, 5, 5), (0, -1, 5, 5), (35, 0, 5, 5), (0, 50, 5, 5)])
@pytest.mark.parametrize('name', ['jpeg', 'jpeg orientation 8', 'png'])
def test_crop_outside_is_an_error(name, box):
  if name == 'jpeg orientation 8':
    box = (box[1], box[0], *box[2:])
  opened = decoding.open_image(as_file({**EXACT, **JPEGS}[name]))
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoding.crop(opened, box)


@pytest.mark.parametrize('given', [1, 2, 3, 4])
@pytest.mark.parametrize('channels', [1, 3])
def test_pixels_of_any_channels(given, channels):
  mode = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}[given]
  pixels = np.asarray(RGBA.convert(mode)).reshape(HEIGHT, WIDTH, given)
  expected = shown(encode(RGBA.convert(mode), 'PNG'))
  if channels == 1:
    expected = (expected @ LUMA)[..., None]
  result = decoding.open_image(tf.constant(pixels), channels)
  np.testing.assert_allclose(result, expected, atol=channels == 1)


# --- Damaged files ------------------------------------------------------------------------------


@pytest.mark.parametrize('name', [
    'jpeg', 'jpeg grey', 'jpeg cmyk', 'jpeg progressive', 'jpeg orientation 6', 'png',
    'png palette', 'png 16 bits', 'gif', 'gif animated', 'gif transparent', 'bmp',
    'bmp palette', 'bmp 1 bit', 'bmp alpha', 'webp', 'webp lossless', 'webp animated'])
def test_truncated_file_is_an_error(name):
  encoded = {**EXACT, **JPEGS}[name]
  size = len(encoded)
  cuts = [0, 1, 2, 3, 4, 9, 13, 20, 30, 54, *range(size // 8, size - 2, size // 8), size - 2]
  for cut in cuts:
    with pytest.raises(tf.errors.InvalidArgumentError):
      decoding.decode_image(as_file(encoded[:cut]))


@pytest.mark.parametrize('name', [*EXACT, *JPEGS])
def test_file_without_its_last_byte_is_complete_or_an_error(name):
  encoded = {**EXACT, **JPEGS}[name]
  try:
    pixels = decoding.decode_image(as_file(encoded[:-1]))
  except tf.errors.InvalidArgumentError:
    return
  np.testing.assert_array_equal(pixels, decoding.decode_image(as_file(encoded)))


@pytest.mark.parametrize('encoded', [
    b'', b'\0' * 100, b'not an image' * 20, b'<svg></svg>', b'\xff\xd8\xff', b'\xff\xd8\xff' * 50,
    b'\x89PNG\r\n\x1a\n' + b'\0' * 60, b'GIF89a' + b'\0' * 60, b'BM' + b'\0' * 100,
    b'BM' + b'\xff' * 100, b'RIFF\0\0\0\0WEBP' + b'\0' * 60])
def test_other_files_are_an_error(encoded):
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoding.decode_image(as_file(encoded))
  with pytest.raises(tf.errors.InvalidArgumentError):
    decoding.crop(decoding.open_image(as_file(encoded)), (0, 0, 1, 1))


@pytest.mark.parametrize('at, value, message', [
    (28, 16, r'\b16\b'), (30, 1, r'ompression\D*\b1\b')])
def test_unsupported_bmp_is_an_error(at, value, message):
  encoded = bytearray(EXACT['bmp'])
  encoded[at] = value
  with pytest.raises(tf.errors.InvalidArgumentError, match=message):
    decoding.decode_image(as_file(bytes(encoded)))


def test_wrong_arguments():
  with pytest.raises(ValueError, match='channels'):
    decoding.decode_image(as_file(PLAIN), 4)
  with pytest.raises(ValueError, match='string'):
    decoding.decode_image(tf.constant([PLAIN]))
  with pytest.raises(ValueError, match='string'):
    decoding.decode_image(tf.zeros([4, 4, 3], tf.uint8))
  with pytest.raises(ValueError, match='1 to 4'):
    decoding.open_image(tf.zeros([4, 4, 3]))
  with pytest.raises(ValueError, match='1 to 4'):
    decoding.open_image(tf.zeros([4, 4, 5], tf.uint8))


# --- In tf.data ---------------------------------------------------------------------------------


def test_dataset_equals_eager_decoding():
  files = {**EXACT, **JPEGS}
  images = (tf.data.Dataset.from_tensor_slices(list(files.values()))
            .map(decoding.decode_image, num_parallel_calls=2))
  assert images.element_spec == tf.TensorSpec([None, None, 3], tf.uint8)
  for name, pixels in zip(files, images, strict=True):
    np.testing.assert_array_equal(pixels, decoding.decode_image(as_file(files[name])), name)


def test_can_be_exported_with_a_model(tmp_path):
  module = tf.Module()
  module.decode = tf.function(decoding.decode_image, input_signature=[tf.TensorSpec([], tf.string)])
  tf.saved_model.save(module, str(tmp_path))
  encoded = as_file(JPEGS['jpeg orientation 6'])
  np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path)).decode(encoded),
                                decoding.decode_image(encoded))
