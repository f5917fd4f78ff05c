"""TensorFlow Lite models for phones and the like: `.tflite`, one image per call.

See https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/post_training_quantization
for the kinds of numbers.
"""

from __future__ import annotations

import os
import pathlib
import warnings

import numpy as np
import tensorflow as tf

from slim_zoo.export import runner
from slim_zoo.export.model import LOGITS, Model

INPUT = 'images'


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Converts the network; batch norm is folded into the layers before it.

  Raises:
    ValueError: if it cannot be converted.
  """
  _write(path, _converter(model))


def write_float16(model: Model, path: str | os.PathLike[str]) -> None:
  """Does the same with weights in float16; images and outputs are float32."""
  converter = _converter(model)
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_types = [tf.float16]
  _write(path, converter)


def write_dynamic(model: Model, path: str | os.PathLike[str]) -> None:
  """Does the same with weights in int8; what layers compute is quantized while they do."""
  converter = _converter(model)
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  _write(path, converter)


def write_int8(model: Model, path: str | os.PathLike[str]) -> None:
  """Does the same with int8 for everything, for devices that have no other numbers.

  Images and outputs are int8 too; the file has the scale and the zero point of each.

  Raises:
    ValueError: if it cannot be converted, or the model has no images for the calibration.
  """
  if model.calibration is None:
    raise ValueError('Expected: photos for measuring the range of each layer, from which int8 is '
                     'made. Received: none. Set --dataset_name and --dataset_dir to the data that '
                     'the network was trained on.')
  converter, images = _converter(model), model.calibration
  images()  # A mistake in the data is not one of the converter.
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
  converter.inference_input_type = converter.inference_output_type = tf.int8
  converter.representative_dataset = lambda: (
      [image[np.newaxis]] for batch in images() for image in batch)
  _write(path, converter)


def _converter(model: Model) -> tf.lite.TFLiteConverter:
  module, values = tf.Module(), model.values()
  # Many of TensorFlow Lite's delegates need a known batch size.
  module.serve = tf.function(
      lambda images: model.outputs(images, values), autograph=False,
      input_signature=[tf.TensorSpec([1, *model.image_shape], name=INPUT)])
  return tf.lite.TFLiteConverter.from_concrete_functions(
      [module.serve.get_concrete_function()], module)


def _write(path: str | os.PathLike[str], converter: tf.lite.TFLiteConverter) -> None:
  try:
    with warnings.catch_warnings():
      # Of its own calibration, which sets no option that it asks for.
      warnings.filterwarnings('ignore', message='Statistics for quantized inputs were expected')
      converted = converter.convert()
  except Exception as error:  # Of a private type.
    reason = str(error).partition('\n')[0]  # The rest is the network, as the converter sees it.
    raise ValueError('Expected: a network that TensorFlow Lite supports. Received: '
                     f'{reason}. Choose another target.') from error
  pathlib.Path(path).write_bytes(converted)


def open_export(path: str | os.PathLike[str]) -> runner.Runner:
  """Loads a model, for as many threads as there are CPUs."""
  try:
    interpreter = _interpreter(path)
    run = interpreter.get_signature_runner()
  except RuntimeError as error:  # Such as operators that the interpreter lacks.
    raise ValueError(f'Expected: a network that TensorFlow Lite can run. Received: {error}. Choose '
                     'another target.') from error
  source, target = run.get_input_details()[INPUT], run.get_output_details()[LOGITS]

  def logits(image: np.ndarray) -> np.ndarray:
    return _to_float(run(**{INPUT: _from_float(image[np.newaxis], source)})[LOGITS], target)

  return {runner.IMAGES: lambda batch: np.concatenate([*map(logits, batch)])}


def numbers(path: str | os.PathLike[str]) -> dict[str, dict]:
  """Describes the numbers of a model's inputs and outputs that are integers.

  Returns:
    By name, their dtype, and the scale and zero point: a value is (integer - zero_point) * scale.
  """
  run = _interpreter(path).get_signature_runner()
  every = {**run.get_input_details(), **run.get_output_details()}
  return {name: {'dtype': np.dtype(known['dtype']).name, 'scale': float(known['quantization'][0]),
                 'zero_point': int(known['quantization'][1])}
          for name, known in every.items() if known['quantization'][0]}


def _interpreter(path: str | os.PathLike[str]) -> tf.lite.Interpreter:
  with warnings.catch_warnings():
    # It will move to a package of its own; TensorFlow 2.21 still has it.
    warnings.filterwarnings('ignore', message=r'\s*Warning: tf.lite.Interpreter is deprecated')
    return tf.lite.Interpreter(
        model_content=pathlib.Path(path).read_bytes(), num_threads=os.cpu_count())


def _from_float(values: np.ndarray, details: dict) -> np.ndarray:
  scale, zero = details['quantization']
  if not scale:
    return values
  limits = np.iinfo(details['dtype'])
  return np.clip(np.round(values / scale) + zero, limits.min, limits.max).astype(details['dtype'])


def _to_float(values: np.ndarray, details: dict) -> np.ndarray:
  scale, zero = details['quantization']
  return (values.astype(np.float32) - zero) * scale if scale else values
