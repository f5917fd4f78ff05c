"""Parts that all reports have in common."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from slim_zoo.report import pictures, statistics
from slim_zoo.report.page import Cell, Fact, Section, Table

SEPARATOR = ' | '  # Between several classes of an example.
MANY_CLASSES = 25  # More are shown in order of their recall.


def listed(is_listed: np.ndarray, class_names: Sequence[str]) -> str:
  """Names the classes for which a bool [num_classes] is true."""
  return SEPARATOR.join(class_names[label] for label in np.flatnonzero(is_listed).tolist())


def share(name: str, right: int, count: int) -> Fact:
  """Returns a share with its confidence interval."""
  interval = statistics.share(right, count)
  return Fact(name, f'{interval.share:.4f}', f'{interval.low:.4f} to {interval.high:.4f}')


def calibration_error(found: statistics.Calibration) -> Fact:
  """Returns the expected calibration error."""
  return Fact('calibration error', f'{found.error:.4f}', f'{len(found.bins)} bins')


def classes(found: Sequence[statistics.OfClass], class_names: Sequence[str], *, sorts: bool,
            more: tuple[str, Sequence[Cell]] | None = None) -> Section:
  """Makes the table of the classes.

  Args:
    found: the classes.
    class_names: one distinct name per output.
    sorts: whether to sort them by recall, the worst first, and then those without examples.
    more: the heading of a further column, and its cell for each output.
  """
  rows = sorted(found, key=lambda row: (row.interval is None, row.recall)) if sorts else found
  heading, column = more or ('', ())
  return Section(
      'Classes', 'Click on a heading to sort. Intervals are 95% confidence intervals of the '
      'recall.', table=Table(
          ('class', 'examples', 'predicted', 'precision', 'recall', 'interval', 'F1',
           *([heading] if more else [])),
          [_of_class(row, class_names[row.label], column[row.label:row.label + 1])
           for row in rows]))


def _of_class(row: statistics.OfClass, name: str, more: Iterable[Cell]) -> list[Cell]:
  none = Cell('–', -1)
  return [Cell(name), Cell(str(row.num_examples)), Cell(str(row.num_predicted)),
          Cell(f'{row.precision:.4f}'), Cell(f'{row.recall:.4f}') if row.interval else none,
          Cell(f'{row.interval.low:.3f}–{row.interval.high:.3f}', row.interval.low)
          if row.interval else none, Cell(f'{row.f1:.4f}'), *more]


def pairs(found: Iterable[tuple[int, int, int]], class_names: Sequence[str]) -> list[list[Cell]]:
  """Returns the rows of a table of confused classes."""
  return [[Cell(class_names[label]), Cell(class_names[predicted]), Cell(str(count))]
          for label, predicted, count in found]


def calibration(found: statistics.Calibration, note: str, axis: str) -> Section:
  """Makes the plot of a calibration, with the name of its horizontal axis."""
  return Section('Calibration', note, plot=pictures.draw_calibration(found, axis))
