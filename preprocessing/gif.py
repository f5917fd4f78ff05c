"""The first picture of a GIF as it is shown on a white page.

TensorFlow's own decoder paints what is transparent black, takes the largest picture's size for the
canvas's, and an animation that is cut short after its first picture for whole.

Format: GIF89a (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import checks, tracing

_HEADER_BYTES = 13
_MAX_PALETTE_BYTES = 768
_EXTENSION, _PICTURE = 0x21, 0x2C
_GRAPHIC_CONTROL = 0xF9


def decode_gif(encoded):
  """Decodes the first picture of a GIF, composited over white.

  Args:
    encoded: scalar string; a GIF file, animated or not.

  Returns:
    uint8 [height, width, 3]; the size is the canvas's.

  Raises:
    tf.errors.InvalidArgumentError: if the file is damaged or ends before its trailer byte, be it
      in a later picture than the first; or if it is larger than `checks.MAX_PIXELS`.
  """
  palette_end, picture, picture_palette_end, picture_end, see_through, ended = _layout(encoded)
  descriptor = tf.strings.join([tf.strings.substr(encoded, picture, 10), b'\0' * 10])
  canvas = _two_integers(tf.strings.substr(encoded, 6, 4))
  corner = _two_integers(tf.strings.substr(descriptor, 1, 4))
  shown = tf.maximum(canvas, corner + _two_integers(tf.strings.substr(descriptor, 5, 4)))
  encoded = checks.after(
      encoded,
      checks.Check(ended & (picture > 0),
                   'Expected a whole GIF file. Received one of {} bytes, which is cut short or '
                   'holds no picture.', tf.strings.length(encoded)),
      checks.size(shown[0], shown[1]))
  palette = tf.strings.substr(encoded, _HEADER_BYTES, palette_end - _HEADER_BYTES)
  picture_palette = tf.strings.substr(encoded, picture + 10, picture_palette_end - picture - 10)

  def decode(palette, picture_palette):
    # Only the first picture, moved to the corner: the kernel cuts off what lies further out than
    # the largest picture is wide.
    pixels = tf.io.decode_gif(tf.strings.join([
        tf.strings.substr(encoded, 0, _HEADER_BYTES), palette,
        tf.strings.substr(encoded, palette_end, picture - palette_end), b'\x2c\0\0\0\0',
        tf.strings.substr(descriptor, 5, 5), picture_palette,
        tf.strings.substr(encoded, picture_palette_end, picture_end - picture_palette_end),
        b'\x3b']))[0]
    pixels.set_shape([None, None, 3])
    return pixels

  pixels = decode(palette, picture_palette)

  def over_white():
    # With only white in its palettes: white where a pixel is painted, black where none is.
    painted = decode(_white(palette), _white(picture_palette))
    return tf.where(painted == 0, tf.constant(255, tf.uint8), pixels)

  pixels = tf.cond(see_through, over_white, lambda: pixels)
  return _on_canvas(pixels, canvas, corner)


def _on_canvas(pixels, canvas, corner):
  """Puts a picture on its white canvas: int32 [height, width] at the int32 [y, x] `corner`."""
  after = tf.maximum(canvas - corner - tf.shape(pixels)[:2], 0)
  margins = tf.pad(tf.stack([corner, after], axis=1), [[0, 1], [0, 0]])
  return tf.cond(tf.reduce_any(margins > 0), lambda: tf.pad(pixels, margins, constant_values=255),
                 lambda: pixels)


def _two_integers(data):
  """Two little-endian 16-bit numbers, the horizontal one first: int32 [vertical, horizontal]."""
  return tf.cast(tf.io.decode_raw(tf.strings.join([data, b'\0' * 4]), tf.uint16), tf.int32)[1::-1]


def _white(palette):
  """A palette of the same size in which every colour is white."""
  return tf.strings.substr(b'\xff' * _MAX_PALETTE_BYTES, 0, tf.strings.length(palette))


@tracing.once
def _layout(encoded):
  """Walks through the blocks of a GIF.

  Returns:
    End of the global palette; of the first picture: start of its descriptor (0 if there is none),
    end of its palette, end of its data, whether some colour of it is transparent; and whether the
    walk got to something else than the end of the file (the trailer, if the file is whole).
  """
  data = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
  palette_end = _HEADER_BYTES + _palette_bytes(_byte(data, 10))
  position = palette_end
  picture, picture_palette_end, picture_end = tf.constant(0), tf.constant(0), tf.constant(0)
  see_through = tf.constant(False)
  block = _byte(data, position)
  while block == _EXTENSION or block == _PICTURE:  # noqa: SIM109 (AutoGraph knows no `in`)
    if block == _EXTENSION:
      if picture == 0 and _byte(data, position + 1) == _GRAPHIC_CONTROL:
        see_through = tf.bitwise.bitwise_and(_byte(data, position + 3), 1) == 1
      position = _after_sub_blocks(data, position + 2)
    else:
      pixels_start = position + 10 + _palette_bytes(_byte(data, position + 9))
      end = _after_sub_blocks(data, pixels_start + 1)
      if picture == 0:
        picture, picture_palette_end, picture_end = position, pixels_start, end
      position = end
    block = _byte(data, position)
  return palette_end, picture, picture_palette_end, picture_end, see_through, block >= 0


def _byte(data, position):
  """The byte at a position as int32; -1 past the end."""
  inside = position < tf.size(data)
  padded = tf.concat([data[position:position + 1], [-1]], axis=0)
  return tf.where(inside, padded[0], -1)


def _palette_bytes(flags):
  """Size of the palette that a screen's or picture's flag byte announces."""
  flags = tf.maximum(flags, 0)
  size = tf.bitwise.left_shift(6, tf.bitwise.bitwise_and(flags, 7))
  return tf.where(flags >= 128, size, 0)


def _after_sub_blocks(data, position):
  """Position after a chain of sub-blocks and the empty one that ends it."""
  size = _byte(data, position)
  while size > 0:
    position += size + 1
    size = _byte(data, position)
  return position + 1
