"""Image files to pixels: whole, or only the part that a recipe is going to use.

`decode_image` decodes a whole file. A recipe that crops first takes `open_image`, asks for
`shape_of`, and decodes with `crop`, which for a JPEG reads no more than it needs.

All of it is TensorFlow ops: it runs in `tf.data` and can be exported with a model.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import tensorflow as tf

from preprocessing import bmp, checks, exif, file_formats, gif, png, tracing, webp

# Chroma of a subsampled JPEG is interpolated from the neighbouring block. The kernel that decodes a
# part leaves the block beside the part out, and its outermost columns then differ by up to 77 of
# 255 (measured). So it is asked for this many columns more, which makes a crop equal the same
# part of the whole picture; rows need none.
_CROP_MARGIN = 16

# Of an image with transparency so many pixels are composited at a time: each takes 50 bytes.
_BLOCK = 1 << 22


class EncodedImage(NamedTuple):
  """An image file that has been opened and, if it is a JPEG, not been decoded.

  Attributes:
    encoded: scalar string, the file.
    is_jpeg: scalar bool.
    orientation: int32 scalar in [1, 8], Exif's, of the crops of a JPEG; 1 for other files.
    height, width: int32 scalars, the size of the image as it is shown.
    pixels: uint8 [height, width, 3] as shown; of a JPEG [0, 0, 3].
    channels: 1 or 3, of the crops.
  """
  encoded: tf.Tensor
  is_jpeg: tf.Tensor
  orientation: tf.Tensor
  height: tf.Tensor
  width: tf.Tensor
  pixels: tf.Tensor
  channels: int


def decode_image(encoded, channels=3):
  """Decodes a whole image file into what it shows.

  JPEG (grey, colour, CMYK and YCCK), PNG (any colour type; 16-bit values lose their low byte), GIF
  (first picture), BMP (uncompressed) and WebP (first picture). The orientation in the Exif data of
  a JPEG, PNG or WebP is applied. Transparency is composited over white. Colour profiles are not
  applied.

  Args:
    encoded: scalar string; an image file.
    channels: 3 for RGB, 1 for grey: ITU-R 601 luma, which leaves the values of grey files as
      they are.

  Returns:
    uint8 [height, width, channels] in [0, 255].

  Raises:
    ValueError: if `channels` is neither 1 nor 3, or `encoded` not a scalar string.
    tf.errors.InvalidArgumentError: (when run) if the file is no image, cut short, or larger than
      `checks.MAX_PIXELS`. A file of which every pixel can be read may pass though its last bytes
      are missing, such as a JPEG without its end marker.
  """
  return pixels_of(open_image(_check_encoded(encoded), channels))


def open_image(image, channels=3):
  """Gets an image ready for `shape_of` and `crop`.

  Args:
    image: scalar string, an image file; or uint8 [height, width, c], c in 1 to 4 and static: grey,
      grey and alpha, RGB, RGBA. Already opened images pass.
    channels: 1 or 3.

  Returns:
    `EncodedImage` for a file, uint8 [height, width, channels] for pixels.

  Raises:
    ValueError: if the image is neither, or `channels` neither 1 nor 3.
  """
  _check_channels(channels)
  if isinstance(image, EncodedImage):
    return image._replace(channels=channels)
  image = tf.convert_to_tensor(image)
  if image.dtype != tf.string:
    return to_channels(image, channels)
  encoded = _check_encoded(image)
  is_jpeg, orientation, height, width, pixels = _open_file(encoded)
  return EncodedImage(encoded, is_jpeg, orientation, height, width, pixels, channels)


def shape_of(image):
  """Size of an image of `open_image`: (height, width), int32 scalars, as it is shown."""
  if isinstance(image, EncodedImage):
    return image.height, image.width
  shape = tf.shape(image)
  return shape[0], shape[1]


def crop(image, y, x, height, width):
  """Cuts a box out of an image, decoding no more of a JPEG than the box needs.

  The pixels are those of the same box of the decoded image, bit for bit. A JPEG that is cut short
  below the box may pass: whether a file is whole is for `decode_image` to tell.

  Args:
    image: from `open_image`.
    y, x, height, width: int32 scalars; a box inside the image as it is shown.

  Returns:
    uint8 [height, width, channels].

  Raises:
    tf.errors.InvalidArgumentError: (when run) if the box is not inside the image, or the file is
      damaged.
  """
  y, x, height, width = (tf.cast(value, tf.int32) for value in (y, x, height, width))
  if not isinstance(image, EncodedImage):
    return _crop_pixels(image, y, x, height, width)
  rgb = tf.cond(image.is_jpeg, lambda: _crop_jpeg(image, (y, x, height, width)),
                lambda: _crop_pixels(image.pixels, y, x, height, width))
  rgb.set_shape([None, None, 3])
  return to_channels(rgb, image.channels)


def pixels_of(image):
  """The whole of an image of `open_image`: uint8 [height, width, channels]."""
  if not isinstance(image, EncodedImage):
    return image
  rgb = tf.cond(
      image.is_jpeg,
      lambda: exif.orient(tf.io.decode_jpeg(image.encoded, channels=3), image.orientation),
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
    ValueError: if `pixels` is not as above.
  """
  given = pixels.shape[2] if pixels.shape.rank == 3 else None
  if pixels.dtype != tf.uint8 or given not in (1, 2, 3, 4):
    raise ValueError('Expected an image as a scalar string (a file) or as uint8 of shape [height, '
                     f'width, 1 to 4]. Received: {pixels.dtype.name} of shape {pixels.shape}.')
  if given in (2, 4):
    pixels = _over_white(pixels)
    given -= 1
  if given == channels:
    return pixels
  if channels == 1:
    return tf.image.rgb_to_grayscale(pixels)
  return tf.image.grayscale_to_rgb(pixels)


@functools.partial(tracing.once, autograph=False)
def _open_file(encoded):
  """What `EncodedImage` holds of a file: is_jpeg, orientation, height, width, pixels."""
  file_format = file_formats.recognize(encoded)

  def of_jpeg():
    orientation = exif.jpeg_orientation(encoded)
    stored = tf.io.extract_jpeg_shape(encoded)
    stored = checks.after(stored, checks.size(stored[0], stored[1]))
    height, width = exif.oriented_shape(stored[0], stored[1], orientation)
    return orientation, height, width, tf.zeros([0, 0, 3], tf.uint8)

  def of_other(decode):
    pixels = tracing.apart(decode, autograph=False)(encoded)
    pixels.set_shape([None, None, 3])
    return tf.constant(1), tf.shape(pixels)[0], tf.shape(pixels)[1], pixels

  orientation, height, width, pixels = tf.switch_case(file_format, {
      file_formats.JPEG: of_jpeg,
      file_formats.PNG: lambda: of_other(lambda file: _over_white(png.decode_png(file))),
      file_formats.GIF: lambda: of_other(gif.decode_gif),
      file_formats.BMP: lambda: of_other(lambda file: _over_white(bmp.decode_bmp(file))),
      file_formats.WEBP: lambda: of_other(lambda file: _over_white(webp.decode_webp(file))),
      file_formats.OTHER: lambda: of_other(lambda file: _refuse(file, file_format))})
  pixels.set_shape([None, None, 3])
  with tf.control_dependencies([height]):  # Nothing is decoded of a file that failed a check.
    is_jpeg = file_format == file_formats.JPEG
  return is_jpeg, orientation, height, width, pixels


def _refuse(encoded, file_format):
  """Fails, and says what a file looks like that is of no format of ours."""
  known = checks.Check(file_format < file_formats.OTHER,
                       'Expected a JPEG, PNG, GIF, BMP or WebP file. Received {}.',
                       file_formats.describe(encoded))
  return checks.after(tf.zeros([0, 0, 3], tf.uint8), known)


def _over_white(pixels):
  """Composites over white: uint8 [h, w, c], the last channel alpha, to uint8 [h, w, c - 1]."""
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
  """Composites uint8 colours over white by their alpha, which has one channel."""
  share = tf.cast(alpha, tf.float32) / 255.0
  return tf.cast(tf.round(tf.cast(colours, tf.float32) * share + 255.0 * (1.0 - share)), tf.uint8)


def _crop_pixels(pixels, y, x, height, width):
  part = tf.slice(pixels, tf.stack([y, x, 0]), tf.stack([height, width, -1]))
  return tf.ensure_shape(part, [None, None, pixels.shape[2]])


def _crop_jpeg(image, box):
  """Decodes a box of a JPEG, given as it is shown: uint8 [height, width, 3]."""
  shape = (image.height, image.width)
  y, x, height, width = exif.stored_box(box, shape, image.orientation)
  _, stored_width = exif.oriented_shape(*shape, image.orientation)
  left = tf.minimum(x, _CROP_MARGIN)
  right = tf.clip_by_value(stored_width - x - width, 0, _CROP_MARGIN)
  window = tf.stack([y, x - left, height, left + width + right])
  pixels = tf.io.decode_and_crop_jpeg(image.encoded, window, channels=3)
  return exif.orient(_crop_pixels(pixels, 0, left, height, width), image.orientation)


def _check_channels(channels):
  if channels not in (1, 3):
    raise ValueError(f'Expected channels to be 1 (grey) or 3 (RGB). Received: {channels!r}.')


def _check_encoded(encoded):
  encoded = tf.convert_to_tensor(encoded)
  if encoded.dtype != tf.string or encoded.shape.rank not in (0, None):
    raise ValueError('Expected an image file as a scalar string. Received: '
                     f'{encoded.dtype.name} of shape {encoded.shape}.')
  return encoded
