"""Predicts the classes of images with a trained network.

    python predict_image.py --checkpoint_path=run photo.jpg folder_of_photos

A checkpoint of this project needs no more. Folders are searched for images, with the folders in
them. Images that cannot be decoded are named and left out; the exit code is then 1.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import tensorflow as tf
import tqdm
from absl import flags

import inference_flags
import path_flags
from datasets import bad_images, folder, indexed, labels
from datasets.dataset import Dataset
from slim_zoo.evaluation import predictor
from slim_zoo.training import distribution
from slim_zoo.training.inputs import Inputs, decoder

FLAGS = flags.FLAGS

inference_flags.define_model_flags()
inference_flags.define_computation_flags()
inference_flags.define_labels_flag()
flags.DEFINE_integer('eval_image_size', None, "Height and width; by default as it was trained, or "
                     "the network's.", lower_bound=1)
flags.DEFINE_integer('top_k', 5, 'How many classes to tell of each image.', lower_bound=1)
path_flags.define_path('output_path', None, 'A .csv or .json file for the predictions, in place '
                       'of printing them.', is_written=True)


def main(arguments: Sequence[str]) -> int:
  """Predicts the classes of the images that the arguments name."""
  if FLAGS.output_path:
    predictor.check_format(FLAGS.output_path)
  paths = _find_images(arguments)
  distribution.prepare_devices()
  classifier = inference_flags.restore_classifier(FLAGS.eval_image_size)
  print(f'Predicting with {classifier.path}: {classifier.report.summary()}.', flush=True)
  images = Dataset('images', 'all', (labels.UNNAMED,), classifier.channels,
                   indexed.IndexedExamples(paths, [0] * len(paths), paths=paths))
  bad = bad_images.check(images, decoder(images))
  if bad:
    print(bad_images.describe(bad, limit=len(bad)), file=sys.stderr, flush=True)
  inputs = Inputs(images, [0], tuple(image.name for image in bad),
                  preprocessing_name=classifier.options['preprocessing_name'],
                  image_size=classifier.image_size, channels=classifier.channels,
                  num_parallel_calls=FLAGS.num_preprocessing_threads)
  if len(bad) < len(paths):
    _predict(classifier.network, inputs, labels.distinct_names(classifier.class_names),
             xla=classifier.options['xla'] == 'on')
  return 1 if bad else 0


def _find_images(arguments: Sequence[str]) -> list[str]:
  """Lists the images that were named and those in folders, each once, in order."""
  if not arguments:
    raise ValueError('Expected images or folders of images, such as `predict_image.py '
                     '--checkpoint_path=run photo.jpg`. Received: none.')
  paths = []
  for argument in map(path_flags.expand, arguments):
    if not os.path.exists(argument):
      raise FileNotFoundError('Expected images or folders of images. Received a path at which '
                              f'there is neither: {argument}.')
    paths += folder.image_files(argument) if os.path.isdir(argument) else [argument]
  return list(dict.fromkeys(paths))


def _predict(network, inputs: Inputs, class_names: Sequence[str], *, xla: bool) -> None:
  """Predicts the classes of all images that can be decoded, and prints or writes them."""
  bad = set(inputs.bad_images)
  good = [name for name in inputs.dataset.examples.names if name not in bad]
  # A batch is filled up with black images: no larger one than there are photos.
  batch_size = min(FLAGS.batch_size, inputs.dataset.num_examples)
  found = predictor.predict(network, inputs.evaluation_batches(batch_size=batch_size), good,
                            class_names, top_k=FLAGS.top_k, xla=xla)
  output = (predictor.writing(FLAGS.output_path) if FLAGS.output_path
            else contextlib.nullcontext(lambda prediction: tqdm.tqdm.write(prediction.lines())))
  try:
    with output as put:
      for prediction in command_line.show_progress(found, len(good), 'image'):
        put(prediction)
  except tf.errors.OpError as error:
    raise inputs.explain(error) from error
  if FLAGS.output_path:
    print(f'Predictions of {len(good)} images are in {FLAGS.output_path}.')


if __name__ == '__main__':
  command_line.run(main, takes_arguments=True)
