"""The curves of a training run: loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

import csv
import logging
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from files.replacing import replacing

logging.getLogger('matplotlib').setLevel(logging.WARNING)  # It says when it looks for fonts.

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
  with mpl.rc_context(_STYLE), replacing(path) as aside:
    figure = Figure(figsize=(11, 3), layout='constrained')
    for axes, (title, columns) in zip(figure.subplots(1, len(_PLOTS)), _PLOTS.items(), strict=True):
      for column, name in columns.items():
        epochs, values = _points(rows, column)
        if values:
          is_validation = column.startswith('validation')
          axes.plot(epochs, values, label=name, linewidth=1.5 if is_validation else 1,
                    marker='o' if is_validation or len(values) == 1 else None, markersize=3)
      axes.set(title=title, xlabel='epoch')
      if any(line.get_label()[:1] != '_' for line in axes.lines) and len(columns) > 1:
        axes.legend()
    figure.savefig(aside, format='png', dpi=_DPI)


def _points(rows: Sequence[dict], column: str) -> tuple[list[float], list[float]]:
  """Returns the epochs and the values of a column, without the rows that have none."""
  points = [(float(row['epoch']), float(row[column])) for row in rows
            if row.get('epoch') and row.get(column)]
  return [epoch for epoch, _ in points], [value for _, value in points]
