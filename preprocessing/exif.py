"""Reading and applying the orientation in an image's Exif data.

Everything is TensorFlow ops, so that it runs in `tf.data` without the Python interpreter and can be
exported with a model.

Formats: JPEG's marker segments are ITU-T T.81 annex B; the Exif segment and its tag 0x0112 are
Exif 2.32 (CIPA DC-008), sections 4.5 and 4.6.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from preprocessing import tracing

_ORIENTATION_TAG = 0x0112
_TYPE_SHORT = 3
_ENTRY_BYTES = 12
_SEARCHED_BYTES = 1 << 18
_PREFIX = b'Exif\0\0'


def jpeg_orientation(encoded):
  """Reads the orientation of a JPEG.

  Args:
    encoded: scalar string; a JPEG file, which may be damaged.

  Returns:
    int32 scalar in [1, 8]. It is 1 (as stored) if no Exif segment begins in the first 256 KiB (it
    should be at the very front), or if its data are damaged or invalid, because bad metadata do not
    make an image unreadable.
  """
  # A search for the name is several times faster than going through the markers, and most files
  # have no such segment.
  head = tf.strings.substr(encoded, 0, _SEARCHED_BYTES)
  return tf.cond(contains(head, _PREFIX), lambda: _walk_to_orientation(encoded),
                 lambda: tf.constant(1))


def contains(data, name):
  """Whether `data`, a scalar string, contains `name`, a Python bytes object; bool scalar."""
  # Replacing plain text is several times faster than matching the whole string.
  pattern = ''.join(f'\\x{byte:02x}' for byte in name)
  rest = tf.strings.regex_replace(data, pattern, '', replace_global=False)
  return tf.strings.length(rest) < tf.strings.length(data)


@tracing.apart
def _walk_to_orientation(encoded):
  """Reads the orientation from the first Exif segment before the picture data; int32 scalar."""
  return orientation_of(tf.io.decode_raw(_exif_payload(encoded), tf.uint8))


def _exif_payload(encoded):
  """The data of the first Exif segment; scalar string, empty if there is none."""
  length = tf.strings.length(encoded)

  def step(position, payload):
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, position, 4), tf.uint8), tf.int32)
    marker = head[1]
    size = head[2] * 256 + head[3]
    # The image data begin, the file ends, or this is not a marker.
    is_end = (head[0] != 0xFF) | (marker == 0xDA) | (marker == 0xD9)
    is_fill = marker == 0xFF
    is_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD7))  # Without a segment.
    is_exif = (~is_end & (marker == 0xE1) & (size >= 8) & (position + 2 + size <= length) &
               (tf.strings.substr(encoded, position + 4, 6) == _PREFIX))
    payload = tf.where(is_exif, tf.strings.substr(encoded, position + 4, size - 2), payload)
    taken = tf.where(is_fill, 1, tf.where(is_alone, 2, 2 + tf.maximum(size, 2)))
    return tf.where(is_end | is_exif, length, position + taken), payload

  return tf.while_loop(lambda position, _: position + 4 <= length, step,
                       (tf.constant(2), tf.constant(b'')))[1]


@functools.partial(tracing.apart, input_signature=[tf.TensorSpec([None], tf.uint8)])
def orientation_of(exif):
  """Reads the orientation from Exif data.

  Args:
    exif: uint8 [n]; a TIFF structure, optionally preceded by `Exif` and two zero bytes.

  Returns:
    int32 scalar in [1, 8]; 1 if the data are damaged or invalid.
  """
  prefixed = tf.reduce_all(tf.pad(exif[:6], [[0, 6]])[:6] == [*_PREFIX])
  tiff = exif[tf.where(prefixed, 6, 0):]
  return tf.cond(tf.size(tiff) >= 8, lambda: _tiff_orientation(tiff), lambda: tf.constant(1))


def _tiff_orientation(tiff):
  """Reads the tag from the first directory of a TIFF structure; int32 scalar in [1, 8]."""
  tiff = tf.cast(tiff, tf.int32)
  little = tf.reduce_all(tiff[:4] == [0x49, 0x49, 42, 0])
  big = tf.reduce_all(tiff[:4] == [0x4D, 0x4D, 0, 42])

  def integers(at, width):
    """Unsigned integers of `width` bytes at the positions `at`, which must be inside."""
    value = tf.zeros_like(at)
    for i in range(width):
      value = value * 256 + tf.gather(tiff, tf.where(little, at + width - 1 - i, at + i))
    return value

  size = tf.size(tiff)
  directory = integers(tf.constant([4]), 4)[0]
  valid = (little | big) & (directory >= 8) & (directory <= size - 2)
  directory = tf.where(valid, directory, 0)
  count = tf.where(valid, integers(tf.reshape(directory, [1]), 2)[0], 0)
  # Limit the count to the entries that fit into the segment.
  count = tf.minimum(count, (size - directory - 2) // _ENTRY_BYTES)
  entries = directory + 2 + _ENTRY_BYTES * tf.range(count)
  matches = ((integers(entries, 2) == _ORIENTATION_TAG) &
             (integers(entries + 2, 2) == _TYPE_SHORT) & (integers(entries + 4, 4) == 1))
  values = tf.boolean_mask(integers(entries + 8, 2), matches)
  value = tf.concat([values, [1]], axis=0)[0]
  return tf.where((value >= 1) & (value <= 8), value, 1)


def orient(pixels, orientation):
  """Orients stored pixels.

  Args:
    pixels: [height, width, channels]; one image.
    orientation: int32 scalar in [1, 8], as in Exif.

  Returns:
    The oriented image, of the same dtype; its shape is [width, height, channels] if `orientation`
    is 5 or more.
  """
  def turned():
    image = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    image = tf.cond(_mirrored(orientation), lambda: tf.reverse(image, [1]), lambda: image)
    return tf.cond(_upside_down(orientation), lambda: tf.reverse(image, [0]), lambda: image)

  oriented = tf.cond(orientation == 1, lambda: pixels, turned)
  oriented.set_shape([None, None, pixels.shape[2]])
  return oriented


def oriented_shape(height, width, orientation):
  """Size of the oriented image, (height, width), from the stored size."""
  turned = orientation >= 5
  return tf.where(turned, width, height), tf.where(turned, height, width)


def stored_box(box, shape, orientation):
  """Maps a box of the oriented image to the stored image.

  Args:
    box: (y, x, height, width), int32 scalars, in the oriented image.
    shape: (height, width) of the oriented image.
    orientation: int32 scalar in [1, 8].

  Returns:
    (y, x, height, width) in the stored image: the box whose pixels, after `orient`, are those of
    `box`.
  """
  y, x, height, width = box
  x = tf.where(_mirrored(orientation), shape[1] - x - width, x)
  y = tf.where(_upside_down(orientation), shape[0] - y - height, y)
  turned = orientation >= 5
  return (tf.where(turned, x, y), tf.where(turned, y, x),
          tf.where(turned, width, height), tf.where(turned, height, width))


def _mirrored(orientation):
  """Whether the image must be reversed from left to right, after any transposition."""
  return tf.reduce_any(orientation == [2, 3, 6, 7])


def _upside_down(orientation):
  """Whether the image must be reversed from top to bottom, after any transposition."""
  return tf.reduce_any(orientation == [3, 4, 7, 8])
