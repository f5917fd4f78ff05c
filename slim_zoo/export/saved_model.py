"""TensorFlow's SavedModel, for servers: a directory with the graph and the variables."""

from __future__ import annotations

import os

import tensorflow as tf

from datasets import dataset, labels
from files.plain_paths import plain
from slim_zoo.export import runner
from slim_zoo.export.model import LOGITS, PROBABILITIES, Model

# The signatures, and their inputs. TensorFlow Serving takes what is called `…_bytes` as Base64.
OF_IMAGES, OF_FILES, OF_PIXELS = 'serving_default', 'serving_bytes', 'serving_uint8'
IMAGES, FILES, PIXELS = 'images', 'image_bytes', 'pixels'
# The most likely classes, by name, and their probabilities.
TOP_CLASSES, TOP_PROBABILITIES = 'top_classes', 'top_probabilities'
_TOP = 5


def top_k(num_classes: int) -> int:
  """Returns the number of the most likely classes in an answer."""
  return min(_TOP, num_classes)


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Writes the directory, with signatures for prepared images, for image files and for pixels.

  The variables keep their names: `variables/` contains an object-based checkpoint of them.
  """
  module = tf.Module()
  module.weights = dict(model.network.variables)
  names = dataset.as_strings(labels.distinct_names(model.class_names))

  @tf.function(input_signature=[tf.TensorSpec([None, *model.image_shape], name=IMAGES)],
               autograph=False)
  def of_images(images):
    outputs = model.outputs(images)
    best, places = tf.math.top_k(outputs[PROBABILITIES], top_k(len(model.class_names)))
    return {**outputs, TOP_PROBABILITIES: best,
            TOP_CLASSES: tf.gather(names, places)}

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=FILES)], autograph=False)
  def of_files(files):
    return of_images(model.preprocess(files))

  @tf.function(input_signature=[tf.TensorSpec([None, None, None, model.channels], tf.uint8,
                                              name=PIXELS)], autograph=False)
  def of_pixels(pixels):
    return of_images(model.preprocess(pixels))

  os.makedirs(path, exist_ok=True)
  with plain(path) as place:
    tf.saved_model.save(module, place, signatures={
        OF_IMAGES: of_images, OF_FILES: of_files, OF_PIXELS: of_pixels})


def open_export(path: str | os.PathLike[str]) -> runner.Runner:
  """Loads a SavedModel."""
  with plain(path) as place:
    signatures = tf.saved_model.load(place).signatures

  def of(signature: str, name: str):
    return lambda batch: signatures[signature](**{name: tf.constant(batch)})[LOGITS].numpy()

  return {runner.IMAGES: of(OF_IMAGES, IMAGES), runner.FILES: of(OF_FILES, FILES),
          runner.PIXELS: of(OF_PIXELS, PIXELS)}
