"""Learning rates that differ by variable."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

from slim_zoo.training import distribution, optimizers, trainer

# Three groups, none of them contiguous; one consists of the unnamed variables.
_MULTIPLIERS = {'LeNet/conv2/weights': 0.5, 'LeNet/fc3/weights': 3.0, 'LeNet/fc3/biases': 0.5,
                'LeNet/fc4/biases': 3.0, 'LeNet/conv1/biases': 1.0}


@functools.cache
def _recorded(optimizer):
  """Trains with multipliers, one step per call; returns the gradients, rates and all values."""
  strategy = distribution.create_strategy(1)
  made = trainer.Trainer(toys.lenet(), optimizer=optimizer, settings=toys.SETTINGS,
                         schedule=toys.SCHEDULE, batch_size=toys.BATCH, multipliers=_MULTIPLIERS)
  start = {name: v.numpy() for name, v in made.network.variables.items()}
  batches = iter(strategy.distribute_datasets_from_function(
      lambda _: tf.data.Dataset.from_tensor_slices(toys.examples([28, 28, 1])).batch(toys.BATCH)))
  measured = [made.run(batches, 1, with_gradients=True) for _ in range(3)]
  rates = [float(m.learning_rate[0]) for m in measured]
  assert rates == pytest.approx([0.05, 0.05, 0.05 * 0.94])  # The schedule's, without the factors.
  return start, [m.gradients for m in measured], rates, toys.values(made)


def _sgd(value, gradients, rates):
  for gradient, rate in zip(gradients, rates, strict=True):
    value = value - rate * gradient
  return value


def _momentum(value, gradients, rates):
  velocity = 0
  for gradient, rate in zip(gradients, rates, strict=True):
    velocity = toys.SETTINGS.momentum * velocity + gradient
    value = value - rate * velocity
  return value


def _adam(value, gradients, rates):
  variable = keras.Variable(value)
  optimizer = keras.optimizers.Adam(
      beta_1=toys.SETTINGS.adam_beta1, beta_2=toys.SETTINGS.adam_beta2,
      epsilon=toys.SETTINGS.opt_epsilon)
  for gradient, rate in zip(gradients, rates, strict=True):
    optimizer.learning_rate = rate
    optimizer.apply([tf.constant(gradient)], [variable])
  return variable.numpy()


@pytest.mark.parametrize(('optimizer', 'reference'), [
  ('sgd', _sgd), ('momentum', _momentum), ('adam', _adam)])
def test_multiplier_scales_the_learning_rate(optimizer, reference):
  start, gradients, rates, received = _recorded(optimizer)
  for name, value in start.items():
    factor = _MULTIPLIERS.get(name, 1)
    found = [step[name] for step in gradients]
    expected = reference(value, found, [factor * rate for rate in rates])
    largest = np.abs(expected - value).max()
    # A rate that is 1% off would show.
    np.testing.assert_allclose(received[name], expected, atol=1e-3 * largest, err_msg=name)


@pytest.mark.parametrize('name', ['sgd', 'momentum', 'adam', 'ftrl'])
def test_multipliers_equal_several_optimizers_in_one_graph(name):
  """Values and names, including beta powers, equal those of a graph with one optimizer each."""
  start, gradients, rates, received = _recorded(name)
  v1 = tf.compat.v1
  groups = {}
  for variable in start:
    groups.setdefault(_MULTIPLIERS.get(variable, 1.0), []).append(variable)
  with tf.Graph().as_default(), v1.Session() as session:
    rate = v1.placeholder(tf.float32, [])
    fed = {n: v1.placeholder(tf.float32, v.shape) for n, v in start.items()}
    variables = {n: v1.get_variable(n, initializer=v) for n, v in start.items()}
    updates = [optimizers.get_optimizer(name).create(factor * rate, toys.SETTINGS).apply_gradients(
        [(fed[n], variables[n]) for n in names]) for factor, names in groups.items()]
    session.run(v1.global_variables_initializer())
    for step, value in zip(gradients, rates, strict=True):
      session.run(updates, {rate: value, **{fed[n]: g for n, g in step.items()}})
    expected = {v.op.name: session.run(v) for v in v1.global_variables()}
  assert set(received) == {*expected, 'global_step'}
  assert len(groups) == 3 and ('beta2_power_2' in expected) == (name == 'adam')
  for variable, value in expected.items():
    np.testing.assert_allclose(received[variable], value, rtol=1e-5, atol=1e-7, err_msg=variable)


def test_multipliers_of_1_equal_no_multipliers():
  ones = dict.fromkeys(_MULTIPLIERS, 1.0)
  expected = toys.values(toys.train(toys.lenet, 3, optimizer='adam')[0])
  received = toys.values(toys.train(toys.lenet, 3, optimizer='adam', multipliers=ones)[0])
  assert {n: v.tobytes() for n, v in received.items()} == {
    n: v.tobytes() for n, v in expected.items()}


def test_multipliers_on_two_replicas_make_the_same_update_as_on_one():
  one, two = (toys.values(toys.train(toys.lenet, 3, replicas=n, optimizer='adam',
                                     multipliers=_MULTIPLIERS)[0]) for n in (1, 2))
  assert list(one) == list(two) and 'beta1_power_2' in one
  for name, value in one.items():
    scale = max(float(np.abs(value).max()), 1e-3)
    np.testing.assert_allclose(two[name], value, atol=2e-5 * scale, rtol=0, err_msg=name)


def test_resumed_run_with_multipliers_is_bit_identical():
  arguments = {'optimizer': 'adam', 'multipliers': _MULTIPLIERS,
               'class_weights': toys.CLASS_WEIGHTS}
  expected = toys.values(toys.train(toys.lenet, 3, **arguments)[0])
  halfway = toys.values(toys.train(toys.lenet, 2, **arguments)[0])
  received = toys.values(toys.train(toys.lenet, 1, resumed=halfway, **arguments)[0])
  assert {n: v.tobytes() for n, v in received.items()} == {
    n: v.tobytes() for n, v in expected.items()}


def _toy_network_frozen_by_names():
  return toys.toy_network(is_frozen=lambda name: name.startswith('toy/conv1/'))


toys.SHAPES[_toy_network_frozen_by_names] = [8, 8, 3]


def test_freezing_by_multiplier_equals_freezing_by_scope():
  by_scope = toys.values(toys.train(toys.partly_frozen_toy_network, 3)[0])
  by_name = toys.values(toys.train(_toy_network_frozen_by_names, 3)[0])
  assert {n: v.tobytes() for n, v in by_name.items()} == {
    n: v.tobytes() for n, v in by_scope.items()}
