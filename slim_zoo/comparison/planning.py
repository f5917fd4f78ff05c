"""Which networks are tried in the time that there is."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Work:
  """What is left to do for one network.

  Attributes:
    num_missing: number of images without features.
    seconds_per_image: of their computation.
    setup_seconds: before the first of them.
    head_seconds: of the cross-validation; 0 if it is done.
  """
  num_missing: int
  seconds_per_image: float
  setup_seconds: float
  head_seconds: float

  @property
  def seconds(self) -> float:
    """All of it."""
    features = self.num_missing * self.seconds_per_image
    return features + self.head_seconds + (self.setup_seconds if self.num_missing else 0)


def choose(works: Sequence[Work], seconds: float) -> list[bool]:
  """Decides which networks are tried: in their order, each one that fits the time that is left.

  Args:
    works: of the networks, in the order in which they are tried.
    seconds: that are left. What takes no time is always done.

  Returns:
    Whether each is tried.
  """
  chosen = []
  for work in works:
    fits = work.seconds <= max(seconds, 0)
    seconds -= work.seconds if fits else 0
    chosen.append(fits)
  return chosen


def minutes(seconds: float) -> str:
  """Formats a duration in minutes, such as '3.2 minutes'."""
  return f'{max(seconds / 60, 0.1):.1f} minutes'
