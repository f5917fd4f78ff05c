"""Measurements of a run, in `metrics.csv`, `curves.png` and TensorBoard's event files."""

from __future__ import annotations

import csv
import os
import pathlib
import re
import time
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram import metadata
from tensorboard.plugins.hparams import api as hparams

from files.replacing import replacing
from slim_zoo.evaluation.outcomes import AnyOutcomes
from slim_zoo.training.pictures import Pictures

_COLUMNS = ('step', 'epoch', 'loss', 'objective', 'accuracy', 'learning_rate', 'images_per_second',
            'validation_loss', 'validation_top_1', 'validation_top_5', 'validation_mean_recall',
            'validation_mean_average_precision', 'validation_f1')
_BUCKETS = 30  # TensorBoard's default.
_PAUSE = 20  # The time between drawings is at least so many times that of one.


class Recorder:
  """Writes scalars to both, draws them, and writes histograms and pictures to TensorBoard."""

  def __init__(self, folder: pathlib.Path, *, step: int, pictures: Pictures | None = None,
               picture_seconds: float = 0.0):
    """Opens the files; drops later steps from `metrics.csv`, because they will be repeated.

    Args:
      folder: the run's folder.
      step: the step from which the run continues.
      pictures: what to draw from images; None for nothing.
      picture_seconds: time between them.
    """
    self._path = folder / 'metrics.csv'
    self._keep_until(step)
    self._events = tf.summary.create_file_writer(os.fsencode(folder))
    self._pictures, self._picture_seconds = pictures, picture_seconds
    self._drawn = self._pictured = time.monotonic()
    self._drawing_seconds = 0.0

  def _keep_until(self, step: int) -> None:
    rows = [row for row in _read_rows(self._path) if int(row['step']) <= step]
    with replacing(self._path) as aside, \
        open(aside, 'w', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, _COLUMNS, extrasaction='ignore')
      writer.writeheader()
      writer.writerows(rows)

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Writes one row; the keys are columns of `metrics.csv`."""
    with open(self._path, 'a', newline='', encoding='utf-8') as file:
      csv.DictWriter(file, _COLUMNS).writerow({'step': step, **values})
    with self._events.as_default(step):
      for name, value in values.items():
        if name != 'epoch':
          part, _, rest = name.partition('_')
          tf.summary.scalar(f'{part}/{rest}' if part == 'validation' else f'train/{name}', value)

  def histograms(self, step: int, variables: Mapping, gradients: Mapping) -> None:
    """Writes histograms of the trained variables and of their gradients."""
    with self._events.as_default(step):
      for name, gradient in gradients.items():
        _write_histogram(f'variables/{name}', variables[name].read_value().numpy())
        _write_histogram(f'gradients/{name}', np.asarray(gradient))

  def hyperparameters(self, values: Mapping[str, bool | int | float | str]) -> None:
    """Writes the settings of the run for TensorBoard's table of runs."""
    with self._events.as_default(0):  # Paths need not be UTF-8.
      hparams.hparams({
          name: os.fsencode(value).decode('utf-8', 'backslashreplace')
          if isinstance(value, str) else value for name, value in values.items()})

  def draw(self, step: int, epoch: int, outcomes: AnyOutcomes, *, is_last: bool = False) -> None:
    """Draws the curves and the pictures, each if it is time.

    Args:
      step: of the run.
      epoch: the epoch that the run is in.
      outcomes: of the validation.
      is_last: whether this is the last validation, for which there are pictures in any case.
    """
    if time.monotonic() - self._drawn >= _PAUSE * self._drawing_seconds:
      self.draw_curves()
    if self._pictures and (
        is_last or time.monotonic() - self._pictured >= self._picture_seconds):
      try:
        with self._events.as_default(step):
          for name, pixels in self._pictures.draw(step, epoch, outcomes):
            tf.summary.image(name, pixels[np.newaxis])
      except Exception as error:  # Nothing that is only shown may end a run.
        print(f'Warning: the pictures cannot be drawn: {error}')
      self._pictured = time.monotonic()

  def draw_curves(self) -> None:
    """Draws `curves.png`."""
    start = time.monotonic()
    from slim_zoo.report import curves  # Imports matplotlib, which takes a moment.
    try:
      curves.draw(self._path, self._path.with_name('curves.png'))
    except OSError as error:  # A full disk must not end a run before it saves, or says why not.
      print(f'Warning: the curves cannot be drawn: {error}')
    self._drawn = time.monotonic()
    self._drawing_seconds = self._drawn - start

  def flush(self) -> None:
    """Writes buffered events to the disk."""
    self._events.flush()

  def close(self) -> None:
    """Closes the event file."""
    self._events.close()


class NoRecorder(Recorder):
  """Writes nothing, for the workers that are not the chief."""

  def __init__(self):
    pass

  def scalars(self, step: int, values: Mapping[str, float]) -> None:
    """Does nothing."""

  def histograms(self, step: int, variables: Mapping, gradients: Mapping) -> None:
    """Does nothing."""

  def hyperparameters(self, values: Mapping[str, bool | int | float | str]) -> None:
    """Does nothing."""

  def draw(self, step: int, epoch: int, outcomes: AnyOutcomes, *, is_last: bool = False) -> None:
    """Does nothing."""

  def draw_curves(self) -> None:
    """Does nothing."""

  def flush(self) -> None:
    """Does nothing."""

  def close(self) -> None:
    """Does nothing."""


def _read_rows(path: pathlib.Path) -> list[dict[str, str]]:
  """Reads the complete rows of `metrics.csv`; a full disk may have cut some short.

  A table of something else is renamed, and a message is printed.
  """
  if not path.exists():
    return []
  # A machine crash may leave zeros at the end.
  lines = path.read_text(encoding='utf-8', errors='replace').replace('\0', '').splitlines()
  columns = lines[0].split(',') if lines else ['step']
  if 'step' not in columns:
    other = path.with_suffix('.csv.old')
    print(f'Warning: {path} does not contain the measurements of a run. It is kept as '
          f'{other}.')
    os.replace(path, other)
  cells = [line.split(',') for line in lines[1:]]
  rows = [dict(zip(columns, row, strict=True)) for row in cells if len(row) == len(columns)]
  return [row for row in rows if re.fullmatch(r'[0-9]{1,18}', row.get('step', ''))]


def _write_histogram(tag: str, values: np.ndarray) -> None:
  """Writes what `tf.summary.histogram` does, which needs 240 bytes per number."""
  tf.summary.write(tag, count_buckets(values),
                   metadata=metadata.create_summary_metadata(display_name=None, description=None))


def count_buckets(values: np.ndarray) -> np.ndarray:
  """Counts numbers in buckets of equal width, as TensorBoard expects them.

  Args:
    values: float32, any shape. Numbers that are not finite are left out, as they fit in no bucket:
      a gradient may contain them one step before the loss does.

  Returns:
    float64 [30, 3]: left edge, right edge, count. If all numbers are equal, so are the edges, and
    the last bucket counts them.
  """
  if not np.isfinite([values.min(initial=0), values.max(initial=0)]).all():
    values = values[np.isfinite(values)]
  found = np.zeros((_BUCKETS, 3))
  if values.size:
    # In float64 there is room for thirty buckets between any two float32 numbers.
    low, high = np.float64(values.min()), np.float64(values.max())
    found[:, :2] = high
    found[-1, 2] = values.size
    if low < high:
      found[:, 2], edges = np.histogram(values, _BUCKETS, (low, high))
      found[:, 0], found[:, 1] = edges[:-1], edges[1:]
  return found
