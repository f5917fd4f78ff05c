"""Predicting the classes of images, from the command line to the last line of output."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import tensorflow as tf
import tqdm

from datasets import bad_images, folder, indexed, labels
from datasets.dataset import Dataset
from files import converted_images, progress
from nets.folding import Folded
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.option import expand
from slim_zoo.config.programs import Predict
from slim_zoo.evaluation import classifier, predictor
from slim_zoo.training import distribution
from slim_zoo.training.inputs import Inputs, decoder


def predict(parsed: Parsed[Predict], arguments: Sequence[str]) -> int:
  """Predicts the classes of the images that the arguments name; returns an exit code."""
  if parsed.config.output.output_path:
    predictor.check_format(parsed.config.output.output_path)
  paths = find_images(arguments)
  distribution.prepare_devices()
  config, found = classifier.restore_classifier(parsed, parsed.config.output.eval_image_size)
  print(f'Predicting with {found.path}: {found.report.summary()}.')
  print(f'Images: {found.transform.describe(found.image_size)}.', flush=True)
  inputs = open_images(paths, found, config.computation.num_preprocessing_threads)
  if len(inputs.bad_images) < len(paths):
    _predict(found, inputs, config)
  return 1 if inputs.bad_images else 0


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


def open_images(paths: Sequence[str], found: classifier.Classifier,
                num_threads: int | None = None) -> Inputs:
  """Makes inputs of images; those that cannot be decoded are named on stderr."""
  readable = converted_images.readable(paths)
  for note in readable.notes:
    print(note, file=sys.stderr)
  images = Dataset('images', 'all', (labels.UNNAMED,), found.channels,
                   indexed.IndexedExamples(paths, [0] * len(paths), paths=readable.paths))
  bad = bad_images.check(images, decoder(images))
  if bad:
    print(bad_images.describe(bad, limit=len(bad)), file=sys.stderr, flush=True)
  return Inputs(images, [0], tuple(image.name for image in bad),
                preprocessing_name=found.preprocessing_name, transform=found.transform,
                image_size=found.image_size, channels=found.channels,
                num_parallel_calls=num_threads)


def _predict(found: classifier.Classifier, inputs: Inputs, config: Predict) -> None:
  """Predicts the classes of all images that can be decoded, and prints or writes them."""
  bad, output_path = set(inputs.bad_images), config.output.output_path
  good = [name for name in inputs.dataset.examples.names if name not in bad]
  # The last batch is padded with black images: no batch is larger than the number of photos.
  batch_size = min(config.computation.batch_size, inputs.dataset.num_examples)
  predictions = predictor.predict(
      Folded(found.network), inputs.evaluation_batches(batch_size=batch_size), images=good,
      class_names=labels.distinct_names(found.class_names), top_k=config.output.top_k,
      xla=config.computation.xla == 'on', activation=found.activation)
  output = (predictor.writing(output_path) if output_path
            else contextlib.nullcontext(lambda prediction: tqdm.tqdm.write(prediction.lines())))
  try:
    with output as put:
      for prediction in progress.show(predictions, len(good), unit='image'):
        put(prediction)
  except tf.errors.OpError as error:
    raise inputs.explain(error) from error
  if output_path:
    print(f'Predictions of {len(good)} images are in {output_path}.')
