"""A training run that is ready to train."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from slim_zoo.config.flag_values import kept_of
from slim_zoo.config.option import absolute
from slim_zoo.config.programs import Train
from slim_zoo.evaluation.evaluator import Evaluator
from slim_zoo.training import loop, metadata
from slim_zoo.training.inputs import Split
from slim_zoo.training.length import Length
from slim_zoo.training.pictures import Pictures
from slim_zoo.training.trainer import Trainer
from slim_zoo.training.workers import Workers
from slim_zoo.weights import kept_heads, sources


@dataclasses.dataclass(frozen=True)
class Origin:
  """What a run starts from.

  Attributes:
    path: the run's own checkpoint, or what --checkpoint_path names; None from scratch.
    saved: what is known about it.
    weights: those of a warm start.
    is_resumed: whether it is the run's own checkpoint.
  """
  path: str | None
  saved: dict[str, Any]
  weights: sources.Weights | None
  is_resumed: bool

  def validation_state(self) -> loop.ValidationState:
    """Returns the validations so far."""
    if self.is_resumed and self.saved:
      return loop.ValidationState(**self.saved['standing'])
    return loop.ValidationState()

  @property
  def started_from(self) -> str | None:
    """The path of the weights that the run began with."""
    if self.is_resumed:
      return self.saved.get('started_from')
    return absolute(self.weights.path) if self.weights else None


@dataclasses.dataclass(frozen=True)
class Job:
  """A run that is ready to train.

  Attributes:
    config: the settled options.
    head: the head of the user's own.
    facts: about the network.
    origin: what it starts from.
    folder: of the run.
    trainer: at the step that the run continues from.
    evaluator: of its network.
    plan: when things happen.
    validation_state: the validations so far.
    training, validation: the splits.
    length: of the run.
    pictures: for TensorBoard; None without validation.
    workers: that make it.
  """
  config: Train
  head: kept_heads.Head
  facts: metadata.ModelFacts
  origin: Origin
  folder: pathlib.Path
  trainer: Trainer
  evaluator: Evaluator
  plan: loop.Plan
  validation_state: loop.ValidationState
  training: Split
  validation: Split | None
  length: Length
  pictures: Pictures | None
  workers: Workers

  def describe(self, step: int) -> dict[str, Any]:
    """Makes the metadata of a checkpoint."""
    split = self.training.dataset
    both = [inputs for inputs in (self.training, self.validation) if inputs]
    return metadata.describe(
        self.facts, step=step, validation_state=self.validation_state,
        flags={**kept_of(self.config), **self.head.kept}, started_from=self.origin.started_from,
        bad_images={inputs.dataset.split_name: inputs.bad_images for inputs in both},
        dataset={'name': self.config.data.dataset_name, 'split': split.split_name,
                 'num_examples': split.num_examples, 'fingerprint': split.fingerprint,
                 'validation_fingerprint': (self.validation.dataset.fingerprint
                                            if self.validation else None)})
