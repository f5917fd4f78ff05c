"""The targets of an export, selected by the suffix of its path."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable

from slim_zoo.export import frozen_graph, keras_file, onnx_file, saved_model, tflite, torch_file
from slim_zoo.export.model import LOGITS, PROBABILITIES, Model
from slim_zoo.export.runner import Runner

_ROUNDING = 1e-4  # float32 rounding adds up over the layers.


@dataclasses.dataclass(frozen=True)
class Target:
  """One kind of export.

  Attributes:
    name: for messages.
    write: writes a model to a path.
    open: loads an export.
    images: name of the input for prepared images.
    outputs: names of logits and probabilities; of those that there are.
    files, pixels: names of the inputs for image files and for pixels; '' if there is none.
    batch: number of images per call; None for any number.
    is_folder: whether the export is a directory.
    channels_first: whether images are [batch, channels, height, width] instead of [batch, height,
      width, channels].
    numbers: returns the facts of inputs and outputs that are not floats, by name; None if all are.
    runs_here: whether `open` runs the export itself, instead of our network with its numbers.
    tolerance: the largest difference of its logits from the network's, relative to the largest
      logit; None if it computes with other numbers, so that only its accuracy counts.
  """
  name: str
  write: Callable[[Model, str | os.PathLike[str]], None]
  open: Callable[[str | os.PathLike[str]], Runner]
  images: str
  _: dataclasses.KW_ONLY
  outputs: tuple[str, ...] = (LOGITS, PROBABILITIES)
  files: str = ''
  pixels: str = ''
  batch: int | None = None
  is_folder: bool = False
  channels_first: bool = False
  numbers: Callable[[str | os.PathLike[str]], dict[str, dict]] | None = None
  runs_here: bool = True
  tolerance: float | None = _ROUNDING


def _tflite(kind: str, write: Callable) -> Target:
  return Target(f'{kind} TensorFlow Lite model', write, tflite.open_export, tflite.INPUT, batch=1,
                tolerance=None)


TARGETS = {
    '': Target('SavedModel', saved_model.write, saved_model.open_export, saved_model.IMAGES,
               files=saved_model.FILES, pixels=saved_model.PIXELS, is_folder=True),
    '.pb': Target('frozen graph', frozen_graph.write, frozen_graph.open_export,
                  f'{frozen_graph.INPUT}:0', outputs=(f'{LOGITS}:0', f'{PROBABILITIES}:0')),
    '.tflite': Target('TensorFlow Lite model', tflite.write, tflite.open_export, tflite.INPUT,
                      batch=1),
    '.float16.tflite': _tflite('float16', tflite.write_float16),
    '.dynamic.tflite': _tflite('dynamic-range', tflite.write_dynamic),
    '.int8.tflite': dataclasses.replace(_tflite('int8', tflite.write_int8),
                                        numbers=tflite.numbers),
    '.onnx': Target('ONNX model', onnx_file.write, onnx_file.open_export, onnx_file.INPUT),
    '.keras': Target('Keras model', keras_file.write, keras_file.open_export, keras_file.INPUT,
                     outputs=(keras_file.PROBABILITIES,)),
    '.safetensors': Target('PyTorch state dict', torch_file.write, torch_file.open_export,
                           torch_file.INPUT, outputs=(LOGITS,), channels_first=True,
                           runs_here=False),
}


def suffix_of(path: str | os.PathLike[str]) -> str:
  """Returns the key of a path's target; the directory of a SavedModel has no suffix.

  Text after a dot that begins with a digit is not a suffix: `mobilenet_v1_1.0_224` is a directory.

  Raises:
    ValueError: if the suffix is unknown.
  """
  name = pathlib.Path(path).name
  for suffix in sorted(filter(None, TARGETS), key=len, reverse=True):
    if name.endswith(suffix) and name != suffix:
      return suffix
  if re.search(r'\.[^\W\d]\w*$', name) or name in ('', '..'):  # It has no name of its own.
    known = ', '.join(f'{suffix} ({target.name})' for suffix, target in TARGETS.items() if suffix)
    raise ValueError(f'Expected: a path that ends in one of {known}, or a directory without a '
                     f'suffix ({TARGETS[""].name}). Received: {path}.')
  return ''


def find(path: str | os.PathLike[str]) -> Target:
  """Finds the target that a path's suffix selects.

  Raises:
    ValueError: if the suffix is unknown.
  """
  return TARGETS[suffix_of(path)]
