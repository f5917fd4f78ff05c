"""The training step on one and on two replicas."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory, network
from slim_zoo.training import clipping, distribution, losses, optimizers, schedules, trainer
from slim_zoo.training.mixing import Mixing

_BATCH = 8
_SETTINGS = optimizers.Settings(opt_epsilon=1e-3)
_SCHEDULE = schedules.Schedule('exponential', 0.05, decay_steps=2)
# Three groups, none of them contiguous; one consists of the unnamed variables.
_MULTIPLIERS = {'LeNet/conv2/weights': 0.5, 'LeNet/fc3/weights': 3.0, 'LeNet/fc3/biases': 0.5,
                'LeNet/fc4/biases': 3.0, 'LeNet/conv1/biases': 1.0}


def _toy(images, num_classes, *, is_training, scope='toy'):
  """A net with batch norm and an auxiliary head."""
  with tf.compat.v1.variable_scope(scope), layers.arg_scope(
      [layers.batch_norm], is_training=is_training, scale=True, decay=0.9):
    net = layers.conv2d(images, 4, 3, normalizer_fn=layers.batch_norm, scope='conv1')
    net = layers.conv2d(net, 6, 3, stride=2, normalizer_fn=layers.batch_norm, scope='conv2')
    net = tf.reduce_mean(net, [1, 2])
    end_points = {}
    if is_training:
      end_points['AuxLogits'] = layers.fully_connected(net, num_classes, activation_fn=None,
                                                       scope='aux')
    logits = layers.fully_connected(net, num_classes, activation_fn=None, scope='logits')
  return logits, end_points


def _toy_arg_scope(weight_decay=0.0):
  with layers.arg_scope([layers.conv2d, layers.fully_connected],
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as scope:
    return scope


def _toy_network(**arguments):
  return network.Network(_toy, _toy_arg_scope, image_shape=[8, 8, 3], num_classes=5,
                         weight_decay=0.01, is_training=True, **arguments)


def _partly_frozen_toy_network(**arguments):
  return _toy_network(trainable_scopes=['toy/conv2', 'toy/logits', 'toy/aux'], **arguments)


def _lenet(**arguments):
  return nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=5,
                                    weight_decay=0.01, is_training=True, **arguments)


_SHAPES = {_lenet: [28, 28, 1], _toy_network: [8, 8, 3], _partly_frozen_toy_network: [8, 8, 3]}


def _examples(shape, batches=3):
  random = np.random.default_rng(0)
  count = _BATCH * batches
  return {'image': random.normal(size=[count, *shape]).astype(np.float32),
          'label': random.integers(0, 5, count).astype(np.int32),
          'weight': (np.arange(count) % 7 != 3).astype(np.float32),
          'id': random.integers(0, 2**62, count)}


def _train(build, steps, *, replicas=1, optimizer='momentum', xla=False, average=None,
           with_gradients=False, calls=1, resumed=None, **arguments):
  strategy = distribution.create_strategy(replicas, clone_on_cpu=True)
  with strategy.scope():
    made = trainer.Trainer(
        build(), optimizer=optimizer, settings=_SETTINGS, schedule=_SCHEDULE, batch_size=_BATCH,
        loss=losses.Loss(label_smoothing=0.1), moving_average_decay=average, xla=xla, **arguments)
  for name, value in (resumed or {}).items():
    made.state()[name].assign(value)
  dataset = tf.data.Dataset.from_tensor_slices(_examples(_SHAPES[build])).batch(
      _BATCH // replicas // made.batches_per_step, drop_remainder=True).repeat().skip(
          made.step * replicas * made.batches_per_step)
  batches = iter(strategy.distribute_datasets_from_function(lambda _: dataset))
  measured = [made.run(batches, steps // calls, with_gradients=with_gradients)
              for _ in range(calls)]
  return made, measured[-1]


def _values(made):
  return {name: variable.read_value().numpy() for name, variable in made.state().items()}


@pytest.mark.parametrize('optimizer', [
  pytest.param(name, marks=() if name in ('adam', 'adamw', 'ftrl', 'momentum') else
               pytest.mark.thorough)
  for name in sorted(optimizers.OPTIMIZERS)])
def test_two_replicas_make_the_same_update_as_one(optimizer):
  # lenet has dropout and no batch norm: masks must not depend on the replica.
  arguments = {'optimizer': optimizer, 'average': 0.9, 'weight_decay': 0.1}
  one, measured_one = _train(_lenet, 3, **arguments)
  two, measured_two = _train(_lenet, 3, replicas=2, **arguments)
  expected, received = _values(one), _values(two)
  assert list(expected) == list(received)
  print(f'\n{optimizer}: largest difference of a variable in 3 steps, relative to its largest '
        'number:', max(float(np.abs(received[n] - v).max() / max(np.abs(v).max(), 1e-3))
                       for n, v in expected.items()))
  for name, value in expected.items():
    scale = max(float(np.abs(value).max()), 1e-3)
    np.testing.assert_allclose(received[name], value, atol=2e-5 * scale, rtol=0, err_msg=name)
  for field in ('loss', 'objective', 'accuracy', 'learning_rate'):
    np.testing.assert_allclose(getattr(measured_two, field), getattr(measured_one, field),
                               rtol=1e-5)


def test_batch_norm_on_two_replicas_normalizes_each_half():
  two, _ = _train(_toy_network, 1, replicas=2, optimizer='sgd')
  net = _toy_network()
  start = {name: v.numpy() for name, v in net.variables.items()}
  batch = {name: value[:_BATCH] for name, value in _examples([8, 8, 3]).items()}
  averages = {name: [] for name, v in net.variables.items() if not v.trainable}

  @tf.function(autograph=False)
  def half_loss(images, labels, weights):
    logits, end_points = net(images, is_training=True)
    return sum(factor * tf.reduce_sum(weights * losses.Loss(label_smoothing=0.1)(values, labels))
               for factor, values in ((1, logits), (0.4, end_points['AuxLogits'])))

  with tf.GradientTape() as tape:
    objective = 0.0
    for rows in (slice(0, _BATCH // 2), slice(_BATCH // 2, _BATCH)):
      for name in averages:
        net.variables[name].assign(start[name])
      objective += half_loss(batch['image'][rows], batch['label'][rows], batch['weight'][rows])
      for name, values in averages.items():
        values.append(net.variables[name].numpy())
    objective = objective / _BATCH + net.regularization_loss()
  trained = [net.variables[name] for name in net.trainable]
  received = _values(two)
  gradients = dict(zip(net.trainable, tape.gradient(objective, trained), strict=True))
  print('\nlargest difference of an update:', max(
      float(np.abs(received[n] - start[n] + 0.05 * g.numpy()).max())
      for n, g in gradients.items()))
  for name, gradient in gradients.items():
    np.testing.assert_allclose(received[name], start[name] - 0.05 * gradient.numpy(), atol=2e-6,
                               err_msg=name)
  for name, values in averages.items():
    assert not np.allclose(values[0], values[1])
    np.testing.assert_allclose(received[name], np.mean(values, axis=0), rtol=1e-5, err_msg=name)


@pytest.mark.parametrize(('build', 'arguments'), [
  (_toy_network, {}),
  (_partly_frozen_toy_network, {'clipping': clipping.Clipping(0.1), 'average': 0.9}),
  (_toy_network, {'with_gradients': True, 'class_weights': [1, 2, 3, 4, 5]})])
def test_synchronized_batch_norm_equals_one_large_batch(build, arguments):
  one, measured_one = _train(build, 3, optimizer='sgd', **arguments)

  def synchronized():
    return build(sync_batch_norm=True)

  _SHAPES[synchronized] = _SHAPES[build]
  two, measured_two = _train(synchronized, 3, replicas=2, optimizer='sgd', **arguments)
  expected, received = _values(one), _values(two)
  largest = max(float(np.abs(received[n] - v).max()) for n, v in expected.items())
  print(f'\nlargest difference of a variable in 3 steps: {largest:.1e}')
  for name, value in expected.items():
    np.testing.assert_allclose(received[name], value, atol=5e-6, rtol=1e-5, err_msg=name)
  for field in ('loss', 'objective', 'accuracy'):
    np.testing.assert_allclose(getattr(measured_two, field), getattr(measured_one, field),
                               rtol=1e-5)
  for name, gradient in measured_one.gradients.items():
    np.testing.assert_allclose(measured_two.gradients[name], gradient, atol=5e-6, err_msg=name)


def test_variance_of_all_replicas_keeps_its_digits():
  """Where the mean is 1,000 times the deviation, and differs between the replicas."""
  strategy = distribution.create_strategy(2, clone_on_cpu=True)
  images = np.random.default_rng(0).normal(1000, 1, [2, 4, 3, 3, 2]).astype('f4')
  images[1] += 2

  @tf.function(autograph=False)
  def run():
    def one():
      replica = tf.distribute.get_replica_context()
      return layers._normalize_together(
          tf.constant(images)[replica.replica_id_in_sync_group], tf.ones([2]), tf.zeros([2]),
          epsilon=1e-3, replica=replica)
    return strategy.run(one)

  for value, expected in zip(run()[1:], (images.mean((0, 1, 2, 3), 'f8'),
                                         images.astype('f8').var((0, 1, 2, 3), ddof=1)),
                             strict=True):
    for of_replica in strategy.experimental_local_results(value):
      np.testing.assert_allclose(of_replica, expected, rtol=3e-4)


@pytest.mark.parametrize('replicas', [pytest.param(1, marks=pytest.mark.thorough), 2])
@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
def test_state_has_every_slot(name, replicas):
  made, _ = _train(_toy_network, 1, replicas=replicas, optimizer=name, average=0.9)
  kind = optimizers.OPTIMIZERS[name]
  suffixes = [kind.slot_name + (f'_{n}' if n else '') for n in range(len(kind.slots))]
  expected = {f'{v}/{s}' for v in made.network.trainable for s in suffixes}
  expected |= {f'{v}/ExponentialMovingAverage' for v in made.network.variables}
  expected |= {'beta1_power', 'beta2_power'} if kind.has_beta_powers else set()
  assert set(made.state()) == {*made.network.variables, *expected, 'global_step'}
  assert made.step == 1
  assert all(v is not None for v in made.state().values())


@pytest.mark.parametrize('xla', [False, True])
@pytest.mark.parametrize('build', [_lenet, _toy_network])
def test_steps_do_not_depend_on_how_they_are_grouped(build, xla):
  at_once, _ = _train(build, 4, xla=xla)
  one_by_one, _ = _train(build, 4, xla=xla, calls=4)
  with_gradients, measured = _train(build, 4, xla=xla, calls=2, with_gradients=True)
  assert set(measured.gradients) == set(with_gradients.network.trainable)
  others = _values(one_by_one), _values(with_gradients)
  for name, value in _values(at_once).items():
    assert all(value.tobytes() == other[name].tobytes() for other in others), name


def test_gradients_are_from_the_last_step():
  made, measured = _train(_lenet, 1, optimizer='sgd', with_gradients=True)
  fresh = _lenet()
  for name, gradient in measured.gradients.items():
    np.testing.assert_allclose(made.network.variables[name].numpy(),
                               fresh.variables[name].numpy() - 0.05 * gradient, atol=1e-6)


def test_frozen_scopes_do_not_change():
  made, _ = _train(_partly_frozen_toy_network, 3)
  start = {name: v.numpy() for name, v in _partly_frozen_toy_network().variables.items()}
  moved = {name for name, v in made.network.variables.items()
           if not np.array_equal(v.numpy(), start[name])}
  assert moved == {name for name in start if not name.startswith('toy/conv1/')}
  assert not any(name.startswith('toy/conv1/') for name in made.state()
                 if name.endswith('/Momentum'))


def test_moving_averages_equal_tensorflow_1():
  made, _ = _train(_lenet, 1, optimizer='sgd', average=0.999)
  start = _lenet().variables
  for name, variable in made.network.variables.items():
    # ExponentialMovingAverage(0.999, num_updates=1): min(0.999, (1 + 1) / (10 + 1)).
    expected = 2 / 11 * start[name].numpy() + 9 / 11 * variable.numpy()
    np.testing.assert_allclose(made.state()[f'{name}/ExponentialMovingAverage'].numpy(), expected,
                               atol=1e-6)


def test_averages_are_swapped_in_and_back():
  made, _ = _train(_lenet, 3, average=0.9)
  before, name = _values(made), 'LeNet/fc4/weights'
  with made.averaged():
    inside = made.network.variables[name].numpy()
  np.testing.assert_array_equal(inside, before[f'{name}/ExponentialMovingAverage'])
  assert not np.array_equal(inside, before[name])
  np.testing.assert_array_equal(made.network.variables[name].numpy(), before[name])


def test_examples_of_weight_0_change_nothing():
  def weights_after(image_value):
    made = trainer.Trainer(_lenet(), optimizer='sgd', settings=optimizers.Settings(),
                           schedule=schedules.Schedule('fixed', 0.05), batch_size=_BATCH)
    batch = {name: value[:_BATCH].copy() for name, value in _examples([28, 28, 1]).items()}
    batch['image'][batch['weight'] == 0] = image_value
    made.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
    return made.network.variables['LeNet/fc4/weights'].numpy()

  np.testing.assert_array_equal(weights_after(0.0), weights_after(3.0))


@pytest.mark.parametrize(('dtype', 'replicas', 'xla'), [
  (tf.float32, 1, True), (tf.bfloat16, 2, True), (tf.float16, 1, False),
  pytest.param(tf.float16, 2, False, marks=pytest.mark.thorough),
  pytest.param(tf.float32, 2, True, marks=pytest.mark.thorough),
  pytest.param(tf.bfloat16, 1, False, marks=pytest.mark.thorough),
  pytest.param(tf.bfloat16, 1, True, marks=pytest.mark.thorough),
  pytest.param(tf.bfloat16, 2, False, marks=pytest.mark.thorough)])
def test_xla_and_bfloat16_updates_are_close(dtype, replicas, xla):
  def build():
    return _toy_network(dtype=dtype)

  _SHAPES[build] = _SHAPES[_toy_network]
  start = _values(_train(_toy_network, 0)[0])
  expected = _values(_train(_toy_network, 1, replicas=replicas)[0])
  received = _values(_train(build, 1, replicas=replicas, xla=xla,
                            scales_loss=dtype == tf.float16)[0])
  for name in ('toy/logits/weights', 'toy/conv2/weights'):
    assert received[name].dtype == np.float32
    one, other = expected[name] - start[name], received[name] - start[name]
    cosine = np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine > (0.99999 if dtype == tf.float32 else 0.99), name


@functools.cache
def _recorded(optimizer):
  """Trains with multipliers, one step per call; returns the gradients, rates and all values."""
  strategy = distribution.create_strategy(1)
  made = trainer.Trainer(_lenet(), optimizer=optimizer, settings=_SETTINGS, schedule=_SCHEDULE,
                         batch_size=_BATCH, multipliers=_MULTIPLIERS)
  start = {name: v.numpy() for name, v in made.network.variables.items()}
  batches = iter(strategy.distribute_datasets_from_function(
      lambda _: tf.data.Dataset.from_tensor_slices(_examples([28, 28, 1])).batch(_BATCH)))
  measured = [made.run(batches, 1, with_gradients=True) for _ in range(3)]
  rates = [float(m.learning_rate[0]) for m in measured]
  assert rates == pytest.approx([0.05, 0.05, 0.05 * 0.94])  # The schedule's, without the factors.
  return start, [m.gradients for m in measured], rates, _values(made)


def _sgd(value, gradients, rates):
  for gradient, rate in zip(gradients, rates, strict=True):
    value = value - rate * gradient
  return value


def _momentum(value, gradients, rates):
  velocity = 0
  for gradient, rate in zip(gradients, rates, strict=True):
    velocity = _SETTINGS.momentum * velocity + gradient
    value = value - rate * velocity
  return value


def _adam(value, gradients, rates):
  variable = keras.Variable(value)
  optimizer = keras.optimizers.Adam(beta_1=_SETTINGS.adam_beta1, beta_2=_SETTINGS.adam_beta2,
                                    epsilon=_SETTINGS.opt_epsilon)
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
    updates = [optimizers.get_optimizer(name).create(factor * rate, _SETTINGS).apply_gradients(
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
  expected = _values(_train(_lenet, 3, optimizer='adam')[0])
  received = _values(_train(_lenet, 3, optimizer='adam', multipliers=ones)[0])
  assert {n: v.tobytes() for n, v in received.items()} == {
    n: v.tobytes() for n, v in expected.items()}


def test_multipliers_on_two_replicas_make_the_same_update_as_on_one():
  one, two = (_values(_train(_lenet, 3, replicas=n, optimizer='adam', multipliers=_MULTIPLIERS)[0])
              for n in (1, 2))
  assert list(one) == list(two) and 'beta1_power_2' in one
  for name, value in one.items():
    scale = max(float(np.abs(value).max()), 1e-3)
    np.testing.assert_allclose(two[name], value, atol=2e-5 * scale, rtol=0, err_msg=name)


def test_resumed_run_with_multipliers_is_bit_identical():
  arguments = {'optimizer': 'adam', 'multipliers': _MULTIPLIERS, 'class_weights': _CLASS_WEIGHTS}
  expected = _values(_train(_lenet, 3, **arguments)[0])
  halfway = _values(_train(_lenet, 2, **arguments)[0])
  received = _values(_train(_lenet, 1, resumed=halfway, **arguments)[0])
  assert {n: v.tobytes() for n, v in received.items()} == {
    n: v.tobytes() for n, v in expected.items()}


def _toy_network_frozen_by_names():
  return _toy_network(is_frozen=lambda name: name.startswith('toy/conv1/'))


_SHAPES[_toy_network_frozen_by_names] = [8, 8, 3]


def test_freezing_by_multiplier_equals_freezing_by_scope():
  by_scope = _values(_train(_partly_frozen_toy_network, 3)[0])
  by_name = _values(_train(_toy_network_frozen_by_names, 3)[0])
  assert {n: v.tobytes() for n, v in by_name.items()} == {
    n: v.tobytes() for n, v in by_scope.items()}


_CLASS_WEIGHTS = (0.5, 3.0, 1.0, 0.0, 2.5)


def _weighted_objective(network, batch):
  """Keras' losses with its sample weights, over the batch size; the auxiliary head's 0.4 times."""
  logits, end_points = tf.function(lambda: network(batch['image'], is_training=True))()
  sample_weight = batch['weight'] * np.array(_CLASS_WEIGHTS, np.float32)[batch['label']]
  loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1,
                                              reduction='sum_over_batch_size')
  targets = np.eye(5, dtype=np.float32)[batch['label']]
  return float(loss(targets, logits, sample_weight)
               + 0.4 * loss(targets, end_points['AuxLogits'], sample_weight)
               + network.regularization_loss())


@pytest.mark.parametrize(('replicas', 'xla'), [(1, True), (2, False)])
def test_class_weights(replicas, xla):
  """Without batch norm, as each replica has its own; logged values stay comparable."""
  def build():
    return _toy_network(trainable_scopes=['toy/logits', 'toy/aux'])

  _SHAPES[build] = [8, 8, 3]
  batch = {name: value[:_BATCH] for name, value in _examples([8, 8, 3]).items()}
  assert len(set(batch['label'])) > 3
  plain, measured_plain = _train(build, 1, replicas=replicas)
  made, measured = _train(build, 1, replicas=replicas, xla=xla, class_weights=_CLASS_WEIGHTS)
  expected = _weighted_objective(build(), batch)
  assert measured.objective[0] == pytest.approx(expected, rel=1e-5)
  assert measured.objective[0] != pytest.approx(measured_plain.objective[0], rel=1e-2)
  assert measured.loss[0] == pytest.approx(measured_plain.loss[0], rel=1e-6)
  assert measured.accuracy[0] == measured_plain.accuracy[0]
  assert not np.allclose(made.network.variables['toy/logits/weights'].numpy(),
                         plain.network.variables['toy/logits/weights'].numpy())


def test_class_of_weight_0_has_no_gradient():
  def head_after(image_value):
    made = trainer.Trainer(_lenet(), optimizer='sgd', settings=_SETTINGS, schedule=_SCHEDULE,
                           batch_size=_BATCH, class_weights=_CLASS_WEIGHTS)
    batch = {name: value[:_BATCH].copy() for name, value in _examples([28, 28, 1]).items()}
    assert np.any(batch['label'] == 3)
    batch['image'][batch['label'] == 3] = image_value
    made.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
    return made.network.variables['LeNet/fc4/weights'].numpy()

  np.testing.assert_array_equal(head_after(0.0), head_after(3.0))


def test_needs_one_weight_per_class():
  with pytest.raises(ValueError, match='--class_weights: .* 5 .*Received: 3'):
    _train(_lenet, 1, class_weights=[1, 2, 3])


@pytest.mark.parametrize('replicas', [1, 2])
@pytest.mark.parametrize('limit', [1e-3, 1e3])
def test_gradient_is_clipped_by_its_norm(replicas, limit):
  made, measured = _train(_lenet, 1, replicas=replicas, optimizer='sgd', with_gradients=True,
                          clipping=clipping.Clipping(limit))
  plain, _ = _train(_lenet, 1, optimizer='sgd')
  rate = measured.learning_rate[0]
  norm = np.sqrt(sum(float((gradient ** 2).sum()) for gradient in measured.gradients.values()))
  assert 1e-3 < norm < 1e3
  start = _values(_train(_lenet, 0, optimizer='sgd')[0])
  clipped, free = _values(made), _values(plain)
  for name in made.network.trainable:
    expected = (free[name] - start[name]) * min(1, limit / norm)
    np.testing.assert_allclose(clipped[name] - start[name], expected, rtol=1e-3,
                               atol=1e-6 * rate, err_msg=name)


@pytest.mark.parametrize(('replicas', 'batches'), [(1, 2), (1, 4), (2, 2)])
def test_accumulated_batches_equal_a_large_one(replicas, batches):
  arguments = {'optimizer': 'adamw', 'average': 0.9, 'weight_decay': 0.1,
               'class_weights': _CLASS_WEIGHTS, 'clipping': clipping.Clipping(0.1),
               'with_gradients': True}
  large, measured = _train(_lenet, 3, **arguments)
  small, found = _train(_lenet, 3, replicas=replicas, batches_per_step=batches, **arguments)
  for name, value in _values(large).items():
    scale = max(float(np.abs(value).max()), 1e-3)
    np.testing.assert_allclose(_values(small)[name], value, atol=2e-5 * scale, err_msg=name)
  for field in ('loss', 'objective', 'accuracy', 'learning_rate'):
    np.testing.assert_allclose(getattr(found, field), getattr(measured, field), rtol=2e-5)
  for name, gradient in measured.gradients.items():
    np.testing.assert_allclose(found.gradients[name], gradient,
                               atol=2e-5 * np.abs(gradient).max(), err_msg=name)


def test_resumed_accumulation_is_bit_exact():
  arguments = {'batches_per_step': 4, 'average': 0.9, 'moving_average_interval': 2,
               'mixing': Mixing(0.2, 1.0)}
  whole, _ = _train(_toy_network, 4, **arguments)
  half, _ = _train(_toy_network, 3, **arguments)
  resumed, _ = _train(_toy_network, 1, resumed=_values(half), **arguments)
  for name, value in _values(whole).items():
    assert value.tobytes() == _values(resumed)[name].tobytes(), name


def test_moving_averages_are_updated_at_intervals():
  every, _ = _train(_lenet, 6, average=0.5)
  third, _ = _train(_lenet, 6, average=0.5, moving_average_interval=3)
  name = 'LeNet/fc4/weights'
  by_step = [_train(_lenet, steps)[0].network.variables[name].numpy() for steps in (0, 3, 6)]
  expected = by_step[0]
  for step, value in ((3, by_step[1]), (6, by_step[2])):
    decay = min(0.5, (1 + step) / (10 + step))
    expected = decay * expected + (1 - decay) * value
  found = _values(third)[f'{name}/ExponentialMovingAverage']
  np.testing.assert_allclose(found, expected, atol=1e-6)
  assert not np.allclose(found, _values(every)[f'{name}/ExponentialMovingAverage'], atol=1e-4)


@pytest.mark.parametrize('xla', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_mixing_changes_training(xla):
  plain, _ = _train(_toy_network, 2)
  mixed, measured = _train(_toy_network, 2, mixing=Mixing(mixup_alpha=1.0),
                           class_weights=_CLASS_WEIGHTS, xla=xla)
  name = 'toy/conv1/weights'
  assert not np.allclose(_values(plain)[name], _values(mixed)[name])
  assert np.isfinite(measured.loss).all() and (measured.accuracy <= 1).all()


@pytest.mark.parametrize('is_depthwise', [False, True])
@pytest.mark.parametrize('shape', [(3, 3, 4, 5), (6, 7), (8,)])
def test_units_are_clipped_by_their_own_norms(shape, is_depthwise):
  is_depthwise &= len(shape) == 4
  rng = np.random.default_rng(0)
  weights, gradient = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
  weights[..., 0] *= 1e-6  # Below the smallest norm.
  name = 'net/depthwise_weights' if is_depthwise else 'net/weights'
  clip = clipping.Clipping(adaptive_factor=0.5, head=['net/logits'])
  found, = clip([tf.constant(gradient)], {name: tf.Variable(weights)})
  expected = gradient.copy()
  units = np.ndindex(shape[2:] if is_depthwise else shape[-1:] if len(shape) > 1 else (1,))
  for unit in units:
    index = (..., *unit) if len(shape) > 1 else (...,)
    limit = 0.5 * max(np.linalg.norm(weights[index]), 1e-3)
    norm = np.linalg.norm(gradient[index])
    expected[index] = gradient[index] * min(1, limit / norm)
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  assert not np.allclose(found, gradient)
  kept, = clip([tf.constant(gradient)], {'net/logits/weights': tf.Variable(weights)})
  np.testing.assert_array_equal(kept, gradient)


def test_rate_is_scaled_on_a_plateau():
  def rates(scale):
    made = trainer.Trainer(_lenet(), optimizer='ftrl', settings=_SETTINGS, batch_size=_BATCH,
                           schedule=schedules.Schedule('plateau', 0.1))
    made.rate_scale = scale
    batch = {name: value[:_BATCH] for name, value in _examples([28, 28, 1]).items()}
    measured = made.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
    return measured.learning_rate[0], _values(made)

  rate, values = rates(0.5)
  assert rate == pytest.approx(0.05)
  expected = trainer.Trainer(_lenet(), optimizer='ftrl', settings=_SETTINGS, batch_size=_BATCH,
                             schedule=schedules.Schedule('fixed', 0.05))
  batch = {name: value[:_BATCH] for name, value in _examples([28, 28, 1]).items()}
  expected.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
  for name, value in _values(expected).items():
    np.testing.assert_allclose(values[name], value, rtol=1e-6, err_msg=name)
  with pytest.raises(ValueError, match='plateau'):
    expected.rate_scale = 0.5
