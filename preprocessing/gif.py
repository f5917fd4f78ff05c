"""The first picture of a GIF as it is shown on a white page.

TensorFlow's own decoder paints what is transparent, or outside the first picture, black, and takes
an animation that is cut short after its first picture for whole.

Format: GIF89a (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).
"""

from __future__ import annotations

import tensorflow as tf

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
      in a later picture than the first.
  """
  palette_end, picture, picture_palette_end, picture_end, see_through, ended = _layout(encoded)
  whole = tf.debugging.Assert(
      ended & (picture > 0),
      ['Expected a whole GIF file with a picture. Received one that is cut short, of bytes:',
       tf.strings.length(encoded)])
  with tf.control_dependencies([whole] if whole is not None else []):
    first = tf.strings.join([tf.strings.substr(encoded, 0, picture_end), b'\x3b'])
  pixels = _first_picture(first)

  def over_white():
    # The same file with only white in its palettes: white where a pixel is painted, black where
    # none is.
    painted = _first_picture(tf.strings.join([
        tf.strings.substr(first, 0, _HEADER_BYTES), _white(palette_end - _HEADER_BYTES),
        tf.strings.substr(first, palette_end, picture + 10 - palette_end),
        _white(picture_palette_end - picture - 10),
        tf.strings.substr(first, picture_palette_end, -1)]))
    return tf.where(painted == 0, tf.constant(255, tf.uint8), pixels)

  covered = tf.strings.substr(first, picture + 1, 8) == tf.strings.join(
      [b'\0\0\0\0', tf.strings.substr(first, 6, 4)])
  return tf.cond(see_through | ~covered, over_white, lambda: pixels)


def _first_picture(encoded):
  pixels = tf.io.decode_gif(encoded)[0]
  pixels.set_shape([None, None, 3])
  return pixels


def _white(size):
  return tf.strings.substr(b'\xff' * _MAX_PALETTE_BYTES, 0, size)


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
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
  while block == _EXTENSION or block == _PICTURE:
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
