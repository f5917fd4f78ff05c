"""Random values for variables with which every part of a network affects the logits."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, network, stand_in
from scripts.oracles import fixtures, keras_models


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

  The session draws them, which is faster than NumPy for large networks.
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


@dataclasses.dataclass(frozen=True)
class _Training:
  """A network in training, traced without variables.

  Attributes:
    trainable, others: `{name: shape}` of the variables.
    decayed: names of the variables with a regularizer.
    logits, end_points: results of the network.
  """
  trainable: dict[str, list[int]]
  others: dict[str, list[int]]
  decayed: list[str]
  logits: tf.Tensor
  end_points: dict[str, tf.Tensor]


@pytest.fixture(scope='session')
def trace_training():
  """`trace_training(name, size=…)` traces a network in training, much faster than building it."""
  v1 = tf.compat.v1

  def function(name, *, size=None, channels=3, dtype=tf.float32):
    shapes, decayed = {True: {}, False: {}}, []

    def answer(getter, name, *, shape, dtype, regularizer=None, trainable=True, **unused):
      shapes[trainable is not False][name] = list(shape)
      decayed.extend([name] if regularizer is not None else [])
      return stand_in.StandIn(v1.placeholder(dtype, shape))

    with tf.Graph().as_default(), v1.variable_scope(v1.get_variable_scope(), custom_getter=answer):
      size = size or nets_factory.get_net(name).image_size
      logits, end_points = nets_factory.get_network_fn(name, 10, 0.1, True)(
        v1.placeholder(dtype, [2, size, size, channels]),
        keys=v1.placeholder(tf.int64, [2, 2]), step=tf.constant(0))
    return _Training(shapes[True], shapes[False], decayed, logits, end_points)

  return function


def _take_statistics(model, variables, images):
  """Returns moving averages measured on the images, so that no deep layer saturates."""
  for layer in model.layers:
    if isinstance(layer, keras.layers.BatchNormalization):
      layer.momentum = 0.0
  model(images, training=True)
  return {name: variable.numpy() for name, variable in variables.items()
          if name.rpartition('/')[2].startswith('moving')}


@pytest.fixture
def assert_equals_keras(rng, randomize):
  """`assert_equals_keras(name, make)` compares logits, at an odd and an even size.

  `make(input_shape=…)` creates Keras' network with 12 classes.
  """
  def function(name, make):
    ours = nets_factory.build_network(name, image_shape=(97, 97, 3), num_classes=12)
    values = randomize(ours)
    for size in (97, 64):
      theirs = make(input_shape=(size, size, 3))
      variables = keras_models.assign(name, theirs, values)
      if size == 97:
        batch = rng.uniform(-1, 1, [8, size, size, 3]).astype(np.float32)
        values.update(_take_statistics(theirs, variables, batch))
        for key, value in values.items():
          ours.variables[key].assign(value)
      images = rng.uniform(-1, 1, [3, size, size, 3]).astype(np.float32)
      expected = theirs(images, training=False).numpy()
      logits, _ = ours(images, is_training=False)
      assert np.abs(expected[0] - expected[1]).max() > 0.1 * expected.std()
      np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std())
  return function


@pytest.fixture
def assert_gradients():
  """`assert_gradients({name: array}, summaries)` compares gradients with an oracle's summaries.

  Rounding, which depends on the number of threads, switches some ReLUs and so parts of gradients:
  changing images by 1e-7 changes NASNet's gradients by up to 2.7%, other networks' by 0.5%.
  """
  def function(ours, theirs, tolerance=3e-2):
    assert sorted(ours) == sorted(theirs)
    largest = max(norm for norm, _ in theirs.values())
    errors = []
    for name, gradient in ours.items():
      norm, product = fixtures.gradient_summary(name, gradient)
      # A gradient that is a small difference of large numbers has their rounding errors.
      slack = tolerance * theirs[name][0] + 1e-6 * largest
      np.testing.assert_allclose(norm, theirs[name][0], rtol=0, atol=slack, err_msg=name)
      np.testing.assert_allclose(product, theirs[name][1], rtol=0, err_msg=name,
                                 atol=slack * np.sqrt(gradient.size))
      errors.append(abs(norm - theirs[name][0]) / largest)
    assert np.median(errors) < tolerance / 10
  return function
