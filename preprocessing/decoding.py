"""Decoding of image files: whole, or only the part that a recipe uses.

`decode_image` decodes a whole file. A recipe that crops first calls `open_image`, `shape_of` and
`crop`, which decodes only the necessary part of a JPEG.

Everything is TensorFlow ops, so that it runs in `tf.data` and can be exported with a model.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from preprocessing import bmp, checks, exif, file_formats, gif, png, tracing, webp

# Chroma of a subsampled JPEG is interpolated from the neighbouring block. The kernel that decodes a
# part does not decode the block next to the part, so that its outermost columns differ by up to 77
# of 255 (measured). With this many additional columns, a crop equals the same part of the whole
# image; no additional rows are needed.
_CROP_MARGIN = 16

# Number of pixels that are composited at once; each takes 50 bytes of memory.
_BLOCK = 1 << 22


class EncodedImage(NamedTuple):
  """An opened image file; a JPEG is not decoded yet.

  Attributes:
    encoded: scalar string, the file.
    is_jpeg: scalar bool.
    orientation: int32 scalar in [1, 8], the Exif orientation of a JPEG; 1 for other files.
    height, width: int32 scalars, the size of the oriented image.
    pixels: uint8 [height, width, 3], oriented; [0, 0, 3] for a JPEG.
    channels: 1 or 3, channels of the crops.
    dct_method: see `open_image`.
  """
  encoded: tf.Tensor
  is_jpeg: tf.Tensor
  orientation: tf.Tensor
  height: tf.Tensor
  width: tf.Tensor
  pixels: tf.Tensor
  channels: int
  dct_method: str


def decode_image(encoded, channels=3, *, dct_method='', formats=file_formats.ALL):
  """Decodes a whole image file.

  JPEG (grey, colour, CMYK and YCCK), PNG (any colour type; 16-bit values lose their low byte), GIF
  (first frame), BMP (uncompressed) and WebP (first frame). The orientation in the Exif data of a
  JPEG, PNG or WebP is applied. Transparency is composited over white. Colour profiles are ignored.

  Args:
    encoded: scalar string; an image file.
    channels: 3 for RGB, 1 for grey (ITU-R 601 luma; grey files keep their values).
    dct_method, formats: see `open_image`.

  Returns:
    uint8 [height, width, channels] in [0, 255].

  Raises:
    ValueError: if `channels` is neither 1 nor 3, or `encoded` is not a scalar string.
    tf.errors.InvalidArgumentError: (when run) if the file is not an image, truncated, or larger
      than `checks.MAX_PIXELS`. A file whose last bytes are missing may pass if all pixels can be
      read, such as a JPEG without its end marker.
  """
  return pixels_of(open_image(_check_encoded(encoded), channels, dct_method=dct_method,
                              formats=formats))


def open_image(image, channels=3, *, dct_method='', formats=file_formats.ALL):
  """Prepares an image for `shape_of` and `crop`.

  Args:
    image: scalar string, an image file; or uint8 [height, width, c] with static c in 1 to 4: grey,
      grey and alpha, RGB, RGBA; or an image that is already open.
    channels: 1 or 3.
    dct_method: how JPEGs are decoded: 'INTEGER_ACCURATE' gives the pixels of Pillow and OpenCV; ''
      is TensorFlow's default, which is faster and differs by up to 7 of 255 (measured on photos).
    formats: the formats that files may have, names in `file_formats.ALL`; others are refused. To
      trace the decoders of all takes seconds.

  Returns:
    `EncodedImage` for a file, uint8 [height, width, channels] for pixels.

  Raises:
    ValueError: if the image is none of these, or `channels` is neither 1 nor 3.
  """
  _check_channels(channels)
  if isinstance(image, EncodedImage):
    return image._replace(channels=channels, dct_method=dct_method)
  image = tf.convert_to_tensor(image)
  if image.dtype != tf.string:
    return to_channels(image, channels)
  encoded = _check_encoded(image)
  is_jpeg, orientation, height, width, pixels = _opener(frozenset(formats))(encoded)
  return EncodedImage(encoded, is_jpeg, orientation, height, width, pixels, channels,
                      dct_method)


def shape_of(image):
  """Size of an image from `open_image`, oriented: (height, width), int32 scalars."""
  if isinstance(image, EncodedImage):
    return image.height, image.width
  shape = tf.shape(image)
  return shape[0], shape[1]


def crop(image, box):
  """Crops an image; of a JPEG, only the necessary part is decoded.

  The pixels equal those of the same box of the whole image, bit for bit. A JPEG that is truncated
  below the box may pass; use `decode_image` to check a whole file.

  Args:
    image: from `open_image`.
    box: (y, x, height, width), int32 scalars; inside the oriented image.

  Returns:
    uint8 [height, width, channels].

  Raises:
    tf.errors.InvalidArgumentError: (when run) if the box is not inside the image, or the file is
      damaged.
  """
  y, x, height, width = box
  box = tuple(tf.cast(value, tf.int32) for value in (y, x, height, width))
  if not isinstance(image, EncodedImage):
    return _crop_pixels(image, box)
  rgb = tf.cond(image.is_jpeg, lambda: _crop_jpeg(image, box),
                lambda: _crop_pixels(image.pixels, box))
  rgb.set_shape([None, None, 3])
  return to_channels(rgb, image.channels)


def pixels_of(image):
  """All pixels of an image from `open_image`: uint8 [height, width, channels]."""
  if not isinstance(image, EncodedImage):
    return image
  rgb = tf.cond(
      image.is_jpeg,
      lambda: exif.orient(
          tf.io.decode_jpeg(image.encoded, channels=3, dct_method=image.dct_method),
          image.orientation),
      lambda: image.pixels)
  rgb.set_shape([None, None, 3])
  return to_channels(rgb, image.channels)


def to_channels(pixels, channels):
  """Converts uint8 pixels of 1 to 4 channels to RGB or grey.

  Args:
    pixels: uint8 [height, width, c]; c is static: 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
    channels: 3 for RGB, 1 for grey (ITU-R 601 luma).

  Returns:
    uint8 [height, width, channels]; transparency is composited over white.

  Raises:
    ValueError: if `pixels` has another type or shape.
  """
  given = pixels.shape[2] if pixels.shape.rank == 3 else None
  if pixels.dtype != tf.uint8 or given not in (1, 2, 3, 4):
    raise ValueError('Expected an image as a scalar string (a file) or as uint8 with the shape '
                     f'[height, width, 1 to 4]. Received: {pixels.dtype.name} with the shape '
                     f'{pixels.shape}.')
  if given in (2, 4):
    pixels = _over_white(pixels)
    given -= 1
  if given == channels:
    return pixels
  if channels == 1:
    return tf.image.rgb_to_grayscale(pixels)
  return tf.image.grayscale_to_rgb(pixels)


@functools.cache
def _opener(formats):
  """The function that opens files of some formats, traced once."""
  names = [name for name in file_formats.ALL if name in formats]
  return tracing.once(lambda encoded: _open_file(encoded, names))


def _open_file(encoded, formats):
  """Opens a file: is_jpeg, orientation, height, width, pixels of `EncodedImage`."""
  file_format = file_formats.recognize(encoded, formats)

  def of_jpeg():
    orientation = exif.jpeg_orientation(encoded)
    stored = tf.io.extract_jpeg_shape(encoded)
    stored = checks.after(stored, checks.size(stored[0], stored[1]))
    height, width = exif.oriented_shape(stored[0], stored[1], orientation)
    return orientation, height, width, tf.zeros([0, 0, 3], tf.uint8)

  def of_other(decode):
    pixels = tracing.apart(decode)(encoded)
    pixels.set_shape([None, None, 3])
    return tf.constant(1), tf.shape(pixels)[0], tf.shape(pixels)[1], pixels

  openers = {
      file_formats.JPEG: of_jpeg,
      file_formats.PNG: lambda: of_other(lambda file: _over_white(png.decode_png(file))),
      file_formats.GIF: lambda: of_other(gif.decode_gif),
      file_formats.BMP: lambda: of_other(lambda file: _over_white(bmp.decode_bmp(file))),
      file_formats.WEBP: lambda: of_other(lambda file: _over_white(webp.decode_webp(file)))}
  orientation, height, width, pixels = tf.switch_case(file_format, [
      *(openers[name] for name in formats),
      lambda: of_other(lambda file: _refuse(file, formats))])
  pixels.set_shape([None, None, 3])
  with tf.control_dependencies([height]):  # A file that failed a check must not be decoded.
    is_jpeg = tf.equal(file_format,
                       formats.index(file_formats.JPEG) if file_formats.JPEG in formats else -1)
  return is_jpeg, orientation, height, width, pixels


def _refuse(encoded, formats):
  """Fails with a message that says what a file of another format looks like."""
  *others, last = formats
  expected = f'a {", ".join(others)} or {last} file' if others else f'a {last} file'
  before = '' if len(formats) == len(file_formats.ALL) else ', as when the program started'
  known = checks.Check(file_formats.recognize(encoded, formats) < len(formats),
                       f'Expected {expected}{before}. Received {{}}.',
                       file_formats.describe(encoded))
  return checks.after(tf.zeros([0, 0, 3], tf.uint8), known)


def _over_white(pixels):
  """Composites uint8 [h, w, c], the last channel being alpha, over white: uint8 [h, w, c - 1]."""
  colours, alpha = pixels[:, :, :-1], pixels[:, :, -1:]
  shape = tf.shape(colours)
  count = shape[0] * shape[1]

  def by_blocks():
    blocks = tf.pad(tf.reshape(pixels, [count, -1]), [[0, -count % _BLOCK], [0, 0]])
    blocks = tf.reshape(blocks, [-1, _BLOCK, shape[2] + 1])
    blocks = tf.map_fn(lambda block: _composite(block[:, :-1], block[:, -1:]), blocks,
                       parallel_iterations=1)
    return tf.reshape(tf.reshape(blocks, [-1, shape[2]])[:count], shape)

  result = tf.cond(
      tf.reduce_all(alpha == 255), lambda: colours,
      lambda: tf.cond(count > _BLOCK, by_blocks, lambda: _composite(colours, alpha)))
  result.set_shape(colours.shape)
  return result


def _composite(colours, alpha):
  """Composites uint8 colours over white; `alpha` has one channel."""
  share = tf.cast(alpha, tf.float32) / 255.0
  return tf.cast(tf.round(tf.cast(colours, tf.float32) * share + 255.0 * (1.0 - share)), tf.uint8)


def _crop_pixels(pixels, box):
  y, x, height, width = box
  part = tf.slice(pixels, tf.stack([y, x, 0]), tf.stack([height, width, -1]))
  return tf.ensure_shape(part, [None, None, pixels.shape[2]])


def _crop_jpeg(image, box):
  """Decodes a box of the oriented image of a JPEG: uint8 [height, width, 3]."""
  shape = (image.height, image.width)
  y, x, height, width = exif.stored_box(box, shape, image.orientation)
  _, stored_width = exif.oriented_shape(*shape, image.orientation)
  left = tf.minimum(x, _CROP_MARGIN)
  right = tf.clip_by_value(stored_width - x - width, 0, _CROP_MARGIN)
  window = tf.stack([y, x - left, height, left + width + right])
  pixels = tf.io.decode_and_crop_jpeg(image.encoded, window, channels=3,
                                      dct_method=image.dct_method)
  return exif.orient(_crop_pixels(pixels, (0, left, height, width)), image.orientation)


def _check_channels(channels):
  if channels not in (1, 3):
    raise ValueError(f'Expected channels to be 1 (grey) or 3 (RGB). Received: {channels!r}.')


def _check_encoded(encoded):
  encoded = tf.convert_to_tensor(encoded)
  if encoded.dtype != tf.string or encoded.shape.rank not in (0, None):
    raise ValueError('Expected an image file as a scalar string. Received: '
                     f'{encoded.dtype.name} with the shape {encoded.shape}.')
  return encoded
