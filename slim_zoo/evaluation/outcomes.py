"""What a network said of every single example, for reports."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outcomes:
  """What a network said of n examples with one label each.

  Attributes:
    labels: the right class, int64 [n], a number in [0, num_classes).
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
