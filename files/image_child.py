"""Converts images to PNG with Pillow; run as a process of its own, as Pillow's readers may crash.

    python -m files.image_child SECONDS BYTES < jobs.json

Standard input has a JSON list of [image, PNG file to write]. For each, a line is printed: a JSON
null, or the reason why it cannot be converted.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import warnings

import numpy as np
from PIL import Image, ImageOps

from files import image_types
from files.reasons import short_reason

_GREY = ('1', 'L', 'LA')
_OF_16_BITS = ('I;16', 'I;16B', 'I;16L', 'I;16N')
# Their pixels have no known range.
_OF_32_BITS = {'I': '32-bit integers', 'F': 'floating-point numbers'}


def convert(path: str, target: str) -> None:
  """Writes the first image in a file as a PNG of 8 bits, grey or RGB, turned as Exif says.

  Raises:
    Exception: Pillow's, for a file that it cannot read.
    ValueError: if the values of the pixels have no known range.
  """
  with Image.open(path) as opened:
    image = ImageOps.exif_transpose(opened)
    if image.mode in _OF_32_BITS:
      raise ValueError(f'pixels that are {_OF_32_BITS[image.mode]}; convert it to 8 bits')
    if image.mode in _OF_16_BITS:
      image = Image.fromarray(np.round(np.asarray(image) / 257).astype(np.uint8))
    grey = image.mode in _GREY
    image.convert('L' if grey else 'RGB').save(target, 'PNG', compress_level=1)


def main(seconds: str, memory: str) -> int:
  """Converts the images; returns the exit code."""
  for limit, value in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_CPU, int(seconds)),
                       (resource.RLIMIT_AS, int(memory))):
    hard = resource.getrlimit(limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
  # Pillow warns of images of more than 89 million pixels.
  warnings.simplefilter('error', Image.DecompressionBombWarning)
  reads_heic = importlib.util.find_spec('pillow_heif') is not None
  if reads_heic:
    import pillow_heif
    pillow_heif.register_heif_opener()
  for path, target in json.load(sys.stdin):
    try:
      if not reads_heic and image_types.format_of(path) == 'HEIC':
        raise ValueError('HEIC needs pillow-heif: scripts/setup_env.sh --heic')
      convert(path, target)
      reason = None
    except Exception as error:  # Pillow may raise anything for a damaged file.
      reason = short_reason(error)
    print(json.dumps(reason), flush=True)
  return 0


if __name__ == '__main__':
  sys.exit(main(*sys.argv[1:]))
