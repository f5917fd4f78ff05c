"""What a run leaves to look at: `metrics.csv` and TensorBoard's event files."""

from __future__ import annotations

import csv
import os
import pathlib
import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorboard.plugins.histogram import metadata

_COLUMNS = ('step', 'epoch', 'loss', 'objective', 'accuracy', 'learning_rate', 'images_per_second',
            'validation_loss', 'validation_top_1', 'validation_top_5', 'validation_mean_recall')
_BUCKETS = 30  # As many as TensorBoard makes.


class Recorder:
  """Writes scalars to both and histograms to TensorBoard."""

  def __init__(self, folder: pathlib.Path, *, step: int):
    """Opens the files; what `metrics.csv` holds of later steps is dropped, for they come again.

    Args:
      folder: the run's folder.
      step: the step that the run goes on from.
    """
    self._path = folder / 'metrics.csv'
    self._keep_until(step)
    self._events = tf.summary.create_file_writer(os.fsencode(folder))

  def _keep_until(self, step: int) -> None:
    rows = [row for row in _read_rows(self._path) if int(row['step']) <= step]
    aside = self._path.with_suffix('.csv.new')
    with open(aside, 'w', newline='', encoding='utf-8') as file:
      writer = csv.DictWriter(file, _COLUMNS, extrasaction='ignore')
      writer.writeheader()
      writer.writerows(rows)
    os.replace(aside, self._path)

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

  def flush(self) -> None:
    """Hands what was written to the disk."""
    self._events.flush()

  def close(self) -> None:
    """Closes the event file."""
    self._events.close()


def _read_rows(path: pathlib.Path) -> list[dict[str, str]]:
  """Reads the rows of `metrics.csv` that are whole, line by line: a full disk cuts them short.

  A table of something else is kept under another name, and it is said.
  """
  if not path.exists():
    return []
  # A crash of the machine may leave zeros at the end.
  lines = path.read_text(encoding='utf-8', errors='replace').replace('\0', '').splitlines()
  columns = lines[0].split(',') if lines else ['step']
  if 'step' not in columns:
    other = path.with_suffix('.csv.old')
    print(f'Warning: {path} holds something else than the measurements of a run. It is kept as '
          f'{other}.')
    os.replace(path, other)
  cells = [line.split(',') for line in lines[1:]]
  rows = [dict(zip(columns, row, strict=True)) for row in cells if len(row) == len(columns)]
  return [row for row in rows if re.fullmatch(r'[0-9]{1,18}', row.get('step', ''))]


def _write_histogram(tag: str, values: np.ndarray) -> None:
  """Writes what `tf.summary.histogram` does, which takes 240 bytes a number for that."""
  tf.summary.write(tag, count_buckets(values),
                   metadata=metadata.create_summary_metadata(display_name=None, description=None))


def count_buckets(values: np.ndarray) -> np.ndarray:
  """Counts numbers in buckets of the same width, as TensorBoard takes them.

  Args:
    values: float32 numbers in any shape. Those that are not finite are left out, as they are in
      no bucket: a gradient may have them in the step before the loss tells.

  Returns:
    float64 [30, 3]: left edge, right edge, count. Where all numbers are the same, so are the edges,
    and the last bucket has them.
  """
  if not np.isfinite([values.min(initial=0), values.max(initial=0)]).all():
    values = values[np.isfinite(values)]
  found = np.zeros((_BUCKETS, 3))
  if values.size:
    # As float64, in which there are thirty buckets between any two float32 numbers.
    low, high = np.float64(values.min()), np.float64(values.max())
    found[:, :2] = high
    found[-1, 2] = values.size
    if low < high:
      found[:, 2], edges = np.histogram(values, _BUCKETS, (low, high))
      found[:, 0], found[:, 1] = edges[:-1], edges[1:]
  return found
