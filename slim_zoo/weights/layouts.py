"""Converting other programs' arrays to the layout of our variables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Step:
  """One change of an array.

  Attributes:
    text: description for the report.
    function: `function(array, shape)` converts an array for a variable of this shape. If that is
      impossible, the result has a different shape, so that the report can show both.
    inverse: converts a variable back; None if the array cannot be recovered from it.
  """
  text: str
  function: Callable[[np.ndarray, Sequence[int]], np.ndarray]
  inverse: Callable[[np.ndarray], np.ndarray] | None = None


@dataclasses.dataclass(frozen=True)
class Take:
  """Where a variable's value comes from.

  Attributes:
    key: the array's name in the file; '' for a value that is not from an array.
    steps: changes to the array, in order.
    factor: name of an array [outputs] to multiply the result by: the scale of a batch norm, if ours
      has none; '' for none.
  """
  key: str
  steps: tuple[Step, ...] = ()
  factor: str = ''

  def text(self) -> str:
    """Names the steps, for the report."""
    return ', '.join([*(step.text for step in self.steps if step.text),
                      *([f'× {self.factor}'] if self.factor else [])])

  def apply(self, array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Converts an array of the file for a variable of this shape."""
    for step in self.steps:
      array = step.function(array, shape)
    return array

  def revert(self, array: np.ndarray) -> np.ndarray:
    """Converts a variable back to the file's array, for a `factor` of 1.

    Raises:
      ValueError: if a step has no inverse.
    """
    for step in reversed(self.steps):
      if step.inverse is None:
        raise ValueError(f'Expected: steps that have an inverse. Received: {step.text!r} for '
                         f'{self.key!r}.')
      array = step.inverse(array)
    return array


def _oihw(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  if array.ndim == 2:
    height, width = _window(array.shape[1], shape)
    array = array.reshape(array.shape[0], -1, height, width)
  array = array.transpose(2, 3, 1, 0)
  return _flat(array, shape)


def _hwio(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  if array.ndim == 2 and len(shape) == 4:
    height, width = _window(array.shape[0], shape)
    return array.reshape(height, width, -1, array.shape[1])
  return _flat(array, shape)


def _window(size: int, shape: Sequence[int]) -> tuple[int, int]:
  """Height and width of the map that was flattened to `size` inputs of a fully connected layer.

  They are those of our kernel if it is a convolution and they divide `size`.
  """
  height, width = shape[:2] if len(shape) == 4 else (1, 1)
  return (height, width) if size % (height * width) == 0 else (1, 1)


def _flat(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  """Removes the window of a 1×1 kernel if our variable has none."""
  if array.ndim == 4 and array.shape[:2] == (1, 1) and len(shape) == 2:
    return array.reshape(array.shape[2:])
  return array


def _depthwise_oihw(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  multiplier = shape[3] if len(shape) == 4 and array.shape[0] % shape[3] == 0 else 1
  return array.reshape(-1, multiplier, *array.shape[2:]).transpose(2, 3, 0, 1)


def _to_oihw(array: np.ndarray) -> np.ndarray:
  return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T


def _to_oi(array: np.ndarray) -> np.ndarray:
  return _to_oihw(array).reshape(array.shape[-1], -1)


def _to_depthwise_oihw(array: np.ndarray) -> np.ndarray:
  return array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2])


def _depthwise_hwio(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  if array.ndim == 4 and array.shape[3] == 1 and array.shape[2] == math.prod(shape[2:]):
    return array.reshape(*array.shape[:2], *shape[2:])
  return array


# Kernels of PyTorch and Caffe: [out, in, height, width], or [out, in] for a fully connected layer,
# whose inputs were flattened from channels, height and width. With groups, `in` is that of a group.
OIHW = Step('OIHW to HWIO', _oihw, _to_oihw)
# The same, where the layer is known to be fully connected.
OI = Step('OIHW to HWIO', _oihw, _to_oi)
# Depthwise kernels of PyTorch: [channels · multiplier, 1, height, width].
DEPTHWISE_OIHW = Step('OIHW to HWIM', _depthwise_oihw, _to_depthwise_oihw)
# Depthwise kernels of TensorFlow Lite: [height, width, channels · multiplier, 1].
DEPTHWISE_HWIO = Step('', _depthwise_hwio)
# Kernels of Keras and TensorFlow: like ours, or [in, out] for a fully connected layer, whose inputs
# were flattened from height, width and channels. Only the shape differs: the inverse keeps ours.
HWIO = Step('', _hwio, lambda array: array)
# For the first layer's kernel, already in our layout, if its channels are in reverse order.
SWAP_RED_AND_BLUE = Step('BGR to RGB', lambda array, shape: array[:, :, ::-1],
                         lambda array: array[:, :, ::-1])


def plus(number: float) -> Step:
  """Adds a number, such as the difference of two epsilons of batch norm."""
  return Step(f'+ {number:g}', lambda array, shape: array + np.asarray(number, array.dtype),
              lambda array: array - np.asarray(number, array.dtype))


def times(number: float) -> Step:
  """Multiplies by a number."""
  return Step(f'× {number:g}', lambda array, shape: array * np.asarray(number, array.dtype),
              lambda array: array / np.asarray(number, array.dtype))


def constant(number: float) -> Take:
  """A value that is not from the file: the same number everywhere."""
  return Take('', (Step(f'{number:g}', lambda array, shape: np.full(shape, number, np.float32)),))


def change_channels(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
  """Fits the first layer's kernel [height, width, in, out] to a different number of channels.

  For fewer channels, kernels are summed; for more, they are repeated in turn, each divided by its
  number of copies. So an image with equal channels gives the same result as before.
  """
  if array.ndim != 4 or len(shape) != 4 or array.shape[2] == shape[2]:
    return array
  given, wanted = array.shape[2], shape[2]
  if wanted < given:
    return np.stack([array[:, :, start::wanted].sum(axis=2) for start in range(wanted)], axis=2)
  order = np.arange(wanted) % given
  counts = np.bincount(order).astype(array.dtype)
  return array[:, :, order] / counts[order][:, np.newaxis]


CHANGE_CHANNELS = Step('channels summed or repeated', change_channels)
