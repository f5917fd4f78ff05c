"""The JSON file beside a checkpoint: what is needed to use it and to resume its run."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import platform
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from preprocessing.transform import Transform
from slim_zoo.training.loop import ValidationState

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class ModelFacts:
  """Facts that are needed to use a network.

  Attributes:
    model_name: a name in `nets_factory.NETS`.
    class_names: one name per output; '' for an output without a class in the dataset.
    image_size: height and width, in pixels.
    channels: number of channels of the images.
    preprocessing_name: a name in `PREPROCESSING`.
    transform: how images are prepared in an evaluation.
    labels_offset: what was subtracted from the dataset's labels.
  """
  model_name: str
  class_names: Sequence[str]
  image_size: int
  channels: int
  preprocessing_name: str
  transform: Transform
  labels_offset: int


def describe(model: ModelFacts, *, step: int, dataset: Mapping, flags: Mapping,
             validation_state: ValidationState, bad_images: Mapping[str, Sequence[str]],
             started_from: str | None = None) -> dict:
  """Returns the metadata of one checkpoint.

  Args:
    model: facts about the network.
    step: the global step.
    dataset: the training data: name, split, number of examples, fingerprint.
    flags: the settled value of every flag that the run depends on.
    validation_state: the validations so far.
    bad_images: names of the skipped images, by split.
    started_from: path of the initial weights; None if the run started from scratch.

  Returns:
    A dict that `json.dumps` accepts.
  """
  return {
      'format': FORMAT,
      **dataclasses.asdict(model),
      'transform': model.transform.to_json(),
      'num_classes': len(model.class_names),
      'step': step,
      'dataset': dict(dataset),
      'bad_images': {split: list(names) for split, names in bad_images.items()},
      'flags': dict(flags),
      'standing': dataclasses.asdict(validation_state),
      'started_from': started_from,
      'versions': versions(),
  }


def versions() -> dict[str, str]:
  """Returns the versions that results depend on."""
  return {'python': platform.python_version(), 'tensorflow': tf.__version__,
          'numpy': np.__version__}


def source_digest() -> str:
  """Returns a hash of the program's Python files."""
  root, found = pathlib.Path(__file__).parents[2], hashlib.sha256()
  for package in ('datasets', 'files', 'nets', 'preprocessing', 'slim_zoo'):
    for file in sorted((root / package).rglob('*.py')):
      found.update(file.relative_to(root).as_posix().encode() + b'\0' + file.read_bytes())
  return found.hexdigest()
