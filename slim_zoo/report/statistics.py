"""Statistics of an evaluation, from what the network predicted for each example."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from scipy import stats
from sklearn import metrics

from slim_zoo.evaluation.outcomes import LabelOutcomes, Outcomes

_BINS = 15  # As in Guo et al. 2017.


class Interval(NamedTuple):
  """A share with its 95% confidence interval (Wilson 1927); all in [0, 1]."""
  share: float
  low: float
  high: float


def share(right: int, count: int) -> Interval:
  """Returns right / count with its interval."""
  interval = stats.binomtest(int(right), int(count)).proportion_ci(method='wilson')
  return Interval(right / count, float(interval.low), float(interval.high))


class Bin(NamedTuple):
  """The examples whose confidence is in (low, high].

  Attributes:
    low, high: bounds.
    num_examples: number of examples.
    confidence: their mean confidence; NaN if there are none.
    accuracy: share of them that are right; NaN if there are none.
  """
  low: float
  high: float
  num_examples: int
  confidence: float
  accuracy: float


class Calibration(NamedTuple):
  """How well confidence predicts accuracy.

  Attributes:
    bins: of the same width.
    error: the expected calibration error, in [0, 1] (Guo et al. 2017, arXiv:1706.04599, section 2).
  """
  bins: tuple[Bin, ...]
  error: float


def calibrate(confidences: np.ndarray, is_right: np.ndarray, num_bins: int = _BINS) -> Calibration:
  """Compares predicted probabilities with how often the predictions are right.

  Args:
    confidences: the probabilities of n predictions, float64 [n].
    is_right: whether they are right, bool [n].
    num_bins: number of bins.
  """
  edges = np.linspace(0, 1, num_bins + 1)
  numbers = np.clip(np.digitize(confidences, edges, right=True) - 1, 0, num_bins - 1)
  bins = []
  for number in range(num_bins):
    inside = numbers == number
    count = int(inside.sum())
    bins.append(Bin(float(edges[number]), float(edges[number + 1]), count,
                    float(confidences[inside].mean()) if count else np.nan,
                    float(is_right[inside].mean()) if count else np.nan))
  gaps = [one.num_examples * abs(one.accuracy - one.confidence) for one in bins
          if one.num_examples]
  return Calibration(tuple(bins), float(sum(gaps) / len(confidences)))


class OfClass(NamedTuple):
  """The results for one class.

  Attributes:
    label: the class.
    num_examples: number of its examples.
    num_predicted: number of examples that were taken for it.
    precision, recall, f1: in [0, 1]; 0 where they are not defined.
    interval: the recall's; None without examples.
  """
  label: int
  num_examples: int
  num_predicted: int
  precision: float
  recall: float
  f1: float
  interval: Interval | None


def per_class(outcomes: Outcomes) -> list[OfClass]:
  """Measures the classes that have examples or were predicted, in ascending order."""
  present = np.union1d(outcomes.labels, outcomes.predicted)
  precision, recall, f1, counts = metrics.precision_recall_fscore_support(
      outcomes.labels, outcomes.predicted, labels=present, zero_division=0)
  predicted = np.bincount(outcomes.predicted, minlength=outcomes.num_classes)
  right = np.bincount(outcomes.labels[outcomes.is_right], minlength=outcomes.num_classes)
  return [OfClass(label, count, int(predicted[label]), precision=precision[i].item(),
                  recall=recall[i].item(), f1=f1[i].item(),
                  interval=share(right[label], count) if count else None)
          for i, (label, count) in enumerate(zip(present.tolist(), counts.tolist(), strict=True))]


def per_label(outcomes: LabelOutcomes) -> list[OfClass]:
  """Measures each class of examples that may have several labels."""
  precision, recall, f1, counts = metrics.precision_recall_fscore_support(
      outcomes.labels, outcomes.predicted, average=None, zero_division=0)
  predicted = outcomes.predicted.sum(axis=0).tolist()
  right = (outcomes.predicted & outcomes.labels).sum(axis=0).tolist()
  return [OfClass(label, count, predicted[label], precision=precision[label].item(),
                  recall=recall[label].item(), f1=f1[label].item(),
                  interval=share(right[label], count) if count else None)
          for label, count in enumerate(counts.tolist())]


def suspects(outcomes: Outcomes) -> np.ndarray:
  """Finds examples whose label is probably wrong, by confident learning.

  An example counts as one of another class if its probability for this class is at least the mean
  that the class's own examples have for it (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068,
  section 3.1), and above that of its label. Only the most likely classes of an example are looked
  at.

  Returns:
    Numbers of the examples, int64, the most suspicious first: by the probability of the label
    minus that of the other class.
  """
  counts = np.bincount(outcomes.labels, minlength=outcomes.num_classes)
  sums = np.bincount(outcomes.labels, outcomes.right, minlength=outcomes.num_classes)
  # A class without examples has no threshold, and no example is counted as one of it.
  thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
  margins = np.where((outcomes.probabilities >= thresholds[outcomes.classes])
                     & (outcomes.classes != outcomes.labels[:, np.newaxis]),
                     outcomes.probabilities, 0).max(axis=1) - outcomes.right
  found = np.flatnonzero(margins > 0)
  return found[np.argsort(-margins[found], kind='stable')]


@dataclasses.dataclass(frozen=True)
class Comparison:
  """Two networks on the same n examples.

  Attributes:
    gained: numbers of the examples that only the first gets right.
    lost: numbers of those that only the second gets right.
    p_value: of the exact McNemar test (McNemar 1947) that both are right equally often; 1 if there
      is no difference.
  """
  gained: np.ndarray
  lost: np.ndarray
  p_value: float


def compare(first: np.ndarray, second: np.ndarray) -> Comparison:
  """Compares two networks on the same examples.

  Args:
    first, second: whether each of them is right, bool [n].

  Raises:
    ValueError: if they are not the same number.
  """
  if len(first) != len(second):
    raise ValueError(f'Expected the same examples. Received: {len(first)} and {len(second)}.')
  gained, lost = np.flatnonzero(first & ~second), np.flatnonzero(second & ~first)
  total = len(gained) + len(lost)
  p_value = float(stats.binomtest(len(gained), total).pvalue) if total else 1.0
  return Comparison(gained, lost, p_value)
