"""The tables of a report, as CSV files."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from files.replacing import replacing
from slim_zoo.evaluation.outcomes import AnyOutcomes, LabelOutcomes, Outcomes
from slim_zoo.report import confusions, parts, statistics


def write(folder: pathlib.Path, outcomes: AnyOutcomes, *, names: Sequence[str],
          class_names: Sequence[str]) -> None:
  """Writes `predictions.csv`, `per_class.csv` and `confusion.csv`.

  `predictions.csv` has a row for each example: its name, its class, the predicted class and the
  probabilities of both, the number of classes that are more likely than its own, the loss, and the
  most likely classes with their probabilities. `confusion.csv` has a row for each pair of classes
  that occurs.

  If examples may have several labels, `predictions.csv` has all labels, all predicted classes, the
  loss and the probability of each class; and `confusion.csv` has the pairs of a class that is
  missed and another that is predicted instead.

  Args:
    folder: exists.
    outcomes: of n examples.
    names: their names, [n].
    class_names: one distinct name per output.
  """
  if isinstance(outcomes, LabelOutcomes):
    _write(folder / 'predictions.csv',
           ['image', 'labels', 'predicted', 'loss', *(f'probability_{n}' for n in class_names)],
           _several_predictions(outcomes, names, class_names))
    _write_pairs(folder, confusions.missed_pairs(outcomes), class_names, heading='missed')
    _write_classes(folder, statistics.per_label(outcomes), class_names)
    return
  count = outcomes.classes.shape[1]
  numbered = [f'{text}_{number}' for number in range(1, count + 1)
              for text in ('class', 'probability')]
  _write(folder / 'predictions.csv',
         ['image', 'label', 'predicted', 'probability_of_label', 'confidence', 'rank', 'loss',
          *numbered],
         _predictions(outcomes, names, class_names))
  _write_pairs(folder, confusions.pair_counts(outcomes), class_names, heading='label')
  _write_classes(folder, statistics.per_class(outcomes), class_names)


def _write_classes(folder: pathlib.Path, rows: Iterable[statistics.OfClass],
                   class_names: Sequence[str]) -> None:
  _write(folder / 'per_class.csv',
         ['class', 'examples', 'predicted', 'precision', 'recall', 'recall_low', 'recall_high',
          'f1'],
         ([class_names[row.label], row.num_examples, row.num_predicted, row.precision, row.recall,
           *(row.interval[1:] if row.interval else ('', '')), row.f1] for row in rows))


def _write_pairs(folder: pathlib.Path, pairs: Iterable[tuple[int, int, int]],
                 class_names: Sequence[str], *, heading: str) -> None:
  _write(folder / 'confusion.csv', [heading, 'predicted', 'examples'],
         ([class_names[label], class_names[predicted], count]
          for label, predicted, count in pairs))


def _several_predictions(outcomes: LabelOutcomes, names: Sequence[str], class_names: Sequence[str]
                         ) -> Iterable[list]:
  columns = (names, outcomes.labels, outcomes.predicted, outcomes.losses.tolist(),
             outcomes.probabilities)
  for name, labels, predicted, loss, probabilities in zip(*columns, strict=True):
    yield [name, *(parts.listed(row, class_names) for row in (labels, predicted)), loss,
           *map(str, probabilities)]


def _predictions(outcomes: Outcomes, names: Sequence[str], class_names: Sequence[str]
                 ) -> Iterable[list]:
  columns = (names, outcomes.labels.tolist(), outcomes.right.tolist(), outcomes.ranks.tolist(),
             outcomes.losses.tolist(), outcomes.classes.tolist(), outcomes.probabilities.tolist())
  for name, label, right, rank, loss, classes, probabilities in zip(*columns, strict=True):
    best: list[Any] = []
    for a_class, probability in zip(classes, probabilities, strict=True):
      best += [class_names[a_class], probability]
    yield [name, class_names[label], class_names[classes[0]], right, probabilities[0], rank, loss,
           *best]


def _write(path: pathlib.Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
  # Names of files need not be UTF-8; they are written as they are.
  with replacing(path) as aside, \
      open(aside, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file:
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows(rows)
