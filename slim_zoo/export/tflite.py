"""TensorFlow Lite models for phones and the like: `.tflite`, floats, one image per call."""

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
  """Converts the network; batch norm is folded into the layers before it.

  Raises:
    ValueError: if it cannot be converted.
  """
  module, values = tf.Module(), model.values()
  # Many of TensorFlow Lite's delegates need a known batch size.
  module.serve = tf.function(
      lambda images: model.outputs(images, values), autograph=False,
      input_signature=[tf.TensorSpec([1, *model.image_shape], name=INPUT)])
  converter = tf.lite.TFLiteConverter.from_concrete_functions(
      [module.serve.get_concrete_function()], module)
  try:
    converted = converter.convert()
  except Exception as error:  # Of a private type.
    reason = str(error).partition('\n')[0]  # The rest is the network, as the converter sees it.
    raise ValueError('Expected: a network that TensorFlow Lite supports. Received: '
                     f'{reason}. Choose another target.') from error
  pathlib.Path(path).write_bytes(converted)


def logits(path: str | os.PathLike[str], images: np.ndarray,
           files: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the logits of preprocessed images; these models do not take `files`."""
  del files
  with warnings.catch_warnings():
    # It will move to a package of its own; TensorFlow 2.21 still has it.
    warnings.filterwarnings('ignore', message=r'\s*Warning: tf.lite.Interpreter is deprecated')
    interpreter = tf.lite.Interpreter(
        model_content=pathlib.Path(path).read_bytes(), experimental_op_resolver_type=(
            tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES))
  run = interpreter.get_signature_runner()
  yield np.concatenate([run(**{INPUT: image[np.newaxis]})[LOGITS] for image in images])
