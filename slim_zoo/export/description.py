"""The files next to an export: its description, and the names of its classes."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from datasets import labels, labels_file
from files import image_types
from slim_zoo.export import saved_model
from slim_zoo.export.comparison import Found
from slim_zoo.export.model import Model
from slim_zoo.export.targets import Target


def paths(path: str | os.PathLike[str], target: Target) -> tuple[pathlib.Path, pathlib.Path]:
  """Returns the paths of an export's description and labels.

  Returns:
    `model.json` and `labels.txt` in the directory of a SavedModel; `<path>.json` and
    `<path>.labels.txt` next to a file.
  """
  if target.is_folder:
    return pathlib.Path(path, 'model.json'), pathlib.Path(path, labels_file.FILENAME)
  return pathlib.Path(f'{path}.json'), pathlib.Path(f'{path}.{labels_file.FILENAME}')


def write(path: str | os.PathLike[str], model: Model, target: Target, *, facts: Mapping[str, Any],
          found: Found) -> None:
  """Writes both.

  The description uses the names of a checkpoint's metadata where it has the same content, so that
  the export can be opened as a checkpoint.

  Args:
    path: of the export.
    model: what was exported.
    target: the kind of export.
    facts: what else is known about the network.
    found: how it compares with the network.
  """
  class_names = model.class_names
  about = {**facts, 'preprocessing_name': model.preprocessing_name,
           'transform': model.transform.to_json(), 'image_size': model.image_size,
           'channels': model.channels, 'num_classes': len(class_names)}
  if any(name != labels.UNNAMED for name in class_names):
    about['class_names'] = list(class_names)
  inputs, outputs = _inputs(model, target), _outputs(model, target)
  for name, of_numbers in (target.numbers(path) if target.numbers else {}).items():
    (inputs if name in inputs else outputs)[name] |= of_numbers
  about |= {'export': target.name, 'inputs': inputs, 'outputs': outputs,
            'compared': {name: value for name, value in dataclasses.asdict(found).items()
                         if value is not None}}
  description, names = paths(path, target)
  description.write_text(json.dumps(about, indent=1) + '\n', encoding='utf-8')
  labels_file.write(names, labels.distinct_names(class_names))


def _inputs(model: Model, target: Target) -> dict[str, dict]:
  """Describes each input; None in a shape stands for any number."""
  grey = '; of grey images, with the luma of these numbers' if model.channels == 1 else ''
  height, width, channels = model.image_shape
  shape = [channels, height, width] if target.channels_first else [height, width, channels]
  found = {target.images: {'dtype': 'float32', 'shape': [target.batch, *shape],
                           'values': f'{model.transform.values()}{grey}',
                           'preparation': model.transform.describe(model.image_size)}}
  if target.files:
    found[target.images]['signature'] = saved_model.OF_IMAGES
    found[target.files] = {'dtype': 'string', 'shape': [target.batch],
                           'values': f'image files: {", ".join(image_types.SIGNATURES)}; not '
                                     f'{", ".join(image_types.CONVERTED)}',
                           'signature': saved_model.OF_FILES}
  if target.pixels:
    found[target.pixels] = {'dtype': 'uint8', 'shape': [target.batch, None, None, model.channels],
                            'values': 'images of any size, RGB or grey',
                            'signature': saved_model.OF_PIXELS}
  return found


def _outputs(model: Model, target: Target) -> dict[str, dict]:
  """Describes each output."""
  count = len(model.class_names)
  found: dict[str, dict] = {name: {'dtype': 'float32', 'shape': [target.batch, count]}
                            for name in target.outputs}
  if target.is_folder:
    shape = [target.batch, saved_model.top_k(count)]
    found |= {saved_model.TOP_CLASSES: {'dtype': 'string', 'shape': shape},
              saved_model.TOP_PROBABILITIES: {'dtype': 'float32', 'shape': shape}}
  return found
