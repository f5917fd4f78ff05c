"""Image files recognized by their first bytes, whatever their suffix."""

from __future__ import annotations

import os
import re

# The formats that TensorFlow or `preprocessing` decodes: `{format: (position, bytes)}`.
SIGNATURES = {'JPEG': (0, b'\xff\xd8\xff'), 'PNG': (0, b'\x89PNG'), 'GIF': (0, b'GIF8'),
              'BMP': (0, b'BM'), 'WebP': (8, b'WEBP')}
# Their usual suffixes.
SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp')
# The formats that `converted_images` converts: patterns of their first bytes.
CONVERTED = {'TIFF': re.compile(rb'II[*+]\0|MM\0[*+]'),
             'AVIF': re.compile(rb'.{4}ftypavi[fs]', re.DOTALL),
             'HEIC': re.compile(rb'.{4}ftyp(he[iv][cmsx]|mif1|msf1)', re.DOTALL),
             'JPEG 2000': re.compile(rb'\0\0\0\x0cjP  '),
             'PNM': re.compile(rb'P[1-6]\s+(#.*\n)?\s*\d+\s+\d+\s')}
ALL = (*SIGNATURES, *CONVERTED)
_HEAD_BYTES = 64
# Sizes of the header of a BMP; two letters alone also begin many a text.
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
# Downloads that are not complete.
_PARTIAL = ('.crdownload', '.part', '.partial', '.download', '.tmp')


def format_of(path: str | os.PathLike[str]) -> str | None:
  """Returns the format that a file begins like, one of `ALL`; None if unreadable or another."""
  if os.fspath(path).lower().endswith(_PARTIAL):
    return None
  try:
    with open(path, 'rb') as file:
      head = file.read(_HEAD_BYTES)
  except (OSError, ValueError):
    return None
  return format_of_bytes(head)


def format_of_bytes(head: bytes) -> str | None:
  """Returns the format that the first bytes of an image are of; None if another."""
  for name, (at, sign) in SIGNATURES.items():
    if head[at:at + len(sign)] == sign:
      is_real = name != 'BMP' or int.from_bytes(head[14:18], 'little') in _BMP_HEADERS
      return name if is_real else None
  return next((name for name, pattern in CONVERTED.items() if pattern.match(head)), None)


def is_image(path: str | os.PathLike[str]) -> bool:
  """Returns whether a file begins like an image of a supported format."""
  return format_of(path) is not None
