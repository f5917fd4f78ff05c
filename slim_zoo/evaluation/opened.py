"""Opening what an evaluation needs: weights, data, and a network that fits both."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from datasets import imagenet, labels
from datasets.dataset import Dataset
from nets.network import Network
from slim_zoo.config.flag_values import Parsed, replace
from slim_zoo.config.model import Weights
from slim_zoo.config.programs import Evaluate
from slim_zoo.evaluation import classifier
from slim_zoo.training import bad_images
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import dense_heads, opening, published, restore, sources, transforms


@dataclasses.dataclass(frozen=True)
class Opened:
  """A network with its weights, ready to be evaluated.

  Attributes:
    weights: where they are from.
    known: what is known about them.
    config: the settled options.
    inputs: the examples.
    network: the network.
    restored: what happened to each variable.
    class_names: one distinct name per output.
  """
  weights: sources.Weights
  known: Mapping[str, Any]
  config: Evaluate
  inputs: Inputs
  network: Network
  restored: restore.Report
  class_names: list[str]

  @property
  def has_several_labels(self) -> bool:
    """Whether the network was trained for images with several labels, and the data have them."""
    return self.inputs.dataset.label_sets is not None and _is_multi(self.known)

  def labels(self, positions: np.ndarray, class_names: Sequence[str]) -> list[tuple[str, ...]]:
    """Returns the right classes of examples, [n].

    Args:
      positions: of the examples, int64 [n].
      class_names: one per output.
    """
    dataset, outputs = self.inputs.dataset, self.inputs.label_map
    sets = dataset.label_sets or [(label,) for label in range(dataset.num_classes)]
    return [tuple(class_names[outputs[label]] for label in sets[place])
            for place in dataset.labels[positions].tolist()]

  @property
  def step(self) -> int:
    """The step of the checkpoint; 0 if it has none."""
    has_step = self.weights.source.shapes.get('global_step') == ()
    return int(self.weights.source.read('global_step')) if has_step else 0

  @property
  def positions(self) -> np.ndarray:
    """The examples that are evaluated, int64 [n]: those that can be decoded and have labels."""
    dataset, left_out = self.inputs.dataset, set(self.inputs.bad_images)
    needs_label = dataset.label_sets is not None and not self.has_several_labels
    return np.array([
        position for position, (name, label) in enumerate(zip(
            dataset.examples.names, dataset.labels.tolist(), strict=True))
        if name not in left_out and not (
            needs_label and dataset.label_sets and not dataset.label_sets[label])], np.int64)


def open_all(parsed: Parsed[Evaluate], *, like: Inputs | None = None) -> Opened:
  """Opens weights and data, and prints what they are.

  Args:
    parsed: the command line.
    like: the data of what is evaluated beside it.
  """
  weights, known = classifier.open_weights(parsed)
  config, head = classifier.settle(parsed, known, weights.path, more=['labels_offset'])
  name = config.model.model_name
  dataset = (like.dataset if like else
             classifier.get_dataset(config.data, is_own=_is_own(parsed, known)))
  config = replace(config, eval_dir=config.output.eval_dir or _beside(config.weights))
  num_classes, label_map = _join_classes(dataset, weights, known, parsed=parsed, config=config)
  bad = (like.bad_images if like else
         bad_images.settle(dataset, decoder(dataset), config.data.on_bad_image))
  channels = 1 if config.model.use_grayscale else dataset.channels
  transform = transforms.settle(known, config.model.preprocessing_name, config.model)
  size = classifier.image_size(config.output.eval_image_size, known, name)
  network = classifier.build_network(
      name, head, image_shape=[size, size, channels], num_classes=num_classes,
      compute_dtype=config.computation.compute_dtype)
  table = None if like else pathlib.Path(config.output.eval_dir or '') / 'restored.txt'
  restored = classifier.restore_variables(
      weights, name, network.variables, config=config.weights,
      needs_averages=config.output.moving_average_decay is not None, table=table)
  print(f'Evaluating {weights.path}: {restored.summary()}.')
  print(f'{dataset.num_examples} examples of the split {dataset.split_name!r} of {dataset.name}, '
        f'{size}×{size}, {config.model.preprocessing_name} preprocessing.')
  print(f'Images: {transform.describe(size)}.', flush=True)
  inputs = Inputs(dataset, label_map, bad, preprocessing_name=config.model.preprocessing_name,
                  transform=transform,
                  image_size=size, channels=channels,
                  num_parallel_calls=config.computation.num_preprocessing_threads,
                  num_outputs=num_classes)
  _say_how_labels_count(dataset, is_multi=_is_multi(known))
  class_names = labels.names_by_output(dataset.class_names, label_map, num_classes)
  if labels.UNNAMED in class_names:
    own = _own_names(weights, known, config=config, dataset=dataset) or class_names
    class_names = [name if one == labels.UNNAMED else one
                   for one, name in zip(class_names, own, strict=True)]
  class_names = labels.distinct_names(class_names)
  return Opened(weights, known, config, inputs, network, restored, class_names)


def _is_multi(known: Mapping[str, Any]) -> bool:
  """Returns whether a network was trained for images with several labels."""
  return bool(opening.as_options(known).get('multi_label'))


def _say_how_labels_count(dataset: Dataset, *, is_multi: bool) -> None:
  """Prints what is right if the data and the network differ in the number of labels per image."""
  if dataset.label_sets is None:
    if is_multi:
      print('Warning: the network was trained for images with several labels, but the data have '
            'one label each. See --multi_label.')
  elif not is_multi:
    empty = sum(not dataset.label_sets[label] for label in dataset.labels.tolist())
    print('A prediction is right if it is one of the labels of an image, because the network '
          'predicts one class.'
          + (f' {empty} images without labels are left out.' if empty else ''))


def _own_names(weights: sources.Weights, known: Mapping[str, Any], *, config: Evaluate,
               dataset: Dataset) -> Sequence[str] | None:
  """Returns the names that the weights have for their outputs; None if they are not known."""
  if 'class_names' in known or config.names.labels_path:
    return classifier.class_names(weights, known, config.model.model_name,
                                  labels_path=config.names.labels_path)
  count = opening.num_outputs(weights, config.model.model_name)
  if not count:
    return None
  kind = imagenet.numbers_of(dataset.class_names)
  return (imagenet.output_ids if kind and kind[1] == 'ids' else imagenet.output_names)(count)


def _is_own(parsed: Parsed[Evaluate], known: Mapping[str, Any]) -> bool:
  """Returns whether the dataset is the one that the network was trained on."""
  kept = opening.as_options(known)
  return all(name in kept and (name not in parsed.given or value == kept[name])
             for name, value in (('dataset_name', parsed.config.data.dataset_name),
                                 ('dataset_dir', parsed.config.data.dataset_dir)))


def _beside(config: Weights) -> str:
  """Returns the directory `eval` beside the weights; of those that are downloaded, here."""
  path = config.checkpoint_path or ''
  if path.startswith(published.PREFIX):
    return 'eval'
  return os.path.join(path if os.path.isdir(path) else os.path.dirname(path), 'eval')


def _join_classes(dataset: Dataset, weights: sources.Weights, known: Mapping[str, Any], *,
                  parsed: Parsed[Evaluate], config: Evaluate) -> tuple[int, list[int]]:
  """Returns how many classes the checkpoint has, and the output of each label."""
  name, labels_path = config.model.model_name, config.names.labels_path
  names = known.get('class_names')
  if labels_path:
    names = classifier.class_names(weights, known, name, labels_path=labels_path)
  num_classes = len(names) if names else opening.num_outputs(weights, name)
  if num_classes is None:
    advice = dense_heads.advice(weights.source.shapes)
    raise ValueError(f'Expected: weights with a classifier to evaluate. Received: {weights.path}, '
                     f'which has none for {name}. Train one on them, with --checkpoint_path and '
                     '--checkpoint_exclude_scopes, and evaluate that.' + (advice and f' {advice}'))
  return num_classes, classifier.label_map(
      dataset, names, num_classes=num_classes, source=weights.path, known=known,
      config=config.data, given=parsed.given)
