"""PNG files: pixels, and the orientation in their Exif data.

Format: PNG, third edition (https://www.w3.org/TR/png-3/). Before the chunk `eXIf` existed, Exif
data was stored as hexadecimal text with a keyword of ImageMagick.
"""

from __future__ import annotations

import tensorflow as tf

from preprocessing import checks, exif, tracing

_SIGNATURE_BYTES = 8
_HEADER_BYTES = 33
_CHUNK_BYTES = 12  # Length, type and checksum.
_EXIF, _TEXT = b'eXIf', b'tEXt'
_PROFILE = b'Raw profile type exif'
# The keyword, an empty line, a name and a number of bytes, followed by lines of digits.
_BEFORE_DIGITS = _PROFILE + rb'\x00[^\n]*\n[^\n]*\n[^\n]*\n'


def decode_png(encoded):
  """Decodes a PNG of any colour type.

  Args:
    encoded: scalar string; a PNG file.

  Returns:
    uint8 [height, width, 4], RGBA, oriented; 16-bit values lose their low byte.

  Raises:
    tf.errors.InvalidArgumentError: if the file is damaged, or larger than `checks.MAX_PIXELS`.
  """
  head = tf.strings.join([tf.strings.substr(encoded, 0, _HEADER_BYTES), b'\0' * _HEADER_BYTES])
  height, width = (_integer(head, at) for at in (20, 16))
  encoded = checks.after(
      encoded,
      checks.Check(tf.strings.substr(head, 12, 4) == b'IHDR',
                   'Expected a PNG file that begins with a header. Received one of {} bytes that '
                   'does not.', tf.strings.length(encoded)),
      checks.size(height, width))
  pixels = tf.io.decode_png(encoded, channels=4)
  depth = tf.io.decode_raw(tf.strings.substr(head, 24, 1), tf.uint8)[0]
  return exif.orient(_with_full_alpha(pixels, depth), _orientation(encoded))


def _with_full_alpha(pixels, depth):
  """Makes an image without transparency opaque, whatever depth it is stored in."""
  # If the file has no transparency, the kernel sets alpha to the largest value of the stored depth,
  # which is not 255 (opaque) for fewer than 8 bits.
  filled_in = tf.bitwise.left_shift(tf.constant(1, tf.uint8), tf.minimum(depth, 7)) - 1
  opaque = (depth < 8) & tf.reduce_all(pixels[:, :, 3] == filled_in)
  return tf.cond(opaque, lambda: tf.maximum(pixels, tf.constant([0, 0, 0, 255], tf.uint8)),
                 lambda: pixels)


def _orientation(encoded):
  """The orientation of a PNG, which may be damaged; int32 scalar in [1, 8]."""
  # Most files have no Exif data, and a search is faster than going through the chunks.
  found = exif.contains(encoded, _EXIF) | exif.contains(encoded, _PROFILE)
  return tf.cond(found, lambda: _walk_to_orientation(encoded), lambda: tf.constant(1))


@tracing.apart
def _walk_to_orientation(encoded):
  """Reads the orientation from the first `eXIf`, or else from a text; int32 scalar."""
  length = tf.strings.length(encoded)

  def step(position, payload, text):
    size = _integer(encoded, position)
    kind = tf.strings.substr(encoded, position + 4, 4)
    is_truncated = (size < 0) | (size > length - _CHUNK_BYTES - position)
    is_exif = ~is_truncated & (kind == _EXIF)
    is_text = ~is_truncated & (kind == _TEXT) & (text == b'')
    data = tf.strings.substr(encoded, position + 8, tf.where(is_exif | is_text, size, 0))
    return (tf.where(is_truncated | is_exif, length, position + _CHUNK_BYTES + size),
            tf.where(is_exif, data, payload),
            tf.cond(is_text, lambda: _profile_text(data), lambda: text))

  _, payload, text = tf.while_loop(
      lambda position, *_: position <= length - _CHUNK_BYTES, step,
      (tf.constant(_SIGNATURE_BYTES), tf.constant(b''), tf.constant(b'')))
  return exif.orientation_of(tf.cond(payload == b'', lambda: _from_hexadecimal(text),
                                     lambda: tf.io.decode_raw(payload, tf.uint8)))


def _profile_text(text):
  """The digits of a text chunk with the keyword for Exif; an empty string for another."""
  def digits():
    return tf.strings.regex_replace(tf.strings.regex_replace(text, _BEFORE_DIGITS, ''), r'\s', '')

  return tf.cond(tf.strings.regex_full_match(text, _BEFORE_DIGITS + rb'[0-9a-fA-F\s]*'), digits,
                 lambda: tf.constant(b''))


def _from_hexadecimal(digits):
  """Converts hexadecimal digits to bytes; uint8 [n]."""
  digits = tf.strings.substr(digits, 0, tf.strings.length(digits) // 2 * 2)
  codes = tf.cast(tf.io.decode_raw(digits, tf.uint8), tf.int32)
  values = tf.bitwise.bitwise_and(codes, 15) + tf.where(codes > ord('9'), 9, 0)
  values = tf.reshape(values, [-1, 2])
  return tf.cast(values[:, 0] * 16 + values[:, 1], tf.uint8)


def _integer(data, at):
  """Reads a big-endian integer of four bytes; int32 scalar, negative from 2 ** 31 on."""
  return tf.io.decode_raw(tf.strings.substr(data, at, 4), tf.int32, little_endian=False)[0]
