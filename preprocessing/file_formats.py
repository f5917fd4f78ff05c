"""Recognizing image files by their first bytes, and describing files that cannot be read."""

from __future__ import annotations

import tensorflow as tf

from files import image_types

# The supported formats.
JPEG, PNG, GIF, BMP, WEBP = ALL = tuple(image_types.SIGNATURES)

_CONVERT = 'convert it to PNG or JPEG'
# In folders and lists, `files.converted_images` converts TIFF, AVIF, HEIC and JPEG 2000.
# Patterns of the first bytes of other files, and their descriptions.
_OTHERS = (
    (r'', 'an empty file'),
    (r'\x00*', 'only zero bytes; the file is damaged'),
    (r'(II[*+]\x00|MM\x00[*+])\C*', f'a TIFF file; {_CONVERT}'),
    (r'\C{4}ftypavi[fs]\C*', f'an AVIF file; {_CONVERT}'),
    (r'\C{4}ftyp(he[iv]|mif1|msf1)\C*', f'a HEIC file; {_CONVERT}'),
    (r'\x00\x00\x00\x0cJXL \C*', f'a JPEG XL file; {_CONVERT}'),
    (r'\x00\x00\x00\x0cjP  \C*', f'a JPEG 2000 file; {_CONVERT}'),
    (r'8BPS\C*', f'a Photoshop file; {_CONVERT}'),
    (r'%PDF-\C*', f'a PDF file; {_CONVERT}'),
    (r'(?i)\x{FEFF}?\s*<(svg|(\?xml|!--|!doctype svg)\C*<svg)\b\C*', f'an SVG file; {_CONVERT}'),
    (r'(?i)\x{FEFF}?\s*<(!doctype html|html|head|body)\b\C*',
     'a web page (HTML); download the image itself'),
    (r'(PK\x03\x04|Rar!|7z\C\C\x27\x1c|\x1f\C\x08)\C*', 'an archive; unpack it'),
    (r'version https://git-lfs\C*', 'a Git LFS pointer; run `git lfs pull`'),
    (r'\C*', 'a file of unknown format'),
)
_HEAD_BYTES = 1024


def recognize(encoded, formats=ALL):
  """Position of a file's format in `formats`, their number if it is another; int32 scalar."""
  return tf.argmax(tf.stack([*_matches(encoded, formats), tf.constant(True)]), output_type=tf.int32)


def describe(encoded):
  """Describes a file; scalar string."""
  head = tf.strings.substr(encoded, 0, _HEAD_BYTES)
  matches = [*_matches(encoded, ALL),
             *(tf.strings.regex_full_match(head, pattern) for pattern, _ in _OTHERS)]
  texts = [*(f'a {name} file' for name in ALL), *(text for _, text in _OTHERS)]
  return tf.gather(texts, tf.argmax(tf.stack(matches)))


def _matches(encoded, formats):
  """For each format, whether a file begins like one; list of bool scalars."""
  head = tf.strings.join([tf.strings.substr(encoded, 0, 12), b'\0' * 12])
  signatures = [image_types.SIGNATURES[name] for name in formats]
  return [tf.strings.substr(head, at, len(sign)) == sign for at, sign in signatures]
