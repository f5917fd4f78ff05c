"""The picture of a comparison: accuracy over the time for an image."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter, ScalarFormatter

from files.replacing import replacing
from slim_zoo.comparison.results import Row
from slim_zoo.report.texts import shortened

_DPI = 120
_STYLE: Any = {'font.size': 9, 'axes.grid': True, 'grid.alpha': 0.3, 'text.parse_math': False}
_GOOD, _WORSE = '#1a7f37', '#8c8c8c'
_MOST = 34  # Characters of a name.
# Area of a marker in square points: of a small network, per megabyte, and at most.
_AREA, _AREA_PER_MB, _LARGEST = 30.0, 2.0, 900.0
_LINE = 2.3  # Height of a label's two lines, in sizes of the font.


def draw(path: pathlib.Path, rows: Sequence[Row]) -> None:
  """Draws the networks that were tried; names the others below.

  Args:
    path: a .png file.
    rows: one or more, at least one of which has an accuracy.

  Raises:
    OSError: if it cannot be written.
  """
  tried = [row for row in rows if row.accuracy]
  with mpl.rc_context(_STYLE), replacing(path) as aside:
    figure = Figure(figsize=(8.5, 5), dpi=_DPI, layout='constrained')
    axes = figure.subplots()
    for row in tried:
      _mark(axes, row)
    times = [row.latency_ms for row in tried]
    # Room for the names beside the markers.
    axes.set(xscale='log', xlim=_limits(times),
             xlabel='milliseconds per image: the network alone, one image at a time',
             ylabel='cross-validated accuracy, with 95% interval')
    _label_times(axes, times)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.margins(y=0.12)
    left_out = [shortened(row.network, _MOST) for row in rows if not row.accuracy]
    axes.set_title('Green: the best, and what cannot be distinguished from it. '
                   'Area: size of the network.'
                   + (f'\nNot tried: {", ".join(left_out)}.' if left_out else ''), fontsize=9)
    figure.draw_without_rendering()  # Settles the scales that labels are placed by.
    _name(axes, tried)
    figure.savefig(aside, format='png')


def _mark(axes: Any, row: Row) -> None:
  """Draws one network with its interval."""
  share, low, high = row.accuracy or (np.nan,) * 3
  color = _GOOD if row.is_good else _WORSE
  axes.errorbar(row.latency_ms, share, yerr=[[share - low], [high - share]], color=color,
                capsize=3, linewidth=1.2, zorder=2)
  axes.scatter(row.latency_ms, share, color=color, alpha=0.6, zorder=3, linewidth=0,
               s=min(_AREA + _AREA_PER_MB * row.num_bytes / 1e6, _LARGEST))


def _limits(times: Sequence[float]) -> tuple[float, float]:
  return min(times) / 2, max(times) * 2


def _label_times(axes: Any, times: Sequence[float]) -> None:
  """Labels a logarithmic axis with plain numbers."""
  low, high = _limits(times)
  places = [digit * 10.0 ** power for power in range(-3, 7) for digit in (1, 2, 5)]
  axes.set_xticks([place for place in places if low <= place <= high])
  axes.xaxis.set_major_formatter(ScalarFormatter())
  axes.xaxis.set_minor_locator(NullLocator())


def _name(axes: Any, rows: Sequence[Row]) -> None:
  """Writes the names beside the markers; those that would overlap are moved apart."""
  height = _LINE * mpl.rcParams['font.size'] * axes.figure.dpi / 72
  points = axes.transData.transform([(row.latency_ms, row.accuracy.share)  # type: ignore[union-attr]
                                     for row in rows])
  middle, lowest = axes.bbox.x0 + axes.bbox.width / 2, -np.inf
  for place in np.argsort(points[:, 1], kind='stable').tolist():
    row, y = rows[place], points[place, 1]
    lowest = max(lowest + height, y)
    radius = np.sqrt(min(_AREA + _AREA_PER_MB * row.num_bytes / 1e6, _LARGEST)) / 2
    side = 1 if points[place, 0] <= middle else -1
    axes.annotate(
        f'{shortened(row.network, _MOST)}, {row.image_size}×{row.image_size}\n'
        f'{shortened(row.short_name, _MOST)}, {row.num_bytes / 1e6:.1f} MB',
        xy=(row.latency_ms, row.accuracy.share),
        xytext=(side * (radius + 8), (lowest - y) * 72 / axes.figure.dpi),
        textcoords='offset points', ha='left' if side > 0 else 'right', va='center', fontsize=8,
        arrowprops={'arrowstyle': '-', 'color': '#b0b0b0', 'linewidth': 0.6}
        if lowest > y + 1 else None)
