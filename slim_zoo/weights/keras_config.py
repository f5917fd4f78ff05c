"""What the configuration of a Keras model says about its images."""

from __future__ import annotations

import json
from typing import Any

_SHAPES = ('batch_input_shape', 'batch_shape')
_LARGEST = 4096
_DEEPEST = 8


def image_size(config: Any) -> int | None:
  """Finds the height and width of a model's images.

  Args:
    config: the configuration, as JSON text or parsed; None if there is none.

  Returns:
    The size; None if it is unknown or variable, or if images are no squares.
  """
  if isinstance(config, str | bytes):
    try:
      config = json.loads(config)
    except (ValueError, RecursionError):
      return None
  return square(_first_shape(config, 0))


def square(shape: Any) -> int | None:
  """Returns the side of [batch, side, side, channels]; None for another shape."""
  if not isinstance(shape, list | tuple) or len(shape) != 4:
    return None
  height, width = shape[1:3]
  return height if type(height) is int and height == width and 0 < height <= _LARGEST else None


def _first_shape(layer: Any, depth: int) -> Any:
  """The input shape of the first layer that has one; models are nested."""
  if not isinstance(layer, dict) or depth > _DEEPEST:
    return None
  inner = layer.get('config')
  layers = inner if isinstance(inner, list) else None
  if isinstance(inner, dict):
    shape = next((inner[key] for key in _SHAPES if key in inner), None)
    if shape is not None:
      return shape
    layers = inner.get('layers')
  for one in layers if isinstance(layers, list) else ():
    shape = _first_shape(one, depth + 1)
    if shape is not None:
      return shape
  return None
