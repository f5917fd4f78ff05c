"""Evaluating a checkpoint, from the command line to eval.json."""

from __future__ import annotations

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import label_join, labels
from datasets.dataset import Dataset
from files import progress
from nets.folding import Folded
from slim_zoo.config.flag_values import Parsed, replace
from slim_zoo.config.model import Weights
from slim_zoo.config.programs import Evaluate
from slim_zoo.evaluation import classifier, report
from slim_zoo.evaluation.evaluator import AnyMeasurement, Evaluator, Measurement
from slim_zoo.training import bad_images, distribution
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import dense_heads, opening, published, restore, sources, transforms


def evaluate(parsed: Parsed[Evaluate]) -> int:
  """Evaluates one checkpoint; returns an exit code."""
  distribution.prepare_devices()
  weights, known = classifier.open_weights(parsed)
  config, head = classifier.settle(parsed, known, weights.path, more=['labels_offset'])
  name = config.model.model_name
  dataset = classifier.get_dataset(config.data, is_own=_is_own(parsed, known))
  config = replace(config, eval_dir=config.output.eval_dir or _beside(config.weights))
  num_classes, label_map = _join_classes(dataset, weights, known, parsed=parsed, config=config)
  bad = bad_images.settle(dataset, decoder(dataset), config.data.on_bad_image)
  channels = 1 if config.model.use_grayscale else dataset.channels
  transform = transforms.settle(known, config.model.preprocessing_name, config.model)
  size = classifier.image_size(config.output.eval_image_size, known, name)
  network = classifier.build_network(
      name, head, image_shape=[size, size, channels], num_classes=num_classes,
      compute_dtype=config.computation.compute_dtype)
  restored = classifier.restore_variables(
      weights, name, network.variables, config=config.weights,
      needs_averages=config.output.moving_average_decay is not None,
      table=pathlib.Path(config.output.eval_dir or '') / 'restored.txt')
  print(f'Evaluating {weights.path}: {restored.summary()}.')
  print(f'{dataset.num_examples} examples of the split {dataset.split_name!r} of {dataset.name}, '
        f'{size}×{size}, {config.model.preprocessing_name} preprocessing.')
  print(f'Images: {transform.describe(size)}.', flush=True)
  inputs = Inputs(dataset, label_map, bad, preprocessing_name=config.model.preprocessing_name,
                  transform=transform,
                  image_size=size, channels=channels,
                  num_parallel_calls=config.computation.num_preprocessing_threads,
                  num_outputs=num_classes)
  has_several = dataset.label_sets is not None
  if has_several != bool(opening.as_options(known).get('multi_label')):
    print('Warning: the network was trained for images with one label, or the data have one label '
          'each, but not both. See --multi_label.')
  present = np.asarray(label_map)[np.flatnonzero(dataset.class_counts)].tolist()
  evaluator = Evaluator(Folded(network), xla=config.computation.xla == 'on', present=present,
                        has_several_labels=has_several)
  found = _measure(evaluator, inputs, config)
  _report(found, inputs, config, weights=weights, restored=restored,
          class_names=labels.distinct_names(
              labels.names_by_output(dataset.class_names, label_map, num_classes)))
  if 'class_names' not in known and report.is_chance(found):
    print(f'Warning: top-1 is no better than guessing among {num_classes} classes. Check how the '
          'classes are matched with the outputs (--labels_path, --labels_offset), '
          '--preprocessing_name and --model_name.')
  return 0


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
  if 'class_names' in known and not labels_path:
    names = known['class_names']
    if 'labels_offset' in parsed.given and 'labels_offset' not in known.get('flags', {}):
      raise ValueError(f'--labels_offset: expected none, because {weights.path} knows the names of '
                       'its classes and is matched by them. Leave it out.')
    return len(names), labels.map_by_name(dataset.class_names, names)
  if labels_path:
    names = classifier.class_names(weights, known, name, labels_path=labels_path)
    return len(names), labels.map_by_name(dataset.class_names, names)
  num_classes = opening.num_outputs(weights, name)
  if num_classes is None:
    advice = dense_heads.advice(weights.source.shapes)
    raise ValueError(f'Expected: weights with a classifier to evaluate. Received: {weights.path}, '
                     f'which has none for {name}. Train one on them, with --checkpoint_path and '
                     '--checkpoint_exclude_scopes, and evaluate that.' + (advice and f' {advice}'))
  joined = label_join.join(dataset, num_classes, labels_offset=config.data.labels_offset,
                           labels_are_indices=config.data.labels_are_indices)
  if joined.note:
    print(joined.note)
  return num_classes, joined.label_map


def _measure(evaluator: Evaluator, inputs: Inputs, config: Evaluate) -> AnyMeasurement:
  batch_size, most = config.computation.batch_size, config.output.max_num_batches
  total = math.ceil(inputs.dataset.num_examples / batch_size)
  batches = inputs.evaluation_batches(batch_size=batch_size)
  if most:
    total = min(total, most)
    batches = batches.take(total)
  try:
    return evaluator.measure(progress.show(batches, total, unit='batch'))
  except tf.errors.OpError as error:
    raise inputs.explain(error) from error


def _report(found: AnyMeasurement, inputs: Inputs, config: Evaluate, *, weights: sources.Weights,
            restored: restore.Report, class_names: Sequence[str]) -> None:
  """Writes and prints the result."""
  dataset, bad = inputs.dataset, inputs.bad_images
  has_step = weights.source.shapes.get('global_step') == ()
  step = int(weights.source.read('global_step')) if has_step else 0
  path = report.write(config.output.eval_dir or '', found, step=step, facts={
      'checkpoint': weights.path, 'model_name': config.model.model_name, 'dataset': dataset.name,
      'dataset_dir': config.data.dataset_dir, 'split': dataset.split_name,
      'fingerprint': dataset.fingerprint, 'moving_averages': bool(restored.num_averages),
      'bad_images': list(bad)}, class_names=class_names)
  print(report.class_table(found, class_names, all_in='eval.json'))
  if isinstance(found, Measurement):
    print(found.lines())
    if found.num_present < len(found.class_counts):
      top_1, top_k = found.among_present
      print(f'Among the {found.num_present} classes that have examples: top-1 {top_1:.4f}, '
            f'top-{found.k} {top_k:.4f}.')
  print(f'{found.text()}, step {step}'
        + (f'; {len(bad)} bad images skipped' if bad else '') + f'. Written to {path}.')
