"""Image files as small pictures, decoded by Pillow."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import PIL.ImageOps

from files.reasons import FAILURES

# Those that `preprocessing.decoding` reads; Pillow's other readers are not for files of strangers.
_FORMATS = ('JPEG', 'PNG', 'GIF', 'BMP', 'WEBP')


def open_small(image: bytes, side: int) -> PIL.Image.Image | None:
  """Returns an image over white, RGB, at most about twice as large as `side`, oriented by its Exif.

  Args:
    image: the file.
    side: smallest useful size of the shorter side, in pixels; JPEGs are decoded in a smaller size.

  Returns:
    None if Pillow cannot decode it.
  """
  try:
    with PIL.Image.open(io.BytesIO(image), formats=_FORMATS) as opened:
      opened.draft('RGB', (side, side))
      oriented = PIL.ImageOps.exif_transpose(opened)
      if oriented.mode.startswith('I;16'):  # Pillow would not scale 16 bits.
        oriented = PIL.Image.fromarray((np.asarray(oriented) >> 8).astype(np.uint8))
      colours = oriented.convert('RGBA')
  except (*FAILURES, SyntaxError, PIL.Image.DecompressionBombError):
    return None
  white = PIL.Image.new('RGBA', colours.size, 'white')
  return PIL.Image.alpha_composite(white, colours).convert('RGB')
