"""Writing an export: complete and checked, or not at all."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from files.locks import locked
from slim_zoo.export import description, targets
from slim_zoo.export.model import LOGITS, Model
from slim_zoo.export.targets import Target

_TOLERANCE = 1e-4  # Relative to the largest logit: float32 rounding adds up over the layers.
_NUM_IMAGES = 2  # Whose logits are compared.


def export(model: Model, path: str | os.PathLike[str], *, facts: Mapping[str, Any],
           class_names: Sequence[str]) -> float:
  """Exports a network, with a description and the names of its classes.

  Args:
    model: the network.
    path: its suffix selects the target, see `targets.TARGETS`; its directory is created if
      necessary.
    facts: what else is known about the network, by the names of a checkpoint's metadata.
    class_names: one name per output, `labels.UNNAMED` if it is not known.

  Returns:
    The largest difference between the export's logits and the network's on random images, relative
    to the largest logit.

  Raises:
    ValueError: if the path exists already, or the export computes something else.
    OSError: if it cannot be written.
  """
  path, target = pathlib.Path(path), targets.find(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  aside = path.with_name(f'{path.name}.part')
  with locked(path):
    check_free(path)
    shutil.rmtree(aside, ignore_errors=True)  # Left by a process that was killed.
    aside.mkdir()
    try:
      with _quiet():
        target.write(model, aside / path.name)
      difference = _check(model, target, aside / path.name)
      description.write(aside / path.name, model, target, facts=facts, class_names=class_names)
      _move(aside, path)
    finally:
      shutil.rmtree(aside, ignore_errors=True)
  return difference


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Hides TensorFlow's notes on its own steps, except at debug level."""
  before, logger = logging.get_verbosity(), tf.get_logger()
  level = logger.level
  if before == logging.INFO:
    logging.set_verbosity(logging.WARNING)
    logger.setLevel('WARNING')
  try:
    yield
  finally:
    logging.set_verbosity(before)
    logger.setLevel(level)


def check_free(path: str | os.PathLike[str]) -> None:
  """Stops if the export, or a file written with it, would overwrite something.

  Raises:
    ValueError: if it would, except for an empty directory in place of a directory; or if the path's
      suffix is unknown.
  """
  target = targets.find(path)
  may_be_empty = target.is_folder and os.path.isdir(path) and not os.path.islink(path)
  if may_be_empty and not os.listdir(path):
    return
  for place in (path, *description.paths(path, target)):
    if os.path.lexists(place):
      raise ValueError(f'Expected: a new path for the export. Received: {place}, which '
                       f'exists. Choose another --output_path, or remove it.')


def _check(model: Model, target: Target, path: pathlib.Path) -> float:
  """Compares an export's logits with the network's.

  Raises:
    ValueError: if they differ by more than rounding.
  """
  pixels = np.random.default_rng(0).integers(0, 256, [_NUM_IMAGES, *model.image_shape], np.uint8)
  files = np.array([tf.io.encode_png(image).numpy() for image in pixels])
  images = model.preprocess(tf.constant(files))
  expected = model.outputs(images)[LOGITS].numpy()
  if not np.isfinite(expected).all():
    raise ValueError('Expected: finite outputs. Received: NaN or infinity for random images. The '
                     'weights are broken, or do not belong to this network.')
  scale = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
  found = np.stack(list(target.logits(path, images.numpy(), files)))
  difference = float(np.abs(found - expected).max()) / scale
  if not difference <= _TOLERANCE:  # NaN is not.
    raise ValueError(f"Expected: a {target.name} that computes the network's logits, up to "
                     f'{_TOLERANCE:.0e} of the largest. Received: a difference of '
                     f'{difference:.1e} of it. Nothing is kept; choose another target.')
  return difference


def _move(aside: pathlib.Path, path: pathlib.Path) -> None:
  """Moves the complete files to their places, the export itself last."""
  for file in aside.rglob('*'):
    if file.is_file():
      with open(file, 'r+b') as opened:
        os.fsync(opened.fileno())
  moved = []
  try:
    for source in sorted(aside.iterdir(), key=lambda source: source.name == path.name):
      place = path.with_name(source.name)
      os.replace(source, place)
      moved.append(place)
  except OSError:
    for place in moved:
      place.unlink()
    raise
