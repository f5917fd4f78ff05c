"""Predicting the classes of images, from the command line to the last line of output."""

from __future__ import annotations

import contextlib
import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf
import tqdm

from datasets import bad_images, folder, labels
from files import progress
from nets.folding import Folded
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.option import expand
from slim_zoo.config.programs import Predict
from slim_zoo.evaluation import classifier, predictor
from slim_zoo.evaluation.photos import Photos
from slim_zoo.training import distribution

_MOST_IN_PICTURE = 48
_WIDEST = 100  # Characters of the column of images; longer names push their row to the right.


def predict(parsed: Parsed[Predict], arguments: Sequence[str]) -> int:
  """Predicts the classes of the images that the arguments name; returns an exit code."""
  output_path, picture = parsed.config.output.output_path, parsed.config.output.picture
  if output_path:
    predictor.check_format(output_path)
  if picture and not picture.lower().endswith('.png'):
    raise ValueError(f'--picture: expected a .png file. Received: {picture}.')
  paths = find_images(arguments)
  distribution.prepare_devices()
  config, found = classifier.restore_classifier(parsed, parsed.config.output.eval_image_size)
  print(f'Predicting with {found.path}: {found.report.summary()}.')
  print(f'Images: {found.transform.describe(found.image_size)}.', flush=True)
  images = Photos(paths, found.transform, image_size=found.image_size, channels=found.channels)
  for note in images.notes:
    print(note, file=sys.stderr)
  explain = _explainer(found, config.output.explain_layer) if config.output.explain else None
  first = _write(_predictions(images, found, config), paths, output_path,
                 num_kept=_MOST_IN_PICTURE if picture else 0)
  if picture and first:
    _draw(picture, [(prediction, images.view(prediction.image)) for prediction in first], explain)
  if images.num_bad:
    print(f'{images.num_bad} of {len(paths)} images cannot be decoded; they are named above.',
          file=sys.stderr)
  return 1 if images.num_bad else 0


def find_images(arguments: Sequence[str]) -> list[str]:
  """Lists images that are named and those in directories, each once, in order.

  Args:
    arguments: files, directories, patterns with wildcards, and - for a list on standard input, one
      file per line.
  """
  if not arguments:
    raise ValueError('Expected: images or directories of images, as in `predict_image.py '
                     '--checkpoint_path=run photo.jpg`. Received: none.')
  paths: list[str] = []
  for argument in map(expand, arguments):
    if argument == '-':
      lines = map(os.fsdecode, sys.stdin.buffer)  # Names of files need not be UTF-8.
      paths += [line.rstrip('\n') for line in lines if line.strip()]
      continue
    if not os.path.exists(argument):
      if matching := sorted(glob.glob(argument, recursive=True)):
        paths += find_images(matching)
        continue
      raise FileNotFoundError('Expected: images or directories of images. Received: a path where '
                              f'there is neither, {argument}.')
    if not os.path.isdir(argument):
      paths.append(argument)
      continue
    images, note = folder.image_files(argument)
    paths += images
    if note:
      print(note, file=sys.stderr)
  if not paths:
    raise ValueError('Expected: images, one per line of standard input. Received: none.')
  return list(dict.fromkeys(paths))


def _predictions(images: Photos, found: classifier.Classifier, config: Predict
                 ) -> Iterator[predictor.Prediction]:
  """Predicts the classes of all images that can be decoded; names the others on stderr."""
  def refuse(image: bad_images.BadImage) -> None:
    tqdm.tqdm.write(f'{image.name}: {image.reason}', file=sys.stderr)

  # No batch is larger than the number of images.
  batch_size = min(config.computation.batch_size, len(images.paths))
  batches = images.batches(batch_size, refuse=refuse,
                           num_parallel_calls=config.computation.num_preprocessing_threads)
  return predictor.predict(
      Folded(found.network), batches, batch_size=batch_size,
      class_names=labels.distinct_names(found.class_names), top_k=config.output.top_k,
      xla=config.computation.xla == 'on', activation=found.activation)


def _write(predictions: Iterator[predictor.Prediction], paths: Sequence[str],
           output_path: str | None, *, num_kept: int) -> list[predictor.Prediction]:
  """Writes predictions to a file, or prints them as a table.

  Args:
    predictions: of these images, or of some of them.
    paths: the images.
    output_path: the file; None prints them.
    num_kept: number of them to return.

  Returns:
    The first predictions.
  """
  first = list(itertools.islice(predictions, 1))
  if not first:
    return []
  output = predictor.writing(output_path) if output_path else _printing(paths)
  number, kept = 0, []
  with output as put:
    for prediction in progress.show(itertools.chain(first, predictions), len(paths),
                                    unit='image'):
      put(prediction)
      number += 1
      if number <= num_kept:
        kept.append(prediction)
  if output_path:
    print(f'Predictions of {number} images are in {output_path}.')
  return kept


@contextlib.contextmanager
def _printing(paths: Sequence[str]) -> Iterator[Callable[[predictor.Prediction], None]]:
  """Prints predictions as rows of a table."""
  width = min(max(map(len, paths)), _WIDEST)
  tqdm.tqdm.write(predictor.heading(width))
  yield lambda prediction: tqdm.tqdm.write(prediction.rows(width))


# From a prediction and what the network sees, uint8 [height, width, channels], to the evidence
# for the most likely class, float [height, width] in [0, 1].
_Explain = Callable[[predictor.Prediction, np.ndarray], np.ndarray]


def _explainer(found: classifier.Classifier, layer: str | None) -> _Explain:
  """Returns the function that explains predictions by a layer."""
  from slim_zoo.report.grad_cam import GradCam
  grad_cam = GradCam(found.network, layer)
  outputs = {name: number for number, name in enumerate(labels.distinct_names(found.class_names))}
  print(f'The picture will show the evidence for the most likely class: Grad-CAM, layer '
        f'{grad_cam.layer}.')

  def explain(prediction: predictor.Prediction, view: np.ndarray) -> np.ndarray:
    image = found.transform.normalize(tf.cast(view, tf.float32))
    return grad_cam(image[tf.newaxis], np.array([outputs[prediction.guesses[0].label]]))[0]

  return explain


def _draw(path: str, seen: Sequence[tuple[predictor.Prediction, np.ndarray]],
          explain: _Explain | None) -> None:
  """Draws predictions with what the network saw."""
  from slim_zoo.report import prediction_picture  # Imports matplotlib, which takes a moment.
  prediction_picture.draw(path, [
      prediction_picture.Shown(prediction, view, explain(prediction, view) if explain else None)
      for prediction, view in seen])
  print(f'The picture of {len(seen)} images is in {path}.')
