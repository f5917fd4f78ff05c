"""BMP files, including those with a palette.

`tf.io.decode_bmp` decodes 24- and 32-bit files; alone, it is wrong for the others and for some of
these: it returns the palette indices of 8-bit files as grey values, refuses 1- and 4-bit files and
files with bytes after the pixels (Pillow reads all of them), and takes the unused fourth byte of
old 32-bit files for alpha, so that many of them would be composited to white. This module looks up
the palettes, drops bytes at the end, and uses alpha only if the header announces it.

Format: BITMAPINFOHEADER and its successors
(https://learn.microsoft.com/windows/win32/gdi/bitmap-storage).
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import checks

_V4_HEADER_BYTES = 108
_MIN_BYTES = 54
_ALPHA_MASK_END = 70


def decode_bmp(encoded):
  """Decodes an uncompressed BMP.

  Args:
    encoded: scalar string; a BMP file of 1, 4, 8 (palette), 24 or 32 bits per pixel.

  Returns:
    uint8 [height, width, 4], RGBA. Alpha is 255 everywhere unless the header announces an alpha
    channel; the fourth byte of older 32-bit files has no meaning.

  Raises:
    tf.errors.InvalidArgumentError: if the file is truncated, of another kind (compressed, 16-bit),
      or larger than `checks.MAX_PIXELS`.
  """
  length = tf.strings.length(encoded)
  head = tf.strings.join([tf.strings.substr(encoded, 0, _ALPHA_MASK_END), b'\0' * _ALPHA_MASK_END])
  offset, header, width, height, compression, colours = (
      _integer(head, at, tf.int32) for at in (10, 14, 18, 22, 30, 46))
  bits = tf.cast(_integer(head, 28, tf.uint16), tf.int32)
  row_bytes = (tf.cast(width, tf.int64) * tf.cast(bits, tf.int64) + 31) // 32 * 4
  end = tf.cast(offset, tf.int64) + row_bytes * tf.abs(tf.cast(height, tf.int64))
  encoded = checks.after(
      encoded,
      checks.Check(length >= _MIN_BYTES,
                   f'Expected a BMP header of {_MIN_BYTES} bytes. Received {{}} bytes.', length),
      checks.Check(tf.reduce_any(bits == [1, 4, 8, 24, 32]),
                   'Expected a BMP of 1, 4, 8, 24 or 32 bits per pixel. Received: {} bits.', bits),
      checks.Check((compression == 0) | ((compression == 3) & (bits == 32)),
                   'Expected an uncompressed BMP. Received one with compression {}.', compression),
      checks.Check((header >= 40) & (offset >= _MIN_BYTES) & (header <= offset - 14),
                   'Expected a BMP header of 40 bytes or more before the pixels. Received: {}.',
                   header),
      checks.Check((width > 0) & (height != 0),
                   'Expected a BMP with pixels. Received height and width: {}.',
                   tf.stack([height, width])),
      checks.size(height, width),
      checks.Check(end <= tf.cast(length, tf.int64),
                   'Expected a complete BMP file. Received one of {} bytes that is truncated.',
                   length))
  # Some programs write padding after the pixels, which the kernel refuses.
  encoded = tf.strings.substr(encoded, 0, tf.cast(end, tf.int32))

  def with_palette():
    rows = tf.io.decode_raw(tf.strings.substr(encoded, offset, -1), tf.uint8)
    rows = tf.cast(tf.reshape(rows, [tf.abs(height), tf.cast(row_bytes, tf.int32), 1]), tf.int32)
    shifts = tf.range(8 - bits, -1, -bits)
    index = tf.bitwise.bitwise_and(tf.bitwise.right_shift(rows, shifts),
                                   tf.bitwise.left_shift(1, bits) - 1)
    index = tf.reshape(index, [tf.abs(height), -1])[:, :width]
    index = tf.cond(height > 0, lambda: tf.reverse(index, [0]), lambda: index)
    entries = tf.where(colours > 0, colours, tf.bitwise.left_shift(1, bits))
    entries = tf.minimum(tf.minimum(entries, 256), (offset - 14 - header) // 4)
    palette = tf.io.decode_raw(tf.strings.substr(encoded, 14 + header, 4 * entries), tf.uint8)
    palette = tf.reverse(tf.reshape(palette, [-1, 4])[:, :3], [1])
    # An index without an entry is black, as in other readers.
    palette = tf.pad(palette, [[0, 256 - tf.shape(palette)[0]], [0, 0]])
    return _opaque(tf.gather(palette, index))

  def with_colours():
    has_alpha = (bits == 32) & (header >= _V4_HEADER_BYTES) & (
        tf.strings.substr(head, 66, 4) == b'\x00\x00\x00\xff')
    return tf.cond(has_alpha, lambda: tf.io.decode_bmp(encoded, channels=4),
                   lambda: _opaque(_rgb(encoded, bits)))

  pixels = tf.cond(bits <= 8, with_palette, with_colours)
  pixels.set_shape([None, None, 4])
  return pixels


def _rgb(encoded, bits):
  pixels = tf.cond(bits == 24, lambda: tf.io.decode_bmp(encoded, channels=3),
                   lambda: tf.io.decode_bmp(encoded, channels=4))
  return pixels[:, :, :3]


def _opaque(rgb):
  return tf.concat([rgb, tf.fill(tf.shape(rgb[:, :, :1]), tf.constant(255, tf.uint8))], axis=2)


def _integer(head, at, dtype):
  """Reads a little-endian integer of the header, as int32."""
  return tf.io.decode_raw(tf.strings.substr(head, at, dtype.size), dtype)[0]
