"""An evaluation with all that a report needs of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from slim_zoo.evaluation.evaluator import AnyMeasurement
from slim_zoo.evaluation.outcomes import AnyOutcomes


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """An evaluation of one checkpoint.

  Attributes:
    checkpoint: its path.
    found: the measurement.
    outcomes: of its examples, [n].
    class_names: one distinct name per output.
    seconds: how long the evaluation took.
  """
  checkpoint: str
  found: AnyMeasurement
  outcomes: AnyOutcomes
  class_names: Sequence[str]
  seconds: float
