"""The result of a comparison as a table."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Sequence

import tabulate

from files.replacing import replacing
from slim_zoo.report.statistics import Interval
from slim_zoo.report.texts import shortened

_MOST = 40  # Characters of the weights' name in the printed table.


@dataclasses.dataclass(frozen=True)
class Row:
  """The result for one network.

  Attributes:
    network: its name.
    weights: as the user named them.
    accuracy: with its interval; None if it was not tried.
    short_name: the weights without their directory.
    num_classes: number of classes.
    latency_ms: milliseconds for an image alone.
    num_bytes, parameters: size of the network with its classifier.
    image_size: height and width of the images.
    width: number of features of an image.
    minutes: what features and classifiers took; None if it was not tried.
    note: best, and the like.
    is_good: whether it is the best, or not distinguishable from it.
  """
  network: str
  weights: str
  accuracy: Interval | None
  _: dataclasses.KW_ONLY
  short_name: str
  num_classes: int
  latency_ms: float
  num_bytes: int
  parameters: int
  image_size: int
  width: int
  minutes: float | None
  note: str
  is_good: bool = False


def sort(rows: Sequence[Row]) -> list[Row]:
  """Sorts rows by accuracy, those that were not tried last; keeps the order of equal ones."""
  return sorted(rows, key=lambda row: -row.accuracy.share if row.accuracy else 1)


def text(rows: Sequence[Row]) -> str:
  """Formats the table for a terminal."""
  cells = []
  for row in rows:
    share, low, high = row.accuracy or (None, None, None)
    cells.append((
        row.network, shortened(row.short_name, _MOST), '–' if share is None else f'{share:.4f}',
        '–' if low is None else f'{low:.3f}–{high:.3f}', row.num_classes, f'{row.latency_ms:.1f}',
        f'{row.num_bytes / 1e6:.1f}', f'{row.parameters:,}', row.image_size, row.width,
        '–' if row.minutes is None else f'{row.minutes:.1f}', row.note))
  headers = ('network', 'weights', 'accuracy', '95% interval', 'classes', 'ms per image', 'MB',
             'parameters', 'image size', 'features', 'minutes', 'note')
  return tabulate.tabulate(cells, headers, 'simple', disable_numparse=True,
                           colalign=('left', 'left', *['right'] * 9, 'left'))


def write(path: pathlib.Path, rows: Sequence[Row]) -> None:
  """Writes the table as a CSV file, with unrounded numbers.

  Raises:
    OSError: if it cannot be written.
  """
  with replacing(path) as aside, \
      open(aside, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file:
    writer = csv.writer(file)
    writer.writerow(['network', 'weights', 'accuracy', 'accuracy_low', 'accuracy_high', 'classes',
                     'ms_per_image', 'megabytes', 'parameters', 'image_size', 'feature_width',
                     'minutes', 'note'])
    for row in rows:
      writer.writerow([
          row.network, row.weights, *(row.accuracy or ('', '', '')), row.num_classes,
          f'{row.latency_ms:.3f}', f'{row.num_bytes / 1e6:.3f}', row.parameters, row.image_size,
          row.width, '' if row.minutes is None else f'{row.minutes:.2f}', row.note])
