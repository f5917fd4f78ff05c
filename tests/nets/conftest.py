"""Random variables for networks: values at which every part of a network shows in the logits."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import network


@pytest.fixture
def rng():
  return np.random.default_rng(0)


def _random_value(rng: np.random.Generator, name: str, shape) -> np.ndarray:
  kind = name.rsplit('/', maxsplit=1)[-1]
  if kind in ('gamma', 'moving_variance'):
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)
  if kind in ('beta', 'biases', 'moving_mean'):
    return rng.normal(0, 0.2, shape).astype(np.float32)
  # Depthwise weights: each output sees height * width inputs.
  inputs = np.prod(shape[:2] if kind == 'depthwise_weights' else shape[:-1])
  return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / inputs))


@pytest.fixture
def randomize(rng):
  """`randomize(network) -> {name: array}` gives every variable a random value."""
  def function(net: network.Network) -> dict[str, np.ndarray]:
    values = {name: _random_value(rng, name, tuple(variable.shape))
              for name, variable in net.variables.items()}
    for name, value in values.items():
      net.variables[name].assign(value)
    return values
  return function


@pytest.fixture
def random_getter(rng):
  """A `custom_getter` for a `tf.Graph` that gives every variable a random value.

  The session draws them, quicker than NumPy for large networks.
  """
  v1 = tf.compat.v1

  def function(getter, name, *args, initializer=None, shape=None, **arguments):
    kind = name.rsplit('/', maxsplit=1)[-1]
    if kind in ('gamma', 'moving_variance'):
      initializer = v1.random_uniform_initializer(0.5, 1.5)
    elif kind in ('beta', 'biases', 'moving_mean'):
      initializer = v1.random_normal_initializer(0, 0.2)
    else:
      limit = float(np.sqrt(6 / np.prod(shape[:-1])))
      initializer = v1.random_uniform_initializer(-limit, limit)
    return getter(name, *args, initializer=initializer, shape=shape, **arguments)

  return function
