"""Splits image files into chunks, and joins them with correct lengths and checksums.

Written from the formats' specifications; it shares no code with the readers.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

PNG_SIGNATURE = b'\x89PNG\r\n\x1a\n'


class Part(NamedTuple):
  """A chunk, segment or block.

  Attributes:
    kind: its type, or a JPEG segment's marker. Empty if the format has none, and for data between
      JPEG segments.
    body: its bytes, without type, length and checksum.
  """
  kind: bytes
  body: bytes


def png_chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
  """Writes a chunk of a PNG; its length may be wrong."""
  length = len(body) if length is None else length
  return (struct.pack('>I', length % 2 ** 32) + kind + body
          + struct.pack('>I', zlib.crc32(kind + body)))


def riff_chunk(kind: bytes, body: bytes, length: int | None = None) -> bytes:
  """Writes a chunk of a WebP; its length may be wrong."""
  length = len(body) if length is None else length
  return kind + struct.pack('<I', length % 2 ** 32) + body + b'\0' * (len(body) % 2)


def riff(chunks: bytes) -> bytes:
  """Writes a WebP from its chunks."""
  return b'RIFF' + struct.pack('<I', len(chunks) + 4) + b'WEBP' + chunks


def jpeg_segment(marker: bytes, body: bytes, length: int | None = None) -> bytes:
  """Writes a segment of a JPEG; its length may be wrong."""
  if not marker or marker in (b'\xff\xd8', b'\xff\xd9'):
    return marker + body
  length = len(body) if length is None else length
  return marker + struct.pack('>H', (length + 2) % 2 ** 16) + body


def _plain(kind: bytes, body: bytes, length: int | None = None) -> bytes:
  del length  # The parts of a GIF and a BMP have no length field.
  return kind + body


def _split_png(data: bytes) -> list[Part]:
  parts, at = [], len(PNG_SIGNATURE)
  while at < len(data):
    end = at + 8 + int.from_bytes(data[at:at + 4], 'big')
    parts.append(Part(data[at + 4:at + 8], data[at + 8:end]))
    at = end + 4
  return parts


def _split_webp(data: bytes) -> list[Part]:
  parts, at = [], 12
  while at < len(data):
    end = at + 8 + int.from_bytes(data[at + 4:at + 8], 'little')
    parts.append(Part(data[at:at + 4], data[at + 8:end]))
    at = end + end % 2
  return parts


def _split_jpeg(data: bytes) -> list[Part]:
  parts, at = [], 0
  while at < len(data):
    marker = data[at:at + 2]
    if marker in (b'\xff\xd8', b'\xff\xd9'):
      parts.append(Part(marker, b''))
      at += 2
      continue
    end = at + 2 + int.from_bytes(data[at + 2:at + 4], 'big')
    parts.append(Part(marker, data[at + 4:end]))
    at = end
    if marker == b'\xff\xda':
      while data[end] != 0xFF or data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
        end += 1
      parts.append(Part(b'', data[at:end]))
      at = end
  return parts


def _split_gif(data: bytes) -> list[Part]:
  def palette_bytes(flags: int) -> int:
    return 6 << (flags & 7) if flags & 128 else 0

  def after_sub_blocks(at: int) -> int:
    while data[at]:
      at += data[at] + 1
    return at + 1

  at = 13 + palette_bytes(data[10])
  parts = [Part(b'', data[:13]), Part(b'', data[13:at])]
  while data[at:at + 1] != b'\x3b':
    if data[at] == 0x21:
      end = after_sub_blocks(at + 2)
    else:
      pixels = at + 10 + palette_bytes(data[at + 9])
      end = after_sub_blocks(pixels + 1)
      parts.append(Part(data[at:at + 1], data[at + 1:at + 10]))
      parts.append(Part(b'', data[at + 10:pixels]))
      at = pixels
    parts.append(Part(data[at:at + 1], data[at + 1:end]))
    at = end
  return [part for part in parts if part.kind or part.body] + [Part(b'\x3b', b'')]


def _split_bmp(data: bytes) -> list[Part]:
  pixels, header = struct.unpack('<II', data[10:18])
  places = [0, 14, 14 + header, pixels, len(data)]
  return [Part(b'', data[at:end]) for at, end in itertools.pairwise(places) if at < end]


class Format(NamedTuple):
  """Splits and joins the files of a format.

  Attributes:
    split: splits a file into its parts.
    part: writes a part from its kind, its body and, optionally, a wrong length.
    wrap: writes a file from the bytes of its parts.
  """
  split: Callable[[bytes], list[Part]]
  part: Callable[..., bytes]
  wrap: Callable[[bytes], bytes] = bytes


FORMATS = {
  'jpeg': Format(_split_jpeg, jpeg_segment),
  'png': Format(_split_png, png_chunk, lambda chunks: PNG_SIGNATURE + chunks),
  'gif': Format(_split_gif, _plain),
  'bmp': Format(_split_bmp, _plain),
  'webp': Format(_split_webp, riff_chunk, riff),
}


def join(name: str, parts: Sequence[Part], lengths: dict[int, int] | None = None) -> bytes:
  """Joins parts.

  Args:
    name: of the format, one of `FORMATS`.
    parts: as `FORMATS[name].split` gives them.
    lengths: wrong lengths of parts, by index.
  """
  lengths = lengths or {}
  chunks = b''.join(FORMATS[name].part(*part, lengths.get(i)) for i, part in enumerate(parts))
  return FORMATS[name].wrap(chunks)
