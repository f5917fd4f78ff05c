"""The random weights and images with which an oracle and our network are compared.

Each array is a function of its name and shape only, drawn by NumPy's legacy generator, whose
streams never change: the oracle's environment and this project's draw the same numbers, so a
fixture contains only the results.
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
    name: TF-Slim's name of the variable; its last part determines the distribution.
    shape: its shape, in TF-Slim's layout.
    squares: `{scope of a batch norm: mean square of its inputs}`; scales its moving averages, so
      that activations of a deep network neither vanish nor explode and every layer affects the
      logits.

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
  # Variance 2 / fan-in (He et al. 2015).
  inputs = np.prod(shape[:2] if kind == 'depthwise_weights' else shape[:-1])
  limit = float((6 / inputs) ** 0.5)
  return _uniform(name, shape, (-limit, limit))


def array_of_torch(key: str, shape: Sequence[int], squares: Mapping[str, float]) -> np.ndarray:
  """Draws an array of a PyTorch state dict.

  Args:
    key: its name; the last part determines the distribution.
    shape: its shape, in PyTorch's layout.
    squares: `{module of a batch norm: mean square of its inputs}`, as in `variable`.

  Returns:
    float32 of the given shape; for the number of batches, int64 zeros.
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
  """Draws coefficients in [-1, 1), to reduce a tensor to one number."""
  return _uniform(f'coefficients/{name}', shape, (-1, 1))
