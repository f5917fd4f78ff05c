"""Small intact image files of every kind that Pillow writes, and some that it does not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from scripts.fuzzing.image_parts import PNG_SIGNATURE, png_chunk, riff, riff_chunk

_HEIGHT, _WIDTH = 22, 37


def _picture() -> Image.Image:
  y, x = np.mgrid[:_HEIGHT, :_WIDTH]
  pixels = np.stack([y * 9 % 256, x * 6 % 256, (x + 2 * y) % 256], axis=-1)
  pixels[:8, :12] = np.random.default_rng(0).integers(0, 256, (8, 12, 3))
  return Image.fromarray(pixels.astype(np.uint8))


RGB = _picture()
GREY = RGB.convert('L')
RGBA = Image.merge('RGBA', [*RGB.split(), GREY])
PALETTE = RGB.quantize(16)
OTHER_PALETTE = RGB.rotate(180).quantize(7)
_FRAMES = {'save_all': True, 'duration': 50}


def encode(image: Image.Image, file_format: str, **options) -> bytes:
  """Writes an image with Pillow."""
  file = io.BytesIO()
  image.save(file, file_format, **options)
  return file.getvalue()


def exif(orientation: int, order: str = '<') -> bytes:
  """Writes Exif data with only the orientation, in a byte order of `struct`."""
  mark = b'II*\0' if order == '<' else b'MM\0*'
  return mark + struct.pack(order + 'IHHHIHHI', 8, 1, 0x112, 3, 1, orientation, 0, 0)


def _jpegs() -> dict[str, bytes]:
  profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
  tag = Image.Exif()
  tag[0x112] = 6
  return {
    'baseline': encode(RGB, 'JPEG'),
    '4:4:4': encode(RGB, 'JPEG', subsampling=0),
    'progressive': encode(RGB, 'JPEG', progressive=True),
    'optimized': encode(RGB, 'JPEG', optimize=True, quality=95),
    'grey': encode(GREY, 'JPEG'),
    'grey, progressive': encode(GREY, 'JPEG', progressive=True),
    'CMYK': encode(RGB.convert('CMYK'), 'JPEG'),
    'RGB': encode(RGB, 'JPEG', keep_rgb=True),
    'Exif': encode(RGB, 'JPEG', exif=tag),
    'restarts': encode(RGB, 'JPEG', restart_marker_blocks=2),
    'restarts, progressive': encode(RGB, 'JPEG', restart_marker_blocks=1, progressive=True),
    'ICC and comment': encode(RGB, 'JPEG', icc_profile=profile, comment=b'a comment'),
  }


_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
          (1, 0, 2, 1))


def raw_png(depth: int, colour_type: int, *, interlaced: bool = False,
            extra: bytes = b'') -> bytes:
  """Writes a random PNG of a kind that Pillow does not write, with `extra` chunks."""
  rng = np.random.default_rng(depth)
  bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour_type]
  rows = b''
  for y, x, down, right in _ADAM7 if interlaced else ((0, 0, 1, 1),):
    count, width = len(range(y, _HEIGHT, down)), len(range(x, _WIDTH, right))
    for _ in range(count if width else 0):
      rows += bytes([rng.integers(5)]) + rng.bytes(-(-width * bits // 8))
  header = struct.pack('>IIBBBBB', _WIDTH, _HEIGHT, depth, colour_type, 0, 0, interlaced)
  palette = png_chunk(b'PLTE', rng.bytes(3 << depth)) if colour_type == 3 else b''
  return (PNG_SIGNATURE + png_chunk(b'IHDR', header) + palette + extra
          + png_chunk(b'IDAT', zlib.compress(rows)) + png_chunk(b'IEND', b''))


def with_exif_after(encoded: bytes, data: bytes) -> bytes:
  """Adds an `eXIf` chunk after the image data of a PNG."""
  return encoded[:-12] + png_chunk(b'eXIf', data) + encoded[-12:]


def exif_text(data: bytes) -> bytes:
  """Writes Exif data as a text chunk of a PNG, as ImageMagick did."""
  data = b'Exif\0\0' + data
  text = f'Raw profile type exif\0\nexif\n{len(data):8}\n{data.hex()}\n'
  return png_chunk(b'tEXt', text.encode())


def _pngs() -> dict[str, bytes]:
  kinds = [(depth, 0) for depth in (1, 2, 4, 8, 16)] + [(depth, 3) for depth in (1, 2, 4, 8)]
  kinds += [(depth, colour_type) for depth in (8, 16) for colour_type in (2, 4, 6)]
  samples = {f'{depth} bits, colour type {kind}{", interlaced" if interlaced else ""}':
             raw_png(depth, kind, interlaced=interlaced)
             for depth, kind in kinds for interlaced in (False, True)}
  plain = encode(RGB, 'PNG')
  return samples | {
    'RGB': plain,
    'tRNS': encode(RGB, 'PNG', transparency=RGB.getpixel((20, 10))),
    'tRNS, grey': encode(GREY, 'PNG', transparency=GREY.getpixel((9, 9))),
    'tRNS, palette': encode(PALETTE, 'PNG', transparency=bytes(range(0, 256, 16))),
    'tRNS, 2 bits': raw_png(2, 0, extra=png_chunk(b'tRNS', b'\0\1')),
    'tRNS, 16 bits': raw_png(16, 2, extra=png_chunk(b'tRNS', bytes(6))),
    'eXIf': encode(RGB, 'PNG', exif=exif(6)),
    'eXIf after': with_exif_after(plain, exif(8, '>')),
    'Exif as text': raw_png(8, 2, extra=exif_text(exif(5))),
    'ICC': encode(RGB, 'PNG', icc_profile=bytes(200), dpi=(72, 72)),
    'APNG': encode(RGB, 'PNG', append_images=[RGB.rotate(180)], **_FRAMES),
  }


def _gifs() -> dict[str, bytes]:
  return {
    'plain': encode(PALETTE, 'GIF', interlace=0),
    'interlaced': encode(PALETTE, 'GIF', interlace=1),
    'grey': encode(GREY, 'GIF'),
    'transparent': encode(PALETTE, 'GIF', transparency=3),
    'comment': encode(PALETTE, 'GIF', comment=b'c' * 300),
    'animated': encode(PALETTE, 'GIF', append_images=[PALETTE.rotate(180)], **_FRAMES),
    'local palettes': encode(PALETTE, 'GIF', append_images=[OTHER_PALETTE, GREY], loop=0,
                             disposal=2, **_FRAMES),
    'transparent animation': encode(PALETTE, 'GIF', transparency=5, loop=0,
                                    append_images=[PALETTE.rotate(180)], **_FRAMES),
  }


def _bmp(bits: int, rows: bytes, *, compression: int = 0, height: int = _HEIGHT,
         colours: int = 0, masks: bytes = b'') -> bytes:
  header = struct.pack('<IiiHHIIiiII', 40, _WIDTH, height, 1, bits, compression, len(rows), 2835,
                       2835, colours, 0) + masks
  header += np.random.default_rng(bits).bytes(4 * colours)
  offset = 14 + len(header)
  return struct.pack('<2sIHHI', b'BM', offset + len(rows), 0, 0, offset) + header + rows


def _bmp_rows(bits: int) -> bytes:
  return np.random.default_rng(bits).bytes((_WIDTH * bits + 31) // 32 * 4 * _HEIGHT)


def _bmps() -> dict[str, bytes]:
  runs = (bytes([_WIDTH, 1, 0, 0]) * _HEIGHT) + b'\0\1'
  samples = {f'{bits} bits': _bmp(bits, _bmp_rows(bits), colours=1 << bits) for bits in (1, 4, 8)}
  samples |= {f'{bits} bits': _bmp(bits, _bmp_rows(bits)) for bits in (16, 24, 32)}
  masks = struct.pack('<4I', 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
  return samples | {
    'RLE, 8 bits': _bmp(8, runs, compression=1, colours=256),
    'RLE, 4 bits': _bmp(4, runs, compression=2, colours=16),
    'from the top, 8 bits': _bmp(8, _bmp_rows(8), height=-_HEIGHT, colours=256),
    'from the top, 24 bits': _bmp(24, _bmp_rows(24), height=-_HEIGHT),
    'masks': _bmp(32, _bmp_rows(32), compression=3, masks=masks),
    'Pillow, RGB': encode(RGB, 'BMP'), 'Pillow, RGBA': encode(RGBA, 'BMP'),
    'Pillow, palette': encode(PALETTE, 'BMP'), 'Pillow, grey': encode(GREY, 'BMP'),
    'Pillow, 1 bit': encode(GREY.convert('1'), 'BMP'),
  }


def _u24(number: int) -> bytes:
  return number.to_bytes(3, 'little')


def animated_webp(image: Image.Image, canvas: tuple[int, int], corner: tuple[int, int], *,
                  flags: int = 0x02, extra: bytes = b'', **options) -> bytes:
  """Writes an animation whose first frame covers part of the canvas.

  Args:
    image: both frames.
    canvas: width and height.
    corner: x and y of the first frame, even numbers; the second is at (0, 0).
    flags: the header's flags.
    extra: chunks to append.
    **options: options for Pillow's writer.
  """
  still = encode(image, 'WEBP', **options)[12:]
  if still.startswith(b'VP8X'):
    still = still[18:]
  width, height = image.size
  frames = [riff_chunk(b'ANMF', _u24(x // 2) + _u24(y // 2) + _u24(width - 1) + _u24(height - 1)
                       + _u24(50) + b'\0' + still) for x, y in (corner, (0, 0))]
  header = bytes([flags, 0, 0, 0]) + _u24(canvas[0] - 1) + _u24(canvas[1] - 1)
  return riff(riff_chunk(b'VP8X', header) + riff_chunk(b'ANIM', b'\x11\x22\x33\xff\0\0')
              + b''.join(frames) + extra)


def _webps() -> dict[str, bytes]:
  frames = {'append_images': [RGB.rotate(180)], **_FRAMES}
  lossless = {'lossless': True}
  return {
    'lossy': encode(RGB, 'WEBP'), 'lossless': encode(RGB, 'WEBP', **lossless),
    'lossy, alpha': encode(RGBA, 'WEBP'), 'lossless, alpha': encode(RGBA, 'WEBP', **lossless),
    'Exif': encode(RGB, 'WEBP', exif=exif(6)),
    'ICC': encode(RGB, 'WEBP', icc_profile=bytes(200), **lossless),
    'XMP and Exif': encode(RGBA, 'WEBP', xmp=b'<x/>', exif=b'Exif\0\0' + exif(3)),
    'animated': encode(RGB, 'WEBP', **frames), 'animated, lossless': encode(
      RGB, 'WEBP', **frames, **lossless),
    'animated, alpha': encode(RGBA, 'WEBP', **frames),
    'animated, Exif': encode(RGB, 'WEBP', exif=exif(5), **frames),
    'animated, part': animated_webp(RGB, (_WIDTH + 20, _HEIGHT + 9), (6, 4)),
    'animated, part, lossless': animated_webp(RGB, (_WIDTH + 4, _HEIGHT + 9), (2, 8), **lossless),
    'animated, part, alpha': animated_webp(RGBA, (_WIDTH + 4, _HEIGHT + 9), (2, 8), flags=0x12),
  }


_MAKERS = {'jpeg': _jpegs, 'png': _pngs, 'gif': _gifs, 'bmp': _bmps, 'webp': _webps}
FORMATS = tuple(_MAKERS)


def samples(name: str) -> dict[str, bytes]:
  """Makes the files of a format, one of `FORMATS`, as `{description: bytes}`."""
  return _MAKERS[name]()


def all_samples() -> Iterator[tuple[str, str, bytes]]:
  """Yields the format, the name and the bytes of every file."""
  for name in FORMATS:
    for kind, data in samples(name).items():
      yield name, kind, data
