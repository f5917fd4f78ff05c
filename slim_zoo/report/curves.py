"""Curves of a run: what it measured over its epochs, and the evaluations of its checkpoints."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from files.replacing import replacing

# The columns of `metrics.csv` in each plot, with their names in the legend.
_PLOTS: dict[str, dict[str, str]] = {
    'loss': {'loss': 'training', 'validation_loss': 'validation'},
    'accuracy': {'accuracy': 'training', 'validation_top_1': 'validation, top-1',
                 'validation_mean_recall': 'validation, mean recall',
                 'validation_mean_average_precision': 'validation, mean average precision'},
    'learning rate': {'learning_rate': ''}}
_DPI = 110
_STYLE: Any = {'font.size': 8, 'axes.grid': True, 'grid.alpha': 0.3}


def draw(metrics: pathlib.Path, path: pathlib.Path) -> None:
  """Draws what a run has measured so far.

  Args:
    metrics: its `metrics.csv`.
    path: the .png file.

  Raises:
    OSError: if a file cannot be read or written.
  """
  with metrics.open(newline='', encoding='utf-8', errors='replace') as file:
    rows = list(csv.DictReader(file))
  _draw(path, 'epoch', {title: [_Line(name, *_points(rows, column),
                                      is_marked=column.startswith('validation'))
                                for column, name in columns.items()]
                        for title, columns in _PLOTS.items()})


def draw_checkpoints(rows: Sequence[tuple[int, Mapping[str, float]]], path: pathlib.Path) -> None:
  """Draws the evaluations of several checkpoints over their steps.

  Args:
    rows: the step and the metrics of each, with equal names.
    path: the .png file.

  Raises:
    OSError: if the file cannot be written.
  """
  rows = sorted(rows, key=lambda row: row[0])
  steps = [float(step) for step, _ in rows]

  def line(name: str, label: str) -> _Line:
    return _Line(label, steps, [metrics[name] for _, metrics in rows], is_marked=True)

  _draw(path, 'step', {
      'accuracy': [line(name, name.replace('_', '-' if name.startswith('top_') else ' '))
                   for name in rows[0][1] if name != 'loss'],
      'loss': [line('loss', '')]})


class _Line(NamedTuple):
  """A line of a plot; an empty name is not in the legend."""
  name: str
  places: Sequence[float]
  values: Sequence[float]
  is_marked: bool


def _draw(path: pathlib.Path, axis: str, plots: Mapping[str, Sequence[_Line]]) -> None:
  """Draws plots side by side, by their titles."""
  with mpl.rc_context(_STYLE), replacing(path) as aside:
    figure = Figure(figsize=(1 + 3.4 * len(plots), 3), layout='constrained')
    for axes, (title, lines) in zip(figure.subplots(1, len(plots)), plots.items(), strict=True):
      for line in lines:
        if line.values:
          axes.plot(line.places, line.values, label=line.name,
                    linewidth=1.5 if line.is_marked else 1, markersize=3,
                    marker='o' if line.is_marked or len(line.values) == 1 else None)
      axes.set(title=title, xlabel=axis)
      if any(line.values and line.name for line in lines):
        axes.legend()
    figure.savefig(aside, format='png', dpi=_DPI)


def _points(rows: Sequence[dict], column: str) -> tuple[list[float], list[float]]:
  """Returns the epochs and the values of a column, without the rows that have none."""
  points = [(float(row['epoch']), float(row[column])) for row in rows
            if row.get('epoch') and row.get(column)]
  return [epoch for epoch, _ in points], [value for _, value in points]
