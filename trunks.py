"""A classifier on features, put on the trunk that the features came from: a network for images."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import flags

import head_flags
import inference_flags
from nets import custom_head, nets_factory, scopes
from nets.network import Network
from slim_zoo.training import checkpoints, metadata
from slim_zoo.training.loop import Standing
from slim_zoo.weights import sources

FLAGS = flags.FLAGS

# What features know of the images and weights that they were made of.
_NEEDED = ('model_name', 'end_point', 'checkpoint', 'image_size', 'channels', 'preprocessing_name')


@dataclasses.dataclass(frozen=True)
class Trunk:
  """A network whose head is still to be filled in.

  Attributes:
    network: the whole network; all but its head is restored.
    facts: of the features.
    head: what is kept of the head with checkpoints, by `head_flags.KEPT`.
    class_names: of the outputs.
  """
  network: Network
  facts: Mapping[str, Any]
  head: Mapping[str, Any]
  class_names: Sequence[str]

  def save(self, folder: pathlib.Path, head: Mapping[str, np.ndarray], *, step: int,
           dataset: Mapping[str, Any], run_flags: Mapping[str, Any], standing: Standing) -> str:
    """Writes the whole network, as a training run of it would.

    Args:
      folder: where; other checkpoints in it are removed.
      head: the head's variables, by name.
      step: how many steps the head was trained.
      dataset: what it was trained on.
      run_flags: how it was trained.
      standing: the validations so far.

    Returns:
      The checkpoint's prefix.
    """
    values = {name: variable.read_value() for name, variable in self.network.variables.items()}
    values |= {name: tf.constant(value) for name, value in head.items()}
    values['global_step'] = tf.constant(step, tf.int64)
    facts = metadata.ModelFacts(
        self.facts['model_name'], list(self.class_names), self.facts['image_size'],
        self.facts['channels'], self.facts['preprocessing_name'], labels_offset=0)
    described = metadata.describe(
        facts, step=step, dataset=dataset, standing=standing, bad_images={},
        flags={**run_flags, **self.head,
               'model_name': facts.model_name, 'preprocessing_name': facts.preprocessing_name,
               'train_image_size': facts.image_size, 'labels_offset': 0,
               'dataset_name': dataset['name'],
               **{name: self.facts[name] for name in ('compute_dtype',) if name in self.facts}})
    return checkpoints.save(folder, step, values, described, max_to_keep=1)

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
          f'--head={self.head["head"]} makes other variables on features alone than on '
          f'{self.facts["model_name"]}, and cannot be put on it. Expected: '
          f'{dict(sorted(expected.items() - both))}. Received: '
          f'{dict(sorted(received.items() - both))}. A head may depend on features, num_classes '
          'and is_training only. Without the network the classifier takes features alone: '
          '--export=none.')


def open_trunk(facts: Mapping[str, Any], head: str, class_names: Sequence[str]) -> Trunk:
  """Builds a network with a new head, and restores the rest from what the features came from.

  Args:
    facts: of the features; --checkpoint_path says where the weights are now.
    head: what `custom_head.parse` takes.
    class_names: of the outputs.

  Raises:
    ValueError: if the weights are not those of the features.
    OSError: if they cannot be read.
  """
  path = FLAGS.checkpoint_path or facts['checkpoint']
  try:
    weights = sources.open_weights(path, channel_order=FLAGS.checkpoint_channel_order)
  except (OSError, ValueError) as error:
    raise ValueError(f'{error}\nThe features were made with {facts["checkpoint"]}. Expected: these '
                     'weights, or --checkpoint_path with where they are now. Without them the '
                     'classifier takes features alone: --export=none.') from error
  name, size = facts['model_name'], facts['image_size']
  head_from = nets_factory.find_head_from(name, facts['end_point'])
  classes = head_flags.count_trunk_classes(weights, name, head_from)
  network = nets_factory.build_network(
      name, head=head, head_from=head_from, trunk_classes=classes, num_classes=len(class_names),
      image_shape=[size, size, facts['channels']])
  variables = {key: variable for key, variable in network.variables.items()
               if not scopes.matches(key, custom_head.SCOPE)}
  inference_flags.restore_variables(weights, name, variables, is_whole=False)
  digest = inference_flags.digest_of(variables)
  if digest != facts.get('checkpoint_digest', digest):
    raise ValueError(f'{weights.path}: expected the weights that the features were made with, '
                     f'{facts["checkpoint"]} of then. Received others. Give those as '
                     '--checkpoint_path, with the flags on reading weights that '
                     'extract_features.py was given, or extract the features again.')
  kept = (custom_head.label(head), head_from, classes, custom_head.digest(head))
  return Trunk(network, facts, dict(zip(head_flags.KEPT, kept, strict=True)), class_names)


def knows_trunk(facts: Mapping[str, Any]) -> bool:
  """Whether features tell what network and images they came from."""
  return all(key in facts for key in _NEEDED)
