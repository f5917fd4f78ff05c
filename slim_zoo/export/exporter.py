"""Writing an export: complete, checked and compared with the network, or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from files.locks import locked
from slim_zoo.evaluation import latency
from slim_zoo.export import comparison, description, runner, targets
from slim_zoo.export.comparison import Found, Photos
from slim_zoo.export.model import Model
from slim_zoo.export.targets import Target

_NUM_IMAGES = 2  # Random ones, whose logits are compared.
_ROUNDING = 1e-9  # Of shares of images.


def export(model: Model, path: str | os.PathLike[str], *, facts: Mapping[str, Any],
           photos: Photos | None = None, max_accuracy_drop: float = 1.0
           ) -> tuple[Found, str]:
  """Exports a network, with a description and the names of its classes.

  Args:
    model: the network.
    path: its suffix selects the target, see `targets.TARGETS`; its directory is created if
      necessary.
    facts: what else is known about the network, by the names of a checkpoint's metadata.
    photos: to compare it with the network on; None for random images only.
    max_accuracy_drop: how much lower its accuracy on them may be, in [0, 1].

  Returns:
    What was found out about it, and why it is not kept; '' if it is.

  Raises:
    ValueError: if the path exists already, or the network cannot be exported like this.
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
        found, fault = _examine(model, target, aside / path.name, photos=photos)
      if photos and not fault:
        fault = _loss(found, photos, max_accuracy_drop)
      if not fault:
        description.write(aside / path.name, model, target, facts=facts, found=found)
        _move(aside, path)
    finally:
      shutil.rmtree(aside, ignore_errors=True)
  return found, fault


def of_network(model: Model, photos: Photos | None) -> Found:
  """Finds out about the network itself what `export` finds out about an export."""
  image = np.zeros([1, *model.image_shape], np.float32)
  num_bytes = sum(value.nbytes for value in model.values().values())
  found = Found(None, num_bytes, 1000 * latency.median_seconds(lambda: model.logits(image)))
  return found if photos is None else dataclasses.replace(
      found, accuracy=photos.accuracy(photos.expected), num_photos=len(photos))


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


def _examine(model: Model, target: Target, path: pathlib.Path, *,
             photos: Photos | None) -> tuple[Found, str]:
  """Compares an export with the network; says what is wrong if it computes something else.

  Raises:
    ValueError: if the network itself computes NaN or infinity.
  """
  run = target.open(path)
  pixels = np.random.default_rng(0).integers(0, 256, [_NUM_IMAGES, *model.image_shape], np.uint8)
  files = np.array([tf.io.encode_png(image).numpy() for image in pixels], object)
  images = model.prepare(files)
  expected = model.logits(images)
  if not np.isfinite(expected).all():
    raise ValueError('Expected: finite outputs. Received: NaN or infinity for random images. The '
                     'weights are broken, or do not belong to this network.')
  batches = {runner.IMAGES: images, runner.FILES: files, runner.PIXELS: pixels}
  differences = [comparison.relative_difference(compute(batches[kind]), expected)
                 for kind, compute in run.items()]
  time = (1000 * latency.median_seconds(lambda: run[runner.IMAGES](images[:1]))
          if target.runs_here else None)
  found = Found(float(np.max(differences)), comparison.size_of(path), time)
  fault = _difference(found, target)
  if photos and not fault:
    difference, agreement, accuracy = comparison.on_photos(run, photos)
    found = dataclasses.replace(
        found, difference=float(np.max([difference, *differences])), agreement=agreement,
        accuracy=accuracy, network_accuracy=photos.accuracy(photos.expected),
        num_photos=len(photos), split=photos.split_name)
    fault = _difference(found, target)
  return found, fault


def _difference(found: Found, target: Target) -> str:
  """Says so if an export computes something other than the network; otherwise returns ''."""
  most = target.tolerance if target.tolerance is not None else np.finfo(np.float32).max
  if found.difference is None or found.difference <= most:  # NaN is not.
    return ''
  expected = ('finite logits' if target.tolerance is None else
              f"the network's logits, up to {target.tolerance:.0e} of the largest")
  return (f'Expected: a {target.name} that computes {expected}. Received: a difference of '
          f'{found.difference:.1e} of it.')


def _loss(found: Found, photos: Photos, most: float) -> str:
  """Says so if an export is less accurate than it may be; otherwise returns ''."""
  before = photos.accuracy(photos.expected)
  if found.accuracy is None or before - found.accuracy <= most + _ROUNDING:
    return ''
  return (f'Expected: an accuracy of at least {before - most:.4f} on {len(photos)} images, '
          f'--max_accuracy_drop={most:g} below that of the network. Received: '
          f'{found.accuracy:.4f}.')


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
