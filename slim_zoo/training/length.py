"""How long a run is: epochs become steps here, and nowhere else."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Length:
  """Converts epochs to steps.

  Attributes:
    num_examples: examples of an epoch.
    replica_batch_size: examples a step on one replica.
    num_replicas: how many replicas there are.
  """
  num_examples: int
  replica_batch_size: int
  num_replicas: int

  @property
  def batch_size(self) -> int:
    """Examples a step, over all replicas."""
    return self.replica_batch_size * self.num_replicas

  @property
  def steps_per_epoch(self) -> float:
    """Steps of one epoch; batches cross from one epoch into the next."""
    return self.num_examples / self.batch_size

  def last_step(self, epochs: float) -> int:
    """Counts the steps that so many epochs take, the last one begun included."""
    # Multiplied first: a whole number of steps must not come out a little above it.
    return math.ceil(epochs * self.num_examples / self.batch_size)

  def interval(self, epochs: float) -> int:
    """Counts the steps between events that many epochs apart, at least one."""
    return max(1, round(epochs * self.steps_per_epoch))

  def schedule_steps(self, epochs: float) -> int:
    """Counts the schedule's epochs in steps, with the batch of one replica, as TF-Slim does."""
    return int(epochs * self.num_examples / self.replica_batch_size)
