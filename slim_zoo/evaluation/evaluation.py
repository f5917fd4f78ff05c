"""Evaluating a checkpoint, from the command line to eval.json."""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib.metadata
import math
import os
import pathlib
import platform
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from datasets import dataset_factory, imagenet
from datasets.dataset import Dataset
from files import progress
from nets.folding import Folded
from slim_zoo.config.flag_values import Parsed, values_of
from slim_zoo.config.programs import Evaluate
from slim_zoo.evaluation import classifier, report, series
from slim_zoo.evaluation.evaluated import Evaluated
from slim_zoo.evaluation.evaluator import AnyMeasurement, Evaluator, Measurement
from slim_zoo.evaluation.opened import Opened, open_all
from slim_zoo.training import distribution
from slim_zoo.training.inputs import Inputs
from slim_zoo.weights import checkpoint_files, opening

_NUM_KEPT = 5  # Number of the most likely classes that a report has of each example.


def evaluate(parsed: Parsed[Evaluate]) -> int:
  """Evaluates one checkpoint, or several of a run; returns an exit code."""
  output = parsed.config.output
  top_k = _numbers(output.top_k)
  distribution.prepare_devices()
  if output.all_checkpoints or output.watch:
    return _evaluate_run(parsed, top_k)
  opened = open_all(parsed)
  if not output.report:
    _say(_measure(opened, top_k), opened)
    return 0
  pathlib.Path(output.report).mkdir(parents=True, exist_ok=True)
  theirs = open_all(_of_other(parsed), like=opened.inputs) if output.compare_with else None
  if theirs and theirs.has_several_labels != opened.has_several_labels:
    raise ValueError('--compare_with: expected two networks that were both trained with '
                     '--multi_label, or both without it. Received: one of each.')
  evaluated = _examine(opened, top_k)
  with contextlib.suppress(shutil.SameFileError):  # --eval_dir may be the report's directory.
    shutil.copy(_say(evaluated.found, opened), output.report)
  other = _examine(theirs, top_k) if theirs else None
  if other:
    print(f'In comparison: {other.found.text()}.')
  _write_report(parsed, opened, evaluated, other=other)
  return 0


def _evaluate_run(parsed: Parsed[Evaluate], top_k: Sequence[int]) -> int:
  """Evaluates several checkpoints of a run, and draws accuracy over steps."""
  output = parsed.config.output
  if output.report:
    raise ValueError('--report: expected one checkpoint. Received: --all_checkpoints or --watch. '
                     'Leave one of them out.')
  data: Inputs | None = None
  rows: list[series.Row] = []
  for prefix in series.checkpoints(parsed.config.weights.checkpoint_path or '',
                                   all_of_them=output.all_checkpoints, waits=output.watch):
    try:
      opened = open_all(parsed.with_given(checkpoint_path=prefix), like=data)
    except (ValueError, OSError, tf.errors.OpError):
      if checkpoint_files.exists(prefix):
        raise
      print(f'{prefix} was removed before it was evaluated.')
      continue
    data, found = opened.inputs, _measure(opened, top_k)
    _say(found, opened)
    if rows and os.path.dirname(rows[-1].checkpoint) != os.path.dirname(prefix):
      rows = []  # The next phase of the run has begun.
    rows.append(series.Row(opened.step, prefix, found.scalars()))
    series.write(pathlib.Path(opened.config.output.eval_dir or ''), rows)
    del opened
    gc.collect()  # Python does not count the GPU memory that a network holds.
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


def _measure(opened: Opened, top_k: Sequence[int]) -> AnyMeasurement:
  """Evaluates the network."""
  with _explained(opened):
    return _evaluator(opened, top_k).measure(_batches(opened))


def _examine(opened: Opened, top_k: Sequence[int]) -> Evaluated:
  """Evaluates the network, and keeps what it predicts for each example."""
  start = time.perf_counter()
  with _explained(opened):
    found, outcomes = _evaluator(opened, top_k, num_kept=_NUM_KEPT).examine(
        _batches(opened))
  return Evaluated(opened.weights.path, found, outcomes, imagenet.with_names(opened.class_names),
                   time.perf_counter() - start)


@contextlib.contextmanager
def _explained(opened: Opened) -> Iterator[None]:
  """Within a `with` block, an error of the images names them."""
  try:
    yield
  except tf.errors.OpError as error:
    raise opened.inputs.explain(error) from error


def _evaluator(opened: Opened, top_k: Sequence[int], *, num_kept: int = 0) -> Evaluator:
  dataset = opened.inputs.dataset
  present = None  # Of several right labels, one counts, which depends on the network.
  if dataset.label_sets is None:
    present = np.asarray(opened.inputs.label_map)[np.flatnonzero(dataset.class_counts)].tolist()
  return Evaluator(Folded(opened.network), xla=opened.config.computation.xla == 'on',
                   present=present, has_several_labels=opened.has_several_labels, top_k=top_k,
                   num_kept=num_kept)


def _batches(opened: Opened) -> Iterator:
  """Yields the batches of the evaluation, and shows how many are done."""
  batch_size = opened.config.computation.batch_size
  most = opened.config.output.max_num_batches
  total = math.ceil(opened.inputs.dataset.num_examples / batch_size)
  batches = opened.inputs.evaluation_batches(batch_size=batch_size)
  if most:
    total = min(total, most)
    batches = batches.take(total)
  return progress.show(batches, total, unit='batch')


def _say(found: AnyMeasurement, opened: Opened) -> pathlib.Path:
  """Writes `eval.json`, whose path is returned, and prints the result."""
  inputs, config, weights = opened.inputs, opened.config, opened.weights
  dataset, bad = inputs.dataset, inputs.bad_images
  path = report.write(config.output.eval_dir or '', found, step=opened.step, facts={
      'checkpoint': weights.path, 'model_name': config.model.model_name, 'dataset': dataset.name,
      'dataset_dir': config.data.dataset_dir, 'split': dataset.split_name,
      'fingerprint': dataset.fingerprint, 'moving_averages': bool(opened.restored.num_averages),
      'bad_images': list(bad)}, class_names=opened.class_names)
  print(report.class_table(found, opened.class_names, all_in='eval.json'))
  if isinstance(found, Measurement):
    print(found.lines())
    if found.among_present and found.num_present < len(found.class_counts):
      top_1, top_k = found.among_present
      print(f'Among the {found.num_present} classes that have examples: top-1 {top_1:.4f}, '
            f'top-{found.k} {top_k:.4f}.')
  print(f'{found.text()}, step {opened.step}'
        + (f'; {len(bad)} bad images skipped' if bad else '') + f'. Written to {path}.')
  if 'class_names' not in opened.known and report.is_chance(found):
    print(f'Warning: top-1 is no better than guessing among {len(opened.class_names)} classes. '
          'Check how the classes are matched with the outputs (--labels_path, --labels_offset), '
          '--preprocessing_name and --model_name.')
  return path


def _write_report(parsed: Parsed[Evaluate], opened: Opened,
                  evaluated: Evaluated, *, other: Evaluated | None) -> None:
  """Writes the report."""
  from slim_zoo.report import writing  # Imports matplotlib, which takes a moment.
  output, inputs, config = parsed.config.output, opened.inputs, opened.config
  dataset = inputs.dataset
  positions = opened.positions[:evaluated.found.count]
  explain, layer = _explainer(opened)
  path = writing.write(
      pathlib.Path(output.report or ''), evaluated, dataset, positions=positions,
      labels=opened.labels(positions, evaluated.class_names), other=other, explain=explain,
      training=_training_split(config, dataset), details={
          'command': _command(parsed), 'checkpoint': opened.weights.path,
          'network': config.model.model_name, 'variables': opened.restored.summary(),
          'dataset': f'{dataset.name}, {config.data.dataset_dir or ""}',
          'split': dataset.split_name, 'fingerprint': dataset.fingerprint,
          'images': opened.inputs.transform.describe(inputs.image_size),
          'Grad-CAM': f'layer {layer}',
          'left out': f'{len(inputs.bad_images)} images that cannot be decoded',
          'versions': ', '.join(f'{name} {importlib.metadata.version(name)}'
                                for name in ('tensorflow', 'numpy'))
                      + f', Python {platform.python_version()}',
          'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')})
  print(f'The report is in {path}.')


def _explainer(opened: Opened) -> tuple[Callable[[bytes, int], np.ndarray], str]:
  """Returns the function that shows the evidence for a class in an image, and its layer."""
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
