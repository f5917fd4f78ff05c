"""WebP files: the first frame, and the orientation in their Exif data.

Format: https://developers.google.com/speed/webp/docs/riff_container; the sizes of the two kinds of
bitstream are in RFC 6386, section 9.1, and RFC 9649, section 3.4.
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import checks, exif, tracing

_HEADER_BYTES = 30
_FLAGS_AT = 20
_ANIMATION, _EXIF, _ALPHA = 0x02, 0x08, 0x10
_BYTES = [bytes([value]) for value in range(256)]


def decode_webp(encoded):
  """Decodes the first frame of a WebP.

  Args:
    encoded: scalar string; a WebP file, animated or not.

  Returns:
    uint8 [height, width, 4], RGBA, oriented; the part of the canvas outside the first frame is
    transparent.

  Raises:
    tf.errors.InvalidArgumentError: if the file is damaged, or larger than `checks.MAX_PIXELS`.
  """
  head = tf.strings.join([tf.strings.substr(encoded, 0, _HEADER_BYTES), b'\0' * _HEADER_BYTES])
  kind = tf.strings.substr(head, 12, 4)
  encoded = checks.after(
      encoded,
      checks.Check(
          (tf.strings.substr(head, 0, 4) == b'RIFF') &
          tf.reduce_any(kind == [b'VP8 ', b'VP8L', b'VP8X']),
          'Expected a WebP file that begins with VP8, VP8L or VP8X. Received one of {} bytes that '
          'does not.', tf.strings.length(encoded)),
      checks.size(*_size(head, kind)))
  flags = tf.where(kind == b'VP8X', _bits(head, _FLAGS_AT, first=0, count=8), 0)
  # TensorFlow 2.21 writes animations with four channels into memory for three (and crashes), unless
  # the header announces transparency. So the header is changed to announce it.
  animated = tf.bitwise.bitwise_and(flags, _ANIMATION) != 0
  safe = tf.cond(
      animated,
      lambda: tf.strings.join([
          tf.strings.substr(encoded, 0, _FLAGS_AT),
          tf.gather(_BYTES, tf.bitwise.bitwise_or(flags, _ALPHA)),
          tf.strings.substr(encoded, _FLAGS_AT + 1, -1)]),
      lambda: encoded)
  # Three or four channels, depending on the file.
  pixels = tf.io.decode_image(safe, expand_animations=False)
  shape = tf.shape(pixels)
  opaque = tf.fill([shape[0], shape[1], 4 - shape[2]], tf.constant(255, tf.uint8))
  pixels = tf.concat([pixels, opaque], axis=2)
  pixels.set_shape([None, None, 4])
  has_exif = tf.bitwise.bitwise_and(flags, _EXIF) != 0
  orientation = tf.cond(has_exif, lambda: _walk_to_orientation(encoded), lambda: tf.constant(1))
  return exif.orient(pixels, orientation)


def _size(head, kind):
  """Height and width in the header: int32 scalars.

  Args:
    head: scalar string; the first bytes of the file, at least 30.
    kind: scalar string; the type of the first chunk.
  """
  extended = (_bits(head, 26, first=8, count=24) + 1, _bits(head, 24, first=0, count=24) + 1)
  lossless = (_bits(head, 21, first=14, count=14) + 1, _bits(head, 21, first=0, count=14) + 1)
  lossy = _bits(head, 26, first=16, count=14), _bits(head, 26, first=0, count=14)
  return [tf.where(kind == b'VP8X', of_all, tf.where(kind == b'VP8L', of_lossless, of_lossy))
          for of_all, of_lossless, of_lossy in zip(extended, lossless, lossy, strict=True)]


def _bits(head, at, *, first, count):
  """Some bits of the little-endian integer of four bytes at position `at`; int32 scalar."""
  value = tf.io.decode_raw(tf.strings.substr(head, at, 4), tf.int32)[0]
  return tf.bitwise.bitwise_and(tf.bitwise.right_shift(value, first), (1 << count) - 1)


@tracing.apart
def _walk_to_orientation(encoded):
  """Reads the orientation from the first chunk of Exif data; int32 scalar in [1, 8]."""
  length = tf.strings.length(encoded)

  def step(position, payload):
    size = tf.io.decode_raw(tf.strings.substr(encoded, position + 4, 4), tf.int32)[0]
    is_truncated = (size < 0) | (size > length - 8 - position)
    is_exif = ~is_truncated & (tf.strings.substr(encoded, position, 4) == b'EXIF')
    data = tf.strings.substr(encoded, position + 8, tf.where(is_exif, size, 0))
    return (tf.where(is_truncated | is_exif, length, position + 8 + size + size % 2),
            tf.where(is_exif, data, payload))

  _, payload = tf.while_loop(lambda position, _: position <= length - 8, step,
                             (tf.constant(12), tf.constant(b'')))
  return exif.orientation_of(tf.io.decode_raw(payload, tf.uint8))
