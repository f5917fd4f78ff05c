"""The optimizers equal TensorFlow 1's in updates and in the names its Saver writes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.training import optimizers

v1 = tf.compat.v1
_START = {'net/a': np.array([1.0, -2.0, 0.5], np.float32), 'net/b': np.array([[0.1]], np.float32)}
_RATES = (0.1, 0.05, 0.2, 0.01)
# Not the defaults, so that the use of each is tested.
_SETTINGS = optimizers.Settings(
  adadelta_rho=0.8, adagrad_initial_accumulator_value=0.2, adam_beta1=0.7, adam_beta2=0.95,
  opt_epsilon=0.3, ftrl_learning_rate_power=-0.6, ftrl_initial_accumulator_value=0.3,
  ftrl_l1=0.01, ftrl_l2=0.02, momentum=0.8, rmsprop_momentum=0.7, rmsprop_decay=0.6)


def _reference(name: str, rate):
  """TF-Slim's `_configure_optimizer`, with the settings above."""
  return {
    'adadelta': lambda: v1.train.AdadeltaOptimizer(rate, rho=0.8, epsilon=0.3),
    'adagrad': lambda: v1.train.AdagradOptimizer(rate, initial_accumulator_value=0.2),
    'adam': lambda: v1.train.AdamOptimizer(rate, beta1=0.7, beta2=0.95, epsilon=0.3),
    'ftrl': lambda: v1.train.FtrlOptimizer(
      rate, learning_rate_power=-0.6, initial_accumulator_value=0.3,
      l1_regularization_strength=0.01, l2_regularization_strength=0.02),
    'momentum': lambda: v1.train.MomentumOptimizer(rate, momentum=0.8, name='Momentum'),
    'rmsprop': lambda: v1.train.RMSPropOptimizer(rate, decay=0.6, momentum=0.7, epsilon=0.3),
    'sgd': lambda: v1.train.GradientDescentOptimizer(rate),
  }[name]()


def _gradients(step: int) -> list[np.ndarray]:
  rng = np.random.default_rng(step)
  return [rng.standard_normal(v.shape).astype(np.float32) for v in _START.values()]


def _train_in_a_graph(name: str) -> dict[str, np.ndarray]:
  """Returns every variable of a TensorFlow 1 graph after some steps, by its name."""
  with tf.Graph().as_default(), v1.Session() as session:
    rate = v1.placeholder(tf.float32, [])
    variables = [v1.get_variable(n, initializer=v) for n, v in _START.items()]
    fed = [v1.placeholder(tf.float32, v.shape) for v in variables]
    update = _reference(name, rate).apply_gradients(list(zip(fed, variables, strict=True)))
    session.run(v1.global_variables_initializer())
    for step, value in enumerate(_RATES):
      session.run(update, {rate: value, **dict(zip(fed, _gradients(step), strict=True))})
    return {v.op.name: session.run(v) for v in v1.global_variables()}


def _train_here(name: str) -> dict[str, np.ndarray]:
  """Does the same with this project's optimizer."""
  kind = optimizers.get_optimizer(name)
  rate = tf.Variable(0.0)
  variables = {n: tf.Variable(v) for n, v in _START.items()}
  optimizer = kind.create(rate.read_value, _SETTINGS) if name != 'ftrl' else kind.create(
    rate, _SETTINGS)
  created = {}

  def remember(next_creator, **kwargs):
    created[str(kwargs.get('name'))] = variable = next_creator(**kwargs)
    return variable

  @tf.function(autograph=False)
  def update(gradients):
    optimizer.apply_gradients(list(zip(gradients, variables.values(), strict=True)))

  with tf.variable_creator_scope(remember):
    for step, value in enumerate(_RATES):
      rate.assign(value)
      update([tf.constant(g) for g in _gradients(step)])
  state = optimizers.state(kind, optimizer, variables=variables, created=created)
  return {n: v.numpy() for n, v in {**variables, **state}.items()}


@pytest.mark.parametrize('name', sorted({*optimizers.OPTIMIZERS} - {'adamw', 'lamb'}))
def test_updates_and_names_equal_tensorflow_1(name):
  expected, found = _train_in_a_graph(name), _train_here(name)
  assert found.keys() == expected.keys()
  for variable, value in expected.items():
    np.testing.assert_allclose(found[variable], value, rtol=1e-6, atol=1e-8, err_msg=variable)
    assert variable not in _START or not np.allclose(value, _START[variable])


def test_defaults_equal_tf_slims():
  # reference: the flags of TF-Slim's train_image_classifier.py
  assert optimizers.Settings() == optimizers.Settings(
    adadelta_rho=0.95, adagrad_initial_accumulator_value=0.1, adam_beta1=0.9, adam_beta2=0.999,
    opt_epsilon=None, ftrl_learning_rate_power=-0.5, ftrl_initial_accumulator_value=0.1,
    ftrl_l1=0.0, ftrl_l2=0.0, momentum=0.9, nesterov=False, rmsprop_momentum=0.9, rmsprop_decay=0.9)


@pytest.mark.parametrize('name', ['adadelta', 'adam', 'rmsprop'])
def test_default_epsilon_is_tf_slims(name):
  kind = optimizers.get_optimizer(name)
  assert kind.create(0.1, optimizers.Settings())._epsilon == 1.0


@pytest.mark.parametrize('nesterov', [False, True])
def test_momentum_equals_keras(nesterov):
  rng = np.random.default_rng(0)
  start = rng.standard_normal([3, 4]).astype(np.float32)
  ours, theirs = tf.Variable(start), keras.Variable(start)
  optimizer = optimizers.get_optimizer('momentum').create(
    0.1, optimizers.Settings(momentum=0.8, nesterov=nesterov))
  oracle = keras.optimizers.SGD(0.1, momentum=0.8, nesterov=nesterov)
  for _ in range(20):
    gradient = tf.constant(rng.standard_normal(start.shape), tf.float32)
    optimizer.apply_gradients([(gradient, ours)])
    oracle.apply([gradient], [theirs])
  np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize(('settings', 'arguments'), [
  (optimizers.Settings(), {'epsilon': 1e-8}),
  (optimizers.Settings(adam_beta1=0.7, adam_beta2=0.95, opt_epsilon=0.3),
   {'beta_1': 0.7, 'beta_2': 0.95, 'epsilon': 0.3})])
@pytest.mark.parametrize('weight_decay', [0.0, 0.05])
def test_adamw_equals_keras(settings, arguments, weight_decay):
  rng = np.random.default_rng(0)
  start = {'a/weights': rng.standard_normal([3, 4]).astype(np.float32),
           'a/biases': rng.standard_normal(4).astype(np.float32)}
  kind, rate = optimizers.get_optimizer('adamw'), tf.Variable(0.0)
  ours = {name: tf.Variable(value) for name, value in start.items()}
  theirs = [keras.Variable(value, name=name.split('/')[1]) for name, value in start.items()]
  optimizer = kind.make(rate.read_value, settings, weight_decay)
  oracle = keras.optimizers.AdamW(0.1, weight_decay=weight_decay, **arguments)
  oracle.exclude_from_weight_decay(var_names=['biases'])
  oracle.build(theirs)

  @tf.function(autograph=False)
  def update(gradients):
    optimizer.apply_gradients(list(zip(gradients, ours.values(), strict=True)))

  for step in range(20):
    gradients = [tf.constant(rng.standard_normal(v.shape), tf.float32) for v in start.values()]
    rate.assign(0.1 / (1 + step))
    oracle.learning_rate = 0.1 / (1 + step)
    update(gradients)
    oracle.apply(gradients, theirs)
  for variable, oracles in zip(ours.values(), theirs, strict=True):
    np.testing.assert_allclose(variable, oracles, rtol=2e-6, atol=2e-6)
  assert optimizer.get_slot(ours['a/weights'], 'm').shape == [3, 4]


def _twenty_steps(name, settings, weight_decay):
  """Trains weights and biases; returns their start, the gradients of each step, and the result."""
  rng = np.random.default_rng(0)
  start = {'a/weights': rng.standard_normal([3, 4]).astype(np.float32),
           'a/biases': rng.standard_normal(4).astype(np.float32)}
  variables = {key: tf.Variable(value) for key, value in start.items()}
  optimizer = optimizers.get_optimizer(name).make(tf.constant(0.1), settings, weight_decay)
  gradients = [{key: rng.standard_normal(value.shape).astype(np.float32)
                for key, value in start.items()} for _ in range(20)]

  @tf.function(autograph=False)
  def update(of_step):
    optimizer.apply_gradients([(of_step[key], variables[key]) for key in variables])

  for of_step in gradients:
    update({key: tf.constant(value) for key, value in of_step.items()})
  return start, gradients, {key: variable.numpy() for key, variable in variables.items()}


def test_lamb_equals_keras():
  start, gradients, found = _twenty_steps('lamb', optimizers.Settings(opt_epsilon=1e-6), 0.0)
  theirs = {key: keras.Variable(value) for key, value in start.items()}
  oracle = keras.optimizers.Lamb(0.1, epsilon=1e-6)
  oracle.build(list(theirs.values()))
  for of_step in gradients:
    oracle.apply([tf.constant(value) for value in of_step.values()], list(theirs.values()))
  for key, value in found.items():
    np.testing.assert_allclose(value, theirs[key].numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('decay_vectors', [False, True])
def test_lamb_decays_as_in_its_paper(decay_vectors):
  settings = optimizers.Settings(decay_vectors=decay_vectors)
  start, gradients, found = _twenty_steps('lamb', settings, 0.3)
  for key, value in start.items():
    decay = 0.3 if decay_vectors or key == 'a/weights' else 0.0
    first = second = 0.0
    value = value.astype(np.float64)
    for step, of_step in enumerate(gradients, start=1):
      first = 0.9 * first + 0.1 * of_step[key]
      second = 0.999 * second + 0.001 * of_step[key] ** 2
      update = (first / (1 - 0.9 ** step) / (np.sqrt(second / (1 - 0.999 ** step)) + 1e-8)
                + decay * value)
      trust = np.linalg.norm(value) / np.linalg.norm(update) if decay else 1
      value = value - 0.1 * trust * update
    np.testing.assert_allclose(found[key], value, rtol=1e-4, atol=1e-5)


def test_adamw_decays_vectors_if_asked():
  _, _, found = _twenty_steps('adamw', optimizers.Settings(decay_vectors=True), 0.5)
  _, _, plain = _twenty_steps('adamw', optimizers.Settings(), 0.5)
  np.testing.assert_array_equal(found['a/weights'], plain['a/weights'])
  assert not np.allclose(found['a/biases'], plain['a/biases'])


def test_names_of_the_optimizers():
  assert sorted(optimizers.OPTIMIZERS) == ['adadelta', 'adagrad', 'adam', 'adamw', 'ftrl',
                                           'lamb', 'momentum', 'rmsprop', 'sgd']
  with pytest.raises(ValueError, match="Unknown optimizer 'adamv'. Did you mean adam"):
    optimizers.get_optimizer('adamv')
