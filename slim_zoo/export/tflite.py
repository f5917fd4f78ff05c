"""TensorFlow Lite's model, a `.tflite` file, for phones and the like: floats, one image a call."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from slim_zoo.export.model import LOGITS, Model

INPUT = 'images'


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Converts the network; its batch norm becomes part of the layers before it.

  Raises:
    ValueError: if it cannot be converted.
  """
  module, values = tf.Module(), model.values()
  # Many of TensorFlow Lite's delegates take no batches of a size that is not known.
  module.serve = tf.function(
      lambda images: model.outputs(images, values), autograph=False,
      input_signature=[tf.TensorSpec([1, *model.image_shape], name=INPUT)])
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [module.serve.get_concrete_function()], module)
  try:
    converted = converter.convert()
  except Exception as error:  # Of a private type.
    reason = str(error).partition('\n')[0]  # What follows is the network, in the converter's terms.
    raise ValueError('Expected a network that TensorFlow Lite can be given. Received: '
                     f'{reason}. Choose another target.') from error
  pathlib.Path(path).write_bytes(converted)


def logits(path: str | os.PathLike[str], images: np.ndarray,
           files: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the logits of prepared images; such models take no `files`."""
  del files
  with warnings.catch_warnings():
    # That it will move to a package of its own; TensorFlow 2.21 still has it.
    warnings.filterwarnings('ignore', message=r'\s*Warning: tf.lite.Interpreter is deprecated')
    interpreter = tf.lite.Interpreter(
        model_content=pathlib.Path(path).read_bytes(), experimental_op_resolver_type=(
            tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES))
  run = interpreter.get_signature_runner()
  yield np.concatenate([run(**{INPUT: image[np.newaxis]})[LOGITS] for image in images])
