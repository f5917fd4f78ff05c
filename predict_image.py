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
from datasets import bad_images, folder, indexed, labels, labels_file
from datasets.dataset import Dataset
from evaluation import predictor
from nets import nets_factory
from training import distribution
from training.inputs import Inputs, decoder
from weights import sources

FLAGS = flags.FLAGS

inference_flags.define_model_flags()
flags.DEFINE_integer('eval_image_size', None, "Height and width; by default as it was trained, or "
                     "the network's.", lower_bound=1)
flags.DEFINE_integer('top_k', 5, 'How many classes to tell of each image.', lower_bound=1)
flags.DEFINE_string('labels_path', None, 'Names of the classes, one "number:name" a line, for '
                    'weights that do not know them.')
flags.DEFINE_string('output_path', None, 'A .csv or .json file for the predictions, in place of '
                    'printing them.')


def main(arguments: Sequence[str]) -> int:
  """Predicts the classes of the images that the arguments name."""
  if FLAGS.output_path:
    command_line.refuse_remote('output_path')
    predictor.check_format(FLAGS.output_path)
  paths = _find_images(arguments)
  distribution.prepare_devices()
  weights, saved = inference_flags.open_weights()
  options = inference_flags.settle(saved, weights.path)
  name = options['model_name']
  class_names = _class_names(weights, saved, name)
  channels = inference_flags.num_channels(
      options, saved.get('channels') or nets_factory.get_net(name).channels)
  size = inference_flags.image_size(FLAGS.eval_image_size, saved, name)
  network = inference_flags.build_network(options, image_shape=[size, size, channels],
                                          num_classes=len(class_names))
  restored = inference_flags.restore_variables(weights, name, network.variables)
  print(f'Predicting with {weights.path}: {restored.summary()}.', flush=True)
  images = Dataset('images', 'all', (labels.UNNAMED,), channels,
                   indexed.IndexedExamples(paths, [0] * len(paths), paths=paths))
  bad = bad_images.check(images, decoder(images))
  if bad:
    print(bad_images.describe(bad, limit=len(bad)), file=sys.stderr, flush=True)
  inputs = Inputs(images, [0], tuple(image.name for image in bad),
                  preprocessing_name=options['preprocessing_name'], image_size=size,
                  channels=channels, num_parallel_calls=FLAGS.num_preprocessing_threads)
  if len(bad) < len(paths):
    _predict(network, inputs, class_names, xla=options['xla'] == 'on')
  return 1 if bad else 0


def _find_images(arguments: Sequence[str]) -> list[str]:
  """Lists the images that were named and those in folders, each once, in order."""
  if not arguments:
    raise ValueError('Expected images or folders of images, such as `predict_image.py '
                     '--checkpoint_path=run photo.jpg`. Received: none.')
  paths = []
  for argument in arguments:
    if not os.path.exists(argument):
      raise FileNotFoundError('Expected images or folders of images. Received a path at which '
                              f'there is neither: {argument}.')
    paths += folder.image_files(argument) if os.path.isdir(argument) else [argument]
  return list(dict.fromkeys(paths))


def _class_names(weights: sources.Weights, saved: dict, model_name: str) -> list[str]:
  """Names the outputs after --labels_path, the checkpoint's classes, or by their numbers."""
  num_classes = inference_flags.num_classes(weights, saved, model_name)
  if num_classes is None:
    raise ValueError(f'Expected weights with a classifier. Received: {weights.path}, which has '
                     f'none for {model_name}.')
  names = saved.get('class_names', [labels.UNNAMED] * num_classes)
  if FLAGS.labels_path:
    names = labels_file.read(FLAGS.labels_path)
    names = labels.output_names(names, labels.background_offset(len(names), num_classes))
    if len(names) != num_classes:
      raise ValueError(f'--labels_path={FLAGS.labels_path}: expected names of the {num_classes} '
                       f'classes of {weights.path}. Received: {len(names)}.')
  return labels.distinct_names(names)


def _predict(network, inputs: Inputs, class_names: Sequence[str], *, xla: bool) -> None:
  """Predicts the classes of all images that can be decoded, and prints or writes them."""
  good = [name for name in inputs.dataset.examples.names if name not in set(inputs.bad_images)]
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
