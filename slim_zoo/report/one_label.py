"""The contents of a report about a network that predicts one class for each example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slim_zoo.evaluation.evaluator import Measurement
from slim_zoo.evaluation.outcomes import Outcomes
from slim_zoo.report import confusions, parts, statistics
from slim_zoo.report.galleries import FEW, MANY, Gallery, Shown
from slim_zoo.report.page import Fact, Matrix, Section, Table

_MOST_PAIRS = 50


def facts(found: Measurement, calibration: statistics.Calibration) -> list[Fact]:
  """Returns the numbers at the top."""
  count = found.count
  shares = sorted({1: found.top_1, found.k: found.top_k, **dict(found.more)}.items())
  return [*(parts.share(f'top-{k}', round(value * count), count) for k, value in shares),
          Fact('mean recall', f'{found.mean_recall:.4f}', 'over classes'),
          Fact('loss', f'{found.loss:.4f}', 'cross-entropy'),
          parts.calibration_error(calibration),
          Fact('examples', f'{count:,}', f'{found.num_present:,} classes')]


def sections(outcomes: Outcomes, class_names: Sequence[str],
             calibration: statistics.Calibration) -> list[Section]:
  """Returns the tables and plots."""
  classes = statistics.per_class(outcomes)
  matrix = confusions.confusion(outcomes)
  pairs = confusions.confused_pairs(outcomes)[:_MOST_PAIRS]
  return [
      parts.classes(classes, class_names, sorts=len(classes) > parts.MANY_CLASSES),
      Section('Confusion matrix', 'Rows are the right classes, columns the predicted ones; the '
              'shade is the share of the row.'
              + (f' The {len(matrix.labels)} classes that are confused most, of {len(classes)}; '
                 'confusion.csv has all.' if len(matrix.labels) < len(classes) else ''),
              matrix=Matrix([class_names[label] for label in matrix.labels], matrix)),
      *([Section('Most confused classes', '', table=Table(
          ('right class', 'predicted class', 'examples'), parts.pairs(pairs, class_names), 2))]
        if pairs else []),
      parts.calibration(calibration, 'How often predictions of each confidence are '
                        'right; on the dotted line, confidence equals accuracy.',
                        'confidence: probability of the predicted class')]


def calibrate(outcomes: Outcomes) -> statistics.Calibration:
  """Compares the probability of the most likely class with how often it is right."""
  return statistics.calibrate(outcomes.confidences, outcomes.is_right)


def galleries(outcomes: Outcomes, class_names: Sequence[str], labels: Sequence[str], *,
              comparison: statistics.Comparison | None, other: Sequence[str]) -> list[Gallery]:
  """Chooses the examples to show.

  Args:
    outcomes: of n examples.
    class_names: one distinct name per output.
    labels: the right class of each example, [n]; or the right classes.
    comparison: with another network.
    other: what that one predicts for each example, [n]; () for none.
  """
  def shown(numbers: np.ndarray, most: int) -> tuple[list[Shown], int]:
    return [Shown(number, int(outcomes.predicted[number]), [
        f'label: {labels[number]} ({outcomes.right[number]:.3f})',
        f'predicted: {class_names[outcomes.predicted[number]]} '
        f'({outcomes.confidences[number]:.3f})', *other[number:number + 1]])
            for number in numbers[:most].tolist()], len(numbers)

  wrong, right = np.flatnonzero(~outcomes.is_right), np.flatnonzero(outcomes.is_right)
  mistakes = wrong[np.argsort(-outcomes.confidences[wrong], kind='stable')]
  hits = right[np.argsort(outcomes.confidences[right], kind='stable')]
  found = []
  if comparison:
    found += [Gallery('Better than the other', 'Only this checkpoint is right.',
                      *shown(comparison.gained, FEW)),
              Gallery('Worse than the other', 'Only the other checkpoint is right.',
                      *shown(comparison.lost, FEW))]
  return [
      *found,
      Gallery('Most confident mistakes', 'With the probabilities of the label and of the '
              'predicted class, and the evidence for the latter (Grad-CAM).',
              *shown(mistakes, MANY)),
      Gallery('Least certain hits', 'Right, but with a low probability.', *shown(hits, FEW)),
      Gallery('Labels that may be wrong', 'As likely to be of another class as examples of that '
              'class are, and less likely to be of their own (confident learning).',
              *shown(statistics.suspects(outcomes), MANY))]


def says(outcomes: Outcomes, class_names: Sequence[str]) -> list[str]:
  """Returns what the network predicts for each example, [n]."""
  return [f'{class_names[predicted]} ({confidence:.3f})' for predicted, confidence in zip(
      outcomes.predicted.tolist(), outcomes.confidences.tolist(), strict=True)]
