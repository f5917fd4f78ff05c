"""The contents of a report about a network for examples with several labels, or none."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from slim_zoo.evaluation.multi_label import MultiLabelMeasurement
from slim_zoo.evaluation.outcomes import LabelOutcomes
from slim_zoo.report import confusions, parts, statistics
from slim_zoo.report.galleries import FEW, MANY, Gallery, Shown
from slim_zoo.report.page import Cell, Fact, Section, Table

_MOST_PAIRS = 50


def facts(found: MultiLabelMeasurement, outcomes: LabelOutcomes,
          calibration: statistics.Calibration) -> list[Fact]:
  """Returns the numbers at the top."""
  return [Fact('mean average precision', f'{found.mean_average_precision:.4f}', 'over classes'),
          Fact('F1', f'{found.f1:.4f}', f'precision {found.precision:.4f}, recall '
               f'{found.recall:.4f}'),
          parts.share('exactly right', int(outcomes.is_right.sum()), found.count),
          Fact('loss', f'{found.loss:.4f}', 'binary cross-entropy'),
          parts.calibration_error(calibration),
          Fact('examples', f'{found.count:,}', f'{outcomes.labels.sum():,} labels')]


def sections(found: MultiLabelMeasurement, outcomes: LabelOutcomes, *,
             class_names: Sequence[str], calibration: statistics.Calibration) -> list[Section]:
  """Returns the tables and plots."""
  pairs = confusions.missed_pairs(outcomes)[:_MOST_PAIRS]
  return [
      parts.classes(statistics.per_label(outcomes), class_names,
                    sorts=len(class_names) > parts.MANY_CLASSES,
                    more=('average precision', [_number(value)
                                                for value in found.average_precisions])),
      *([Section('Most confused classes', 'In the same image, one class was missed and another was '
                 'wrongly predicted.', table=Table(
                     ('missed class', 'predicted class', 'examples'),
                     parts.pairs(pairs, class_names), 2))] if pairs else []),
      parts.calibration(calibration, 'How often images have a class, by its '
                        'probability, over all images and classes; on the dotted line, both are '
                        'equal.', 'probability of a class')]


def _number(value: float) -> Cell:
  return Cell('–', -1) if np.isnan(value) else Cell(f'{value:.4f}')


def calibrate(outcomes: LabelOutcomes) -> statistics.Calibration:
  """Compares the probability of each class with how often examples have it."""
  return statistics.calibrate(outcomes.probabilities.ravel(), outcomes.labels.ravel())


def galleries(outcomes: LabelOutcomes, class_names: Sequence[str], labels: Sequence[str], *,
              comparison: statistics.Comparison | None, other: Sequence[str]) -> list[Gallery]:
  """Chooses the examples to show; see `one_label.galleries` for the arguments."""
  predicted, probabilities = _predicted(outcomes, class_names), outcomes.probabilities

  def shown(pairs: np.ndarray, most: int) -> tuple[list[Shown], int]:
    return [Shown(number, label, [
        f'{class_names[label]}: {probabilities[number, label]:.3f}',
        f'labels: {labels[number] or "none"}', f'predicted: {predicted[number] or "none"}',
        *other[number:number + 1]]) for number, label in pairs[:most].tolist()], len(pairs)

  def of_examples(numbers: np.ndarray) -> tuple[list[Shown], int]:
    """Shows examples with the class that differs most from what it should be."""
    gaps = np.abs(outcomes.labels - probabilities)[numbers]
    return shown(np.stack([numbers, gaps.argmax(axis=1)], axis=1), FEW)

  wrong = np.argwhere(outcomes.predicted & ~outcomes.labels)
  missed = np.argwhere(outcomes.labels & ~outcomes.predicted)
  found = []
  if comparison:
    found += [Gallery('Better than the other', 'Only this checkpoint predicts exactly the right '
                      'classes.', *of_examples(comparison.gained)),
              Gallery('Worse than the other', 'Only the other checkpoint predicts exactly the '
                      'right classes.', *of_examples(comparison.lost))]
  return [
      *found,
      Gallery('Most confidently wrong', 'Classes that are predicted and are not among the '
              'labels, with the evidence for them (Grad-CAM). Perhaps labels are missing.',
              *shown(_sorted(wrong, -probabilities), MANY)),
      Gallery('Most clearly missed', 'Labels with the lowest probabilities. Perhaps they are '
              'wrong.', *shown(_sorted(missed, probabilities), MANY))]


def _sorted(pairs: np.ndarray, by: np.ndarray) -> np.ndarray:
  """Sorts pairs of an example and a class by a number for each, the lowest first."""
  return pairs[np.argsort(by[tuple(pairs.T)], kind='stable')]


def _predicted(outcomes: LabelOutcomes, class_names: Sequence[str]) -> list[str]:
  return [parts.listed(row, class_names) for row in outcomes.predicted]


def says(outcomes: LabelOutcomes, class_names: Sequence[str]) -> list[str]:
  """Returns what the network predicts for each example, [n]."""
  return [text or 'none' for text in _predicted(outcomes, class_names)]
