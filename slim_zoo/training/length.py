"""Length of a run: the only place where epochs become steps."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Length:
  """Converts epochs to steps.

  Attributes:
    num_examples: examples per epoch.
    replica_batch_size: examples per step on one replica.
    num_replicas: number of replicas.
    batches_per_step: number of batches whose gradients are added up for a step.
  """
  num_examples: int
  replica_batch_size: int
  num_replicas: int
  batches_per_step: int = 1

  @property
  def batch_size(self) -> int:
    """Examples per step, over all replicas."""
    return self.replica_batch_size * self.num_replicas * self.batches_per_step

  @property
  def steps_per_epoch(self) -> float:
    """Steps per epoch; a batch may span two epochs."""
    return self.num_examples / self.batch_size

  def last_step(self, epochs: float) -> int:
    """Counts the steps of that many epochs, rounded up."""
    # Multiplied first, so that rounding errors do not push a whole number of steps above itself.
    return math.ceil(epochs * self.num_examples / self.batch_size)

  def interval(self, epochs: float) -> int:
    """Counts the steps between events that are that many epochs apart; at least 1."""
    return max(1, round(epochs * self.steps_per_epoch))

  def schedule_steps(self, epochs: float) -> int:
    """Converts --num_epochs_per_decay to steps of one replica's batch, as TF-Slim does."""
    return int(epochs * self.num_examples / (self.replica_batch_size * self.batches_per_step))
