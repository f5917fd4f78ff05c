"""The targets of an export, selected by the suffix of its path."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Iterator

import numpy as np

from slim_zoo.export import frozen_graph, saved_model, tflite
from slim_zoo.export.model import LOGITS, PROBABILITIES, Model


@dataclasses.dataclass(frozen=True)
class Target:
  """One kind of export.

  Attributes:
    name: for messages.
    write: writes a model to a path.
    logits: `logits(path, images, files)` yields what an export computes, once per input that it
      has: for float32 [n, height, width, channels], and for the image files that these come from.
    images: name of the input for preprocessed images.
    outputs: names of logits and probabilities.
    files: name of the input for image files; '' if there is none.
    batch: number of images per call; None for any number.
    is_folder: whether the export is a directory.
  """
  name: str
  write: Callable[[Model, str | os.PathLike[str]], None]
  logits: Callable[[str | os.PathLike[str], np.ndarray, np.ndarray], Iterator[np.ndarray]]
  images: str
  _: dataclasses.KW_ONLY
  outputs: tuple[str, str] = (LOGITS, PROBABILITIES)
  files: str = ''
  batch: int | None = None
  is_folder: bool = False


TARGETS = {
    '': Target('SavedModel', saved_model.write, saved_model.logits, saved_model.IMAGES,
               files=saved_model.FILES, is_folder=True),
    '.pb': Target('frozen graph', frozen_graph.write, frozen_graph.logits,
                  f'{frozen_graph.INPUT}:0', outputs=(f'{LOGITS}:0', f'{PROBABILITIES}:0')),
    '.tflite': Target('TensorFlow Lite model', tflite.write, tflite.logits, tflite.INPUT,
                      batch=1),
}


def find(path: str | os.PathLike[str]) -> Target:
  """Finds the target that a path's suffix selects; the directory of a SavedModel has no suffix.

  Text after a dot that begins with a digit is not a suffix: `mobilenet_v1_1.0_224` is a directory.

  Raises:
    ValueError: if the suffix is unknown.
  """
  suffix = pathlib.Path(path).suffix
  suffix = suffix if re.match(r'\.[^\W\d]', suffix) else ''
  if suffix not in TARGETS or pathlib.Path(path).name in ('', '..'):  # It has no name of its own.
    known = ', '.join(f'{suffix} ({target.name})' for suffix, target in TARGETS.items() if suffix)
    raise ValueError(f'Expected: a path that ends in one of {known}, or a directory without a '
                     f'suffix ({TARGETS[""].name}). Received: {path}.')
  return TARGETS[suffix]
