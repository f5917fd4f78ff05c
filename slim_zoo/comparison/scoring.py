"""How good networks are: cross-validated accuracies, and which differ from the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from slim_zoo.report import statistics

KIND = 'logistic_regression'
# Level of the tests.
ALPHA = 0.05


@dataclasses.dataclass(frozen=True)
class Score:
  """The accuracy of one network.

  Attributes:
    is_right: whether each image was predicted right, by a classifier that was fitted without it;
      bool [n].
    strengths: the strength that was chosen in each fold.
    num_stopped: number of fits that stopped before they converged.
  """
  is_right: np.ndarray
  strengths: Sequence[float]
  num_stopped: int = 0

  @property
  def accuracy(self) -> statistics.Interval:
    """The share of right predictions, with its interval."""
    return statistics.share(int(self.is_right.sum()), len(self.is_right))


@dataclasses.dataclass(frozen=True)
class Verdict:
  """A network, compared with the best.

  Attributes:
    is_best: whether it is the best itself.
    p_value: of McNemar's exact test that both are right equally often, corrected for the number of
      networks by Holm's method (Holm 1979); 1 for the best.
  """
  is_best: bool
  p_value: float

  @property
  def is_distinguishable(self) -> bool:
    """Whether it is less accurate than the best, beyond chance."""
    return self.p_value < ALPHA

  def text(self) -> str:
    """Says so in a few words."""
    if self.is_best:
      return 'best'
    p_value = 'p < 0.001' if self.p_value < 0.001 else f'p = {self.p_value:.3f}'
    return ('less accurate' if self.is_distinguishable else 'not distinguishable from the best'
            ) + f' ({p_value})'


def judge(scores: Mapping[str, Score]) -> dict[str, Verdict]:
  """Compares all networks with the best.

  Args:
    scores: of the networks, on the same images, the preferred ones first: of two that are equally
      accurate, the earlier one is the best.
  """
  if not scores:
    return {}
  best = max(scores, key=lambda name: int(scores[name].is_right.sum()))
  tested = {name: statistics.compare(scores[best].is_right, score.is_right).p_value
            for name, score in scores.items() if name != best}
  corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
  return {name: Verdict(name == best, corrected.get(name, 1.0)) for name in scores}


def holm(p_values: Sequence[float]) -> list[float]:
  """Corrects p-values for their number (Holm 1979): a test may be wrong in any of them.

  Args:
    p_values: of several tests.

  Returns:
    The p-values to compare with the level, in the same order.
  """
  corrected, largest = [1.0] * len(p_values), 0.0
  for rank, place in enumerate(np.argsort(p_values, kind='stable').tolist()):
    largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
    corrected[place] = largest
  return corrected
