"""Which classes a network takes for which."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from slim_zoo.evaluation.outcomes import LabelOutcomes, Outcomes

MOST_CLASSES = 25  # A larger matrix is hard to read.


class Confusion(NamedTuple):
  """How often each class was taken for each.

  Attributes:
    labels: the classes, int64 [c], ascending.
    counts: int64 [c, c]; rows are the right classes, columns the predicted ones.
    totals: number of examples of each class, int64 [c]; more than the sums of the rows, if there
      are other classes.
  """
  labels: np.ndarray
  counts: np.ndarray
  totals: np.ndarray

  @property
  def shares(self) -> np.ndarray:
    """The share of each count among the examples of its row, float64 [c, c]."""
    return self.counts / np.maximum(self.totals[:, np.newaxis], 1)


def pair_counts(outcomes: Outcomes) -> list[tuple[int, int, int]]:
  """Lists (right class, predicted class, number of examples) of the pairs that occur, in order."""
  pairs, counts = np.unique(np.stack([outcomes.labels, outcomes.predicted], axis=1), axis=0,
                            return_counts=True)
  return [(label, predicted, count)
          for (label, predicted), count in zip(pairs.tolist(), counts.tolist(), strict=True)]


def confused_pairs(outcomes: Outcomes) -> list[tuple[int, int, int]]:
  """Lists (right class, predicted class, number of examples), the most frequent mistakes first."""
  mistakes = [row for row in pair_counts(outcomes) if row[0] != row[1]]
  return sorted(mistakes, key=lambda row: -row[2])


def missed_pairs(outcomes: LabelOutcomes) -> list[tuple[int, int, int]]:
  """Lists how often one class was missed and another wrongly predicted, the most frequent first.

  Returns:
    (missed class, predicted class, number of examples).
  """
  # As float32, for which there are fast products, and which is exact up to 16 million examples.
  missed = (outcomes.labels & ~outcomes.predicted).astype(np.float32)
  wrong = (outcomes.predicted & ~outcomes.labels).astype(np.float32)
  counts = (missed.T @ wrong).astype(np.int64)
  return sorted(((label, predicted, counts[label, predicted].item())
                 for label, predicted in np.argwhere(counts).tolist()), key=lambda row: -row[2])


def confusion(outcomes: Outcomes, most: int = MOST_CLASSES) -> Confusion:
  """Makes the confusion matrix of the classes that have examples or were predicted.

  Args:
    outcomes: of the examples.
    most: if there are more classes, at most so many, those of the most frequent mistakes.
  """
  labels = np.union1d(outcomes.labels, outcomes.predicted)
  if len(labels) > most:
    chosen: set[int] = set()
    for label, predicted, _ in confused_pairs(outcomes):
      if len(chosen | {label, predicted}) > most:
        break
      chosen |= {label, predicted}
    if not chosen:  # There is no mistake: those with the most examples.
      counted = np.bincount(outcomes.labels, minlength=outcomes.num_classes)
      chosen = {*np.argsort(-counted, kind='stable')[:most].tolist()}
    labels = np.array(sorted(chosen), np.int64)
  places = {label: place for place, label in enumerate(labels.tolist())}
  counts = np.zeros([len(labels)] * 2, np.int64)
  for label, predicted, count in pair_counts(outcomes):
    if label in places and predicted in places:
      counts[places[label], places[predicted]] = count
  totals = np.bincount(outcomes.labels, minlength=outcomes.num_classes)[labels]
  return Confusion(labels, counts, totals)
