"""Putting a head on the network that its features came from: the result takes images."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nets import custom_head, nets_factory, scopes
from nets.network import Network
from slim_zoo.config.model import Geometry, Weights
from slim_zoo.evaluation import classifier
from slim_zoo.training import checkpoints, metadata
from slim_zoo.training.loop import ValidationState
from slim_zoo.weights import kept_heads, sources, transforms

# What features must know about the images and weights that they were made from.
_NEEDED = ('model_name', 'end_point', 'checkpoint', 'image_size', 'channels', 'preprocessing_name')


@dataclasses.dataclass(frozen=True)
class Trunk:
  """A network without the values of its head.

  Attributes:
    network: the whole network; everything except its head is restored.
    facts: of the features.
    head: the head.
    class_names: of the outputs.
  """
  network: Network
  facts: Mapping[str, Any]
  head: kept_heads.Head
  class_names: Sequence[str]

  def save(self, folder: pathlib.Path, head: Mapping[str, np.ndarray], *, step: int,
           dataset: Mapping[str, Any], run_flags: Mapping[str, Any],
           validation_state: ValidationState) -> str:
    """Writes the whole network, as a training run of it would.

    Args:
      folder: where; other checkpoints in it are removed.
      head: the head's variables, by name.
      step: number of steps for which the head was trained.
      dataset: what it was trained on.
      run_flags: how it was trained.
      validation_state: the validations so far.

    Returns:
      The checkpoint's prefix.
    """
    values = {name: variable.read_value() for name, variable in self.network.variables.items()}
    values |= {name: tf.constant(value) for name, value in head.items()}
    values['global_step'] = tf.constant(step, tf.int64)
    facts = metadata.ModelFacts(
        self.facts['model_name'], list(self.class_names), self.facts['image_size'],
        self.facts['channels'], self.facts['preprocessing_name'],
        transforms.settle(self.facts, self.facts['preprocessing_name'], Geometry()),
        labels_offset=0)
    described = metadata.describe(
        facts, step=step, dataset=dataset, validation_state=validation_state, bad_images={},
        flags={**run_flags, **self.head.kept,
               'model_name': facts.model_name, 'preprocessing_name': facts.preprocessing_name,
               'train_image_size': facts.image_size, 'labels_offset': 0,
               'dataset_name': dataset['name'],
               **{name: self.facts[name] for name in ('compute_dtype',) if name in self.facts}})
    return checkpoints.save(folder, step, values, metadata=described, max_to_keep=1)

  def check(self, head: Mapping[str, tf.Variable]) -> None:
    """Checks that a head is the network's, by the names and shapes of its variables.

    Raises:
      ValueError: if it is not.
    """
    expected = {name: tuple(variable.shape) for name, variable in self.network.variables.items()
                if scopes.matches(name, custom_head.SCOPE)}
    received = {name: tuple(variable.shape) for name, variable in head.items()}
    if received != expected:
      both = expected.items() & received.items()
      raise ValueError(
          f'--head={self.head.kept["head"]} makes other variables on features alone than on '
          f'{self.facts["model_name"]}, and cannot be put on it. Expected: '
          f'{dict(sorted(expected.items() - both))}. Received: '
          f'{dict(sorted(received.items() - both))}. A head must depend on features, num_classes '
          'and is_training only. Without the network the classifier takes features: --export=none.')


def open_trunk(facts: Mapping[str, Any], head: str, class_names: Sequence[str], *,
               config: Weights, weights: sources.Weights | None = None) -> Trunk:
  """Builds a network with a new head, and restores the rest from what the features came from.

  Args:
    facts: of the features.
    head: what `custom_head.parse` takes.
    class_names: of the outputs.
    config: where the weights are now, and how to read them.
    weights: them, if they are open already.

  Raises:
    ValueError: if the weights are not those of the features.
    OSError: if they cannot be read.
  """
  weights = weights or _open_weights(facts, config)
  name, size = facts['model_name'], facts['image_size']
  head_from = nets_factory.find_head_from(name, facts['end_point'])
  classes = kept_heads.count_trunk_classes(weights, name, head_from)
  network = nets_factory.build_network(
      name, head=head, head_from=head_from, trunk_classes=classes, num_classes=len(class_names),
      image_shape=[size, size, facts['channels']])
  variables = {key: variable for key, variable in network.variables.items()
               if not scopes.matches(key, custom_head.SCOPE)}
  classifier.restore_variables(weights, name, variables, config=config, is_whole=False)
  digest = classifier.digest_of(variables)
  if digest != facts.get('checkpoint_digest', digest):
    raise ValueError(f'{weights.path}: expected the weights that the features were made with, '
                     f'{facts["checkpoint"]} at that time. Received: others. Name those with '
                     '--checkpoint_path, and with the same flags on reading weights as '
                     'extract_features.py was given, or extract the features again.')
  return Trunk(network, facts, kept_heads.Head(head, head_from, classes, custom_head.digest(head)),
               class_names)


def _open_weights(facts: Mapping[str, Any], config: Weights) -> sources.Weights:
  """Opens the weights that features were made with, or where the user says they are now."""
  path = config.checkpoint_path or facts['checkpoint']
  try:
    return sources.open_weights(path, channel_order=config.checkpoint_channel_order)
  except (OSError, ValueError) as error:
    raise ValueError(f'{error}\nThe features were made with {facts["checkpoint"]}. Expected: these '
                     'weights, or --checkpoint_path with their new place. Without them the '
                     'classifier takes features: --export=none.') from error


def knows_trunk(facts: Mapping[str, Any]) -> bool:
  """Returns whether features tell which network and images they came from."""
  return all(key in facts for key in _NEEDED)
