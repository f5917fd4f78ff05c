"""TensorFlow's SavedModel, for servers: a directory with the graph and the variables."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from files.plain_paths import plain
from slim_zoo.export.model import LOGITS, Model

OF_IMAGES, OF_FILES = 'serving_default', 'serving_bytes'  # The signatures.
IMAGES, FILES = 'images', 'image_bytes'


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Writes the directory, with one signature for preprocessed images and one for image files.

  The variables keep their names: `variables/` contains an object-based checkpoint of them.
  """
  module = tf.Module()
  module.weights = dict(model.network.variables)

  @tf.function(input_signature=[tf.TensorSpec([None, *model.image_shape], name=IMAGES)],
               autograph=False)
  def of_images(images):
    return model.outputs(images)

  @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=FILES)], autograph=False)
  def of_files(files):
    return of_images(model.preprocess(files))

  os.makedirs(path, exist_ok=True)
  with plain(path) as place:
    tf.saved_model.save(module, place, signatures={OF_IMAGES: of_images, OF_FILES: of_files})


def logits(path: str | os.PathLike[str], images: np.ndarray,
           files: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the logits of preprocessed images, and of the files that they come from."""
  with plain(path) as place:
    signatures = tf.saved_model.load(place).signatures
  yield signatures[OF_IMAGES](**{IMAGES: tf.constant(images)})[LOGITS].numpy()
  yield signatures[OF_FILES](**{FILES: tf.constant(files)})[LOGITS].numpy()
