"""The random weights and images that an oracle and our network are compared on.

Each array is a function of its name and shape alone, drawn by NumPy's legacy generator, whose
streams never change: an oracle's environment and this project's make the same numbers, and a
fixture need hold only the results.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np


def _uniform(name: str, shape: Sequence[int], limits: tuple[float, float]) -> np.ndarray:
  low, high = limits
  random = np.random.RandomState(zlib.crc32(name.encode()))
  return (low + (high - low) * random.random_sample(tuple(shape))).astype(np.float32)


def variable(name: str, shape: Sequence[int], squares: Mapping[str, float]) -> np.ndarray:
  """Draws a variable's value.

  Args:
    name: TF-Slim's name of the variable; its last part tells what it is.
    shape: of the variable, in TF-Slim's layout.
    squares: `{scope of a batch norm: mean square}` of what comes in there, about which its moving
      averages are drawn: the numbers within a deep network then neither vanish nor explode, and
      every layer shows in the logits.

  Returns:
    float32 of the given shape.
  """
  scope, _, kind = name.rpartition('/')
  if kind == 'gamma':
    return _uniform(name, shape, (0.5, 1.5))
  if kind == 'moving_variance':
    return _uniform(name, shape, (0.5, 1.5)) * np.float32(squares.get(scope, 1))
  if kind == 'moving_mean':
    return _uniform(name, shape, (-0.35, 0.35)) * np.float32(squares.get(scope, 1) ** 0.5)
  if kind in ('beta', 'biases'):
    return _uniform(name, shape, (-0.35, 0.35))
  # Weights of a variance of two, shared among the inputs that an output sees (He et al. 2015).
  inputs = np.prod(shape[:2] if kind == 'depthwise_weights' else shape[:-1])
  limit = float((6 / inputs) ** 0.5)
  return _uniform(name, shape, (-limit, limit))


def array_of_torch(key: str, shape: Sequence[int], squares: Mapping[str, float]) -> np.ndarray:
  """Draws an array of a PyTorch state dict.

  Args:
    key: its name; the last part tells what it is.
    shape: in PyTorch's layout.
    squares: `{module of a batch norm: mean square}` of what comes in there, as in `variable`.

  Returns:
    float32 of the given shape; of int64 for the number of batches, zero.
  """
  module, _, kind = key.rpartition('.')
  if kind == 'num_batches_tracked':
    return np.zeros(tuple(shape), np.int64)
  if kind == 'running_var':
    return _uniform(key, shape, (0.5, 1.5)) * np.float32(squares.get(module, 1))
  if kind == 'running_mean':
    return _uniform(key, shape, (-0.35, 0.35)) * np.float32(squares.get(module, 1) ** 0.5)
  if kind == 'bias':
    return _uniform(key, shape, (-0.35, 0.35))
  if len(shape) == 1:  # A batch norm's scale.
    return _uniform(key, shape, (0.5, 1.5))
  limit = float((6 / np.prod(shape[1:])) ** 0.5)
  return _uniform(key, shape, (-limit, limit))


def images(batch: int, size: int, channels: int = 3) -> np.ndarray:
  """Draws float32 images [batch, size, size, channels] in [-1, 1)."""
  return _uniform(f'images/{size}', [batch, size, size, channels], (-1, 1))


def coefficients(name: str, shape: Sequence[int]) -> np.ndarray:
  """Draws the numbers that a tensor is multiplied by, to sum it up in one number."""
  return _uniform(f'coefficients/{name}', shape, (-1, 1))
