"""The photos on which an oracle and our network are compared."""

from __future__ import annotations

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

SIZE = 224
_PADDING = 32  # The crop is SIZE / (SIZE + _PADDING) of the shorter side.


@dataclasses.dataclass(frozen=True)
class Photos:
  """The photos in a folder, sorted by name.

  Attributes:
    names: file names.
    labels: int64 [N], from the start of the file names.
    pixels: uint8 [N, SIZE, SIZE, 3].
  """
  names: list[str]
  labels: np.ndarray
  pixels: np.ndarray


def read(folder: pathlib.Path) -> Photos:
  """Reads photos `<label>_<anything>.jpg`, cropped and resized as EfficientNet-Lite was evaluated.

  The central square, 224/256 of the shorter side, is resized (bicubic) to SIZE, as in
  https://github.com/tensorflow/tpu/blob/master/models/official/efficientnet/preprocessing.py.
  """
  files = sorted(folder.glob('*.jpg'))
  if not files:
    raise ValueError(f'Expected a folder with photos, *.jpg. Received: {folder}.')
  return Photos([file.name for file in files],
                np.array([int(file.name.split('_')[0]) for file in files]),
                np.stack([_pixels(file) for file in files]))


def _pixels(file: pathlib.Path) -> np.ndarray:
  image = tf.io.decode_jpeg(tf.io.read_file(str(file)), channels=3).numpy()
  height, width, _ = image.shape
  side = int(SIZE / (SIZE + _PADDING) * min(height, width))
  top, left = (height - side + 1) // 2, (width - side + 1) // 2
  square = image[top:top + side, left:left + side]
  resized = tf.image.resize(square, [SIZE, SIZE], tf.image.ResizeMethod.BICUBIC).numpy()
  return resized.round().clip(0, 255).astype(np.uint8)
