"""Measuring a network whose images may have several labels, or none."""

from __future__ import annotations

import dataclasses

import numpy as np

from slim_zoo.evaluation.outcomes import THRESHOLD


@dataclasses.dataclass(frozen=True)
class MultiLabelMeasurement:
  """The result of an evaluation with several labels per image.

  Attributes:
    count: number of examples.
    loss: mean binary cross-entropy over examples and classes, in nats.
    class_counts: number of examples of each class, by the network's output.
    average_precisions: area under the curve of precision over recall of each class, as
      scikit-learn's `average_precision_score`; NaN for a class without examples.
    precision, recall: shares over all pairs of an example and a class, with a class predicted if
      its probability is above 0.5; 0 if nothing is predicted.
  """
  count: int
  loss: float
  class_counts: tuple[int, ...]
  average_precisions: tuple[float, ...]
  precision: float
  recall: float

  @property
  def mean_average_precision(self) -> float:
    """The mean over the classes that have examples."""
    return float(np.nanmean(self.average_precisions))

  @property
  def f1(self) -> float:
    """The harmonic mean of precision and recall."""
    total = self.precision + self.recall
    return 2 * self.precision * self.recall / total if total else 0.0

  def scalars(self) -> dict[str, float]:
    """Returns the metrics by the names under which they are logged and selected."""
    return {'mean_average_precision': self.mean_average_precision, 'f1': self.f1,
            'loss': self.loss}

  def facts(self) -> dict:
    """Returns what `eval.json` says of it."""
    return {'count': self.count, **self.scalars(), 'precision': self.precision,
            'recall': self.recall}

  def text(self) -> str:
    """Formats the metrics on one line."""
    return (f'mean average precision {self.mean_average_precision:.4f}, F1 {self.f1:.4f} '
            f'(precision {self.precision:.4f}, recall {self.recall:.4f} at {THRESHOLD:g}), loss '
            f'{self.loss:.4f} on {self.count} examples')


def measure(losses: np.ndarray, logits: np.ndarray, targets: np.ndarray) -> MultiLabelMeasurement:
  """Measures predictions.

  Args:
    losses: of the examples, [n].
    logits: [n, num_classes].
    targets: whether an example has a class, [n, num_classes].

  Raises:
    ValueError: if no example has a label.
  """
  from sklearn import metrics
  counts = targets.sum(0).astype(int)
  if not counts.any():
    raise ValueError('Nothing to evaluate: expected examples with labels. Received: none.')
  scores = np.nan_to_num(logits)  # Of a broken network, whose loss tells.
  precisions = [float(metrics.average_precision_score(targets[:, place], scores[:, place]))
                if count else np.nan for place, count in enumerate(counts)]
  predicted = scores > np.log(THRESHOLD / (1 - THRESHOLD))
  right = (predicted & (targets > 0)).sum()
  return MultiLabelMeasurement(
      len(losses), float(losses.mean()), tuple(counts.tolist()), tuple(precisions),
      float(right / max(predicted.sum(), 1)), float(right / counts.sum()))
