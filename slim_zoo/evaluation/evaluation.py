"""Evaluating a checkpoint, from the command line to eval.json."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import math
import os
import pathlib
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import dataset_factory, imagenet, label_join, labels
from datasets.dataset import Dataset
from files import progress
from nets.folding import Folded
from nets.network import Network
from slim_zoo.config.flag_values import Parsed, replace, values_of
from slim_zoo.config.model import Weights
from slim_zoo.config.programs import Evaluate
from slim_zoo.evaluation import classifier, report
from slim_zoo.evaluation.evaluated import Evaluated
from slim_zoo.evaluation.evaluator import AnyMeasurement, Evaluator, Measurement
from slim_zoo.training import bad_images, distribution
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import dense_heads, opening, published, restore, sources, transforms

_NUM_KEPT = 5  # Number of the most likely classes that a report has of each example.


@dataclasses.dataclass(frozen=True)
class _Opened:
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


def evaluate(parsed: Parsed[Evaluate]) -> int:
  """Evaluates one checkpoint; returns an exit code."""
  output = parsed.config.output
  top_k = _numbers(output.top_k)
  distribution.prepare_devices()
  opened = _open(parsed)
  if not output.report:
    _say(_measure(opened, top_k), opened)
    return 0
  pathlib.Path(output.report).mkdir(parents=True, exist_ok=True)
  theirs = _open(_of_other(parsed), like=opened) if output.compare_with else None
  evaluated = _examine(opened, top_k)
  _say(evaluated.found, opened)
  other = _examine(theirs, top_k) if theirs else None
  if other:
    print(f'In comparison: {other.found.text()}.')
  _write_report(parsed, opened, evaluated, other=other)
  return 0


def _of_other(parsed: Parsed[Evaluate]) -> Parsed[Evaluate]:
  """Returns the command line for --compare_with, without flags that those weights answer."""
  other = parsed.with_given(checkpoint_path=parsed.config.output.compare_with)
  _, known = classifier.open_weights(other)
  answered = {'model_name', 'preprocessing_name', 'use_grayscale', 'head'} & {
      *opening.as_options(known)}
  return other.without(*answered, *(('labels_path', 'labels_offset') if 'class_names' in known
                                    else ()))


def _numbers(text: str) -> list[int]:
  """Reads --top_k.

  Raises:
    ValueError: if it is not a list of positive integers.
  """
  try:
    numbers = [int(part) for part in text.split(',')]
  except ValueError:
    numbers = []
  if not numbers or min(numbers) < 1:
    raise ValueError(f'--top_k: expected numbers above 0, separated by commas, such as 1,5. '
                     f'Received: {text!r}.')
  return numbers


def _open(parsed: Parsed[Evaluate], *, like: _Opened | None = None) -> _Opened:
  """Opens weights and data, and prints what they are.

  Args:
    parsed: the command line.
    like: what is evaluated beside it, on the same data.
  """
  weights, known = classifier.open_weights(parsed)
  config, head = classifier.settle(parsed, known, weights.path, more=['labels_offset'])
  name = config.model.model_name
  dataset = (like.inputs.dataset if like else
             classifier.get_dataset(config.data, is_own=_is_own(parsed, known)))
  config = replace(config, eval_dir=config.output.eval_dir or _beside(config.weights))
  num_classes, label_map = _join_classes(dataset, weights, known, parsed=parsed, config=config)
  if config.output.report and dataset.label_sets is not None:
    raise ValueError('--report: expected images with one label each. Received: --multi_label. '
                     'Leave one of them out.')
  bad = (like.inputs.bad_images if like else
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
  if (dataset.label_sets is not None) != bool(opening.as_options(known).get('multi_label')):
    print('Warning: the network was trained for images with one label, or the data have one label '
          'each, but not both. See --multi_label.')
  class_names = labels.names_by_output(dataset.class_names, label_map, num_classes)
  if labels.UNNAMED in class_names:
    own = _own_names(weights, known, config) or class_names
    class_names = [name if one == labels.UNNAMED else one
                   for one, name in zip(class_names, own, strict=True)]
  class_names = labels.distinct_names(class_names)
  return _Opened(weights, known, config, inputs, network, restored, class_names)


def _own_names(weights: sources.Weights, known: Mapping[str, Any], config: Evaluate
               ) -> Sequence[str] | None:
  """Returns the names that the weights have for their outputs; None if they are not known."""
  if 'class_names' in known or config.names.labels_path:
    return classifier.class_names(weights, known, config.model.model_name,
                                  labels_path=config.names.labels_path)
  count = opening.num_outputs(weights, config.model.model_name)
  return imagenet.output_names(count) if count else None


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


def _measure(opened: _Opened, top_k: Sequence[int]) -> AnyMeasurement:
  """Evaluates the network."""
  with _explained(opened):
    return _evaluator(opened, top_k).measure(_batches(opened))


def _examine(opened: _Opened, top_k: Sequence[int]) -> Evaluated:
  """Evaluates the network, and keeps what it says of each example."""
  start = time.perf_counter()
  with _explained(opened):
    found, outcomes = _evaluator(opened, top_k, num_kept=_NUM_KEPT).examine(
        _batches(opened))
  return Evaluated(opened.weights.path, found, outcomes, opened.class_names,
                   time.perf_counter() - start)


@contextlib.contextmanager
def _explained(opened: _Opened) -> Iterator[None]:
  """Within a `with` block, an error of the images names them."""
  try:
    yield
  except tf.errors.OpError as error:
    raise opened.inputs.explain(error) from error


def _evaluator(opened: _Opened, top_k: Sequence[int], *, num_kept: int = 0) -> Evaluator:
  dataset = opened.inputs.dataset
  present = np.asarray(opened.inputs.label_map)[np.flatnonzero(dataset.class_counts)].tolist()
  return Evaluator(Folded(opened.network), xla=opened.config.computation.xla == 'on',
                   present=present, has_several_labels=dataset.label_sets is not None, top_k=top_k,
                   num_kept=num_kept)


def _batches(opened: _Opened) -> Iterator:
  """Yields the batches of the evaluation, and shows how many are done."""
  batch_size = opened.config.computation.batch_size
  most = opened.config.output.max_num_batches
  total = math.ceil(opened.inputs.dataset.num_examples / batch_size)
  batches = opened.inputs.evaluation_batches(batch_size=batch_size)
  if most:
    total = min(total, most)
    batches = batches.take(total)
  return progress.show(batches, total, unit='batch')


def _say(found: AnyMeasurement, opened: _Opened) -> None:
  """Writes `eval.json`, and prints the result."""
  inputs, config, weights = opened.inputs, opened.config, opened.weights
  dataset, bad = inputs.dataset, inputs.bad_images
  has_step = weights.source.shapes.get('global_step') == ()
  step = int(weights.source.read('global_step')) if has_step else 0
  path = report.write(config.output.eval_dir or '', found, step=step, facts={
      'checkpoint': weights.path, 'model_name': config.model.model_name, 'dataset': dataset.name,
      'dataset_dir': config.data.dataset_dir, 'split': dataset.split_name,
      'fingerprint': dataset.fingerprint, 'moving_averages': bool(opened.restored.num_averages),
      'bad_images': list(bad)}, class_names=opened.class_names)
  print(report.class_table(found, opened.class_names, all_in='eval.json'))
  if isinstance(found, Measurement):
    print(found.lines())
    if found.num_present < len(found.class_counts):
      top_1, top_k = found.among_present
      print(f'Among the {found.num_present} classes that have examples: top-1 {top_1:.4f}, '
            f'top-{found.k} {top_k:.4f}.')
  print(f'{found.text()}, step {step}'
        + (f'; {len(bad)} bad images skipped' if bad else '') + f'. Written to {path}.')
  if 'class_names' not in opened.known and report.is_chance(found):
    print(f'Warning: top-1 is no better than guessing among {len(opened.class_names)} classes. '
          'Check how the classes are matched with the outputs (--labels_path, --labels_offset), '
          '--preprocessing_name and --model_name.')


def _write_report(parsed: Parsed[Evaluate], opened: _Opened,
                  evaluated: Evaluated, *, other: Evaluated | None) -> None:
  """Writes the report."""
  from slim_zoo.report import writing  # Imports matplotlib, which takes a moment.
  output, inputs, config = parsed.config.output, opened.inputs, opened.config
  dataset, left_out = inputs.dataset, set(inputs.bad_images)
  positions = np.array([position for position, name in enumerate(dataset.examples.names)
                        if name not in left_out])[:evaluated.found.count]
  explain, layer = _explainer(opened)
  path = writing.write(
      pathlib.Path(output.report or ''), evaluated, dataset, positions=positions, other=other,
      explain=explain, training=_training_split(config, dataset), details={
          'command': _command(parsed), 'checkpoint': opened.weights.path,
          'network': config.model.model_name, 'variables': opened.restored.summary(),
          'dataset': f'{dataset.name}, {config.data.dataset_dir or ""}',
          'split': dataset.split_name, 'fingerprint': dataset.fingerprint,
          'images': opened.inputs.transform.describe(inputs.image_size),
          'Grad-CAM': f'of the predicted class, layer {layer}',
          'left out': f'{len(left_out)} images that cannot be decoded',
          'versions': ', '.join(f'{name} {importlib.metadata.version(name)}'
                                for name in ('tensorflow', 'numpy'))
                      + f', Python {platform.python_version()}',
          'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')})
  print(f'The report is in {path}.')


def _explainer(opened: _Opened) -> tuple[Callable[[bytes, int], np.ndarray], str]:
  """Returns the function that shows what speaks for a class in an image, and its layer."""
  from slim_zoo.report import prediction_picture
  from slim_zoo.report.grad_cam import GradCam
  inputs, found = opened.inputs, GradCam(opened.network)

  def explain(image: bytes, label: int) -> np.ndarray:
    pixels = inputs.transform.pixels(tf.constant(image), inputs.image_size, inputs.image_size,
                                     channels=inputs.channels)
    heat = found(inputs.transform.normalize(pixels)[tf.newaxis], np.array([label]))[0]
    return prediction_picture.overlay(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), heat)

  return explain, found.layer


def _training_split(config: Evaluate, dataset: Dataset) -> Dataset | None:
  """Opens the training split of the same dataset; None if there is none, or if it is `dataset`."""
  if dataset.split_name in ('train', 'all'):
    return None
  try:
    return dataset_factory.get_dataset(config.data.dataset_name, 'train', config.data.dataset_dir,
                                       **config.data.of_source())
  except (ValueError, OSError):
    return None


def _command(parsed: Parsed[Evaluate]) -> str:
  """Returns the command line."""
  values = values_of(parsed.config)
  return shlex.join(['python', 'eval_image_classifier.py',
                     *(f'--{name}={values[name]}' for name in sorted(parsed.given))])
