"""What a network predicted for every single example, for reports."""

from __future__ import annotations

import dataclasses

import numpy as np

THRESHOLD = 0.5  # Of the probability, above which one of several classes is predicted.


@dataclasses.dataclass(frozen=True)
class Outcomes:
  """What a network that predicts one class predicted for n examples.

  Attributes:
    labels: the right class, int64 [n], a number in [0, num_classes); of several right ones, the one
      that the network finds most likely.
    losses: the cross-entropy, float64 [n], in nats.
    ranks: number of classes that are more likely than the right one, int64 [n].
    right: the probability of the right class, float64 [n].
    classes: the most likely classes, int64 [n, k], the most likely first.
    probabilities: theirs, float64 [n, k].
    num_classes: number of the network's outputs.
  """
  labels: np.ndarray
  losses: np.ndarray
  ranks: np.ndarray
  right: np.ndarray
  classes: np.ndarray
  probabilities: np.ndarray
  num_classes: int

  @property
  def is_right(self) -> np.ndarray:
    """Whether the most likely class is the right one, bool [n]."""
    return self.ranks == 0

  @property
  def predicted(self) -> np.ndarray:
    """The most likely class, int64 [n]."""
    return self.classes[:, 0]

  @property
  def confidences(self) -> np.ndarray:
    """Its probability, float64 [n]."""
    return self.probabilities[:, 0]


@dataclasses.dataclass(frozen=True)
class LabelOutcomes:
  """What a network predicted for n examples that may have several labels, or none.

  Attributes:
    losses: the binary cross-entropy, float64 [n], in nats, the mean over the classes.
    probabilities: of each class, float32 [n, num_classes].
    labels: whether an example has a class, bool [n, num_classes].
  """
  losses: np.ndarray
  probabilities: np.ndarray
  labels: np.ndarray

  @property
  def predicted(self) -> np.ndarray:
    """Whether a class is predicted, bool [n, num_classes]."""
    return self.probabilities > THRESHOLD

  @property
  def is_right(self) -> np.ndarray:
    """Whether exactly the right classes are predicted, bool [n]."""
    return (self.predicted == self.labels).all(axis=1)


AnyOutcomes = Outcomes | LabelOutcomes
