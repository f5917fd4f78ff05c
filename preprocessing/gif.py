"""The first frame of a GIF, composited over white.

`tf.io.decode_gif` does the decoding, but alone its pixels are wrong for common files: transparent
pixels become black (Pillow's pixels differ in every transparent GIF tested), a frame that covers a
part of the canvas is returned without the rest, and an animation that is truncated after its first
frame counts as whole. So this module finds the first frame, decodes it alone, a second time with a
white palette to learn which pixels are transparent, and puts it on the canvas.

Format: GIF89a (https://www.w3.org/Graphics/GIF/spec-gif89a.txt).
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from preprocessing import checks, tracing

_HEADER_BYTES = 13
_MAX_PALETTE_BYTES = 768
_EXTENSION, _FRAME = 0x21, 0x2C
_GRAPHIC_CONTROL = 0xF9


class _Layout(NamedTuple):
  """Where the parts of a GIF are, as int32 scalars in bytes.

  Attributes:
    palette_end: end of the global palette.
    frame: start of the first frame's descriptor; 0 if there is no frame.
    frame_palette_end: end of the first frame's palette.
    frame_end: end of the first frame's data.
    is_transparent: bool scalar, whether a colour of the first frame is transparent.
    is_complete: bool scalar, whether the blocks end before the file does, with the trailer if the
      file is whole.
  """
  palette_end: tf.Tensor
  frame: tf.Tensor
  frame_palette_end: tf.Tensor
  frame_end: tf.Tensor
  is_transparent: tf.Tensor
  is_complete: tf.Tensor


def decode_gif(encoded):
  """Decodes the first frame of a GIF, composited over white.

  Args:
    encoded: scalar string; a GIF file, animated or not.

  Returns:
    uint8 [height, width, 3] of the size of the canvas.

  Raises:
    tf.errors.InvalidArgumentError: if the file is damaged or truncated, even within a later frame;
      or if it is larger than `checks.MAX_PIXELS`.
  """
  layout = _Layout(*_find_blocks(encoded))
  descriptor = tf.strings.join([tf.strings.substr(encoded, layout.frame, 10), b'\0' * 10])
  canvas = _two_integers(tf.strings.substr(encoded, 6, 4))
  corner = _two_integers(tf.strings.substr(descriptor, 1, 4))
  shown = tf.maximum(canvas, corner + _two_integers(tf.strings.substr(descriptor, 5, 4)))
  encoded = checks.after(
      encoded,
      checks.Check(layout.is_complete & (layout.frame > 0),
                   'Expected a complete GIF file. Received one of {} bytes that is truncated or '
                   'contains no image.', tf.strings.length(encoded)),
      checks.size(shown[0], shown[1]))
  return _on_canvas(_decode_frame(encoded, layout, descriptor), canvas, corner)


def _decode_frame(encoded, layout, descriptor):
  """Decodes the first frame over white: uint8 [height, width, 3].

  Args:
    encoded: scalar string; the file, checked.
    layout: its `_Layout`.
    descriptor: scalar string; the frame's descriptor.
  """
  palette = tf.strings.substr(encoded, _HEADER_BYTES, layout.palette_end - _HEADER_BYTES)
  frame_palette = tf.strings.substr(encoded, layout.frame + 10,
                                    layout.frame_palette_end - layout.frame - 10)

  def decode(palette, frame_palette):
    # Only the first frame, moved to (0, 0): the kernel crops to the size of the largest frame.
    pixels = tf.io.decode_gif(tf.strings.join([
        tf.strings.substr(encoded, 0, _HEADER_BYTES), palette,
        tf.strings.substr(encoded, layout.palette_end, layout.frame - layout.palette_end),
        b'\x2c\0\0\0\0', tf.strings.substr(descriptor, 5, 5), frame_palette,
        tf.strings.substr(encoded, layout.frame_palette_end,
                          layout.frame_end - layout.frame_palette_end),
        b'\x3b']))[0]
    pixels.set_shape([None, None, 3])
    return pixels

  pixels = decode(palette, frame_palette)

  def over_white():
    # With white palettes, opaque pixels are white and transparent ones black.
    opaque = decode(_white(palette), _white(frame_palette))
    return tf.where(opaque == 0, tf.constant(255, tf.uint8), pixels)

  return tf.cond(layout.is_transparent, over_white, lambda: pixels)


def _on_canvas(pixels, canvas, corner):
  """Puts a frame on a white canvas: int32 [height, width], with the frame at int32 [y, x]."""
  after = tf.maximum(canvas - corner - tf.shape(pixels)[:2], 0)
  margins = tf.pad(tf.stack([corner, after], axis=1), [[0, 1], [0, 0]])
  return tf.cond(tf.reduce_any(margins > 0), lambda: tf.pad(pixels, margins, constant_values=255),
                 lambda: pixels)


def _two_integers(data):
  """Reads two little-endian 16-bit numbers, x before y: int32 [y, x]."""
  return tf.cast(tf.io.decode_raw(tf.strings.join([data, b'\0' * 4]), tf.uint16), tf.int32)[1::-1]


def _white(palette):
  """A palette of the same size with only white."""
  return tf.strings.substr(b'\xff' * _MAX_PALETTE_BYTES, 0, tf.strings.length(palette))


@tracing.once
def _find_blocks(encoded):
  """Walks through the blocks of a GIF; returns the fields of a `_Layout`."""
  data = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
  palette_end = _HEADER_BYTES + _palette_bytes(_byte(data, 10))

  def step(position, *found):
    frame, frame_palette_end, frame_end, is_transparent = found
    is_frame = _byte(data, position) == _FRAME
    is_control = ~is_frame & (frame == 0) & (_byte(data, position + 1) == _GRAPHIC_CONTROL)
    pixels_start = position + 10 + _palette_bytes(_byte(data, position + 9))
    end = _after_sub_blocks(data, tf.where(is_frame, pixels_start + 1, position + 2))
    is_first = is_frame & (frame == 0)
    return (end,
            tf.where(is_first, position, frame),
            tf.where(is_first, pixels_start, frame_palette_end),
            tf.where(is_first, end, frame_end),
            tf.where(is_control, tf.bitwise.bitwise_and(_byte(data, position + 3), 1) == 1,
                     is_transparent))

  def has_block(position, *_):
    return tf.reduce_any(_byte(data, position) == [_EXTENSION, _FRAME])

  zero = tf.constant(0)
  position, *found = tf.while_loop(has_block, step,
                                   (palette_end, zero, zero, zero, tf.constant(False)))
  return palette_end, *found, _byte(data, position) >= 0


def _byte(data, position):
  """The byte at a position as int32; -1 after the end."""
  inside = position < tf.size(data)
  padded = tf.concat([data[position:position + 1], [-1]], axis=0)
  return tf.where(inside, padded[0], -1)


def _palette_bytes(flags):
  """Size of the palette, from the flag byte of the screen or a frame."""
  flags = tf.maximum(flags, 0)
  size = tf.bitwise.left_shift(6, tf.bitwise.bitwise_and(flags, 7))
  return tf.where(flags >= 128, size, 0)


def _after_sub_blocks(data, position):
  """Position after a chain of sub-blocks, including the empty one at its end."""
  def step(position):
    return [position + _byte(data, position) + 1]

  return tf.while_loop(lambda position: _byte(data, position) > 0, step, [position])[0] + 1
