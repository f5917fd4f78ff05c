"""Predicting the classes of images, from the command line to the last line of output."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Sequence

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


def predict(parsed: Parsed[Predict], arguments: Sequence[str]) -> int:
  """Predicts the classes of the images that the arguments name; returns an exit code."""
  output_path = parsed.config.output.output_path
  if output_path:
    predictor.check_format(output_path)
  paths = find_images(arguments)
  distribution.prepare_devices()
  config, found = classifier.restore_classifier(parsed, parsed.config.output.eval_image_size)
  print(f'Predicting with {found.path}: {found.report.summary()}.')
  print(f'Images: {found.transform.describe(found.image_size)}.', flush=True)
  images = Photos(paths, found.transform, image_size=found.image_size, channels=found.channels)
  for note in images.notes:
    print(note, file=sys.stderr)
  _write(_predictions(images, found, config), len(paths), output_path)
  if images.num_bad:
    print(f'{images.num_bad} of {len(paths)} images cannot be decoded; they are named above.',
          file=sys.stderr)
  return 1 if images.num_bad else 0


def find_images(arguments: Sequence[str]) -> list[str]:
  """Lists images that are named and those in directories, each once, in order."""
  if not arguments:
    raise ValueError('Expected: images or directories of images, as in `predict_image.py '
                     '--checkpoint_path=run photo.jpg`. Received: none.')
  paths: list[str] = []
  for argument in map(expand, arguments):
    if not os.path.exists(argument):
      raise FileNotFoundError('Expected: images or directories of images. Received: a path where '
                              f'there is neither, {argument}.')
    if not os.path.isdir(argument):
      paths.append(argument)
      continue
    images, note = folder.image_files(argument)
    paths += images
    if note:
      print(note, file=sys.stderr)
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


def _write(predictions: Iterator[predictor.Prediction], count: int, output_path: str | None
           ) -> None:
  """Writes predictions to a file, or prints them; `count` is for the progress bar."""
  first = list(itertools.islice(predictions, 1))
  if not first:
    return
  output = (predictor.writing(output_path) if output_path
            else contextlib.nullcontext(lambda prediction: tqdm.tqdm.write(prediction.lines())))
  number = 0
  with output as put:
    for prediction in progress.show(itertools.chain(first, predictions), count, unit='image'):
      put(prediction)
      number += 1
  if output_path:
    print(f'Predictions of {number} images are in {output_path}.')
