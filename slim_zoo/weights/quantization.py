"""Dequantizing the constants of `.tflite` models: (integer - zero point) × scale.

Source: https://ai.google.dev/edge/litert/models/quantization_spec. The numbers of the fields are
those of the table `QuantizationParameters` in TensorFlow Lite's schema.
"""

from __future__ import annotations

import numpy as np

from slim_zoo.weights.flat_buffers import Table

_SCALES, _ZERO_POINTS, _DETAILS, _DIMENSION = 2, 3, 4, 6


def dequantize(integers: np.ndarray, quantization: Table | None) -> np.ndarray | None:
  """Dequantizes a tensor.

  Args:
    integers: of any shape; 8 bits of kernels, and 32 or 64 of biases.
    quantization: the tensor's table of quantization parameters. There is one scale for all
      integers, or one for each index of a dimension, such as each output of a kernel.

  Returns:
    float32 of the same shape; None if there are no scales: the integers are sizes and the like.

  Raises:
    ValueError: if the parameters do not fit the tensor, or are none that a converter writes.
  """
  scales = quantization.array(_SCALES, 'f4') if quantization else np.empty(0, np.float32)
  if quantization is None or not scales.size:
    return None
  zero_points = quantization.array(_ZERO_POINTS, 'i8')
  if quantization.number(_DETAILS, 'b'):
    raise ValueError('a tensor that is quantized in blocks or in some other special way')
  if len(zero_points) != len(scales) or len(scales) > integers.size:
    raise ValueError(f'{len(scales):,} scales and {len(zero_points):,} zero points of '
                     f'{integers.size:,} integers')
  along = _along(len(scales), integers.shape, quantization.number(_DIMENSION, 'i'))
  if not (np.isfinite(scales) & (scales > 0)).all():
    raise ValueError('scales that are not positive numbers')
  # Wider integers, such as those of biases, have no zero point.
  limits = np.iinfo(integers.dtype) if integers.itemsize == 1 else None
  lowest, highest = (limits.min, limits.max) if limits else (0, 0)
  if zero_points.min() < lowest or zero_points.max() > highest:
    raise ValueError(f'zero points from {zero_points.min():,} to {zero_points.max():,} of '
                     f'{integers.dtype}')
  with np.errstate(over='ignore', invalid='ignore'):
    result = integers.astype(np.float32)
    result -= zero_points.astype(np.float32).reshape(along)
    result *= scales.reshape(along)
  if not np.isfinite(result).all():
    raise ValueError('scales that are too large')
  return result


def _along(count: int, shape: tuple[int, ...], dimension: int) -> list[int]:
  """Returns the shape in which scales are multiplied with a tensor of a shape."""
  along = [1] * len(shape)
  if count > 1:
    if not 0 <= dimension < len(shape) or shape[dimension] != count:
      raise ValueError(f'{count:,} scales along the dimension {dimension:,} of a tensor of the '
                       f'shape {shape}')
    along[dimension] = count
  return along
