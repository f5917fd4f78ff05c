"""The training step on one and on two replicas."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import toys

from nets import batch_normalization
from slim_zoo.training import clipping, distribution, losses, optimizers, schedules, trainer
from slim_zoo.training.mixing import Mixing


@pytest.mark.parametrize('optimizer', [
  pytest.param(name, marks=() if name in ('adam', 'adamw', 'ftrl', 'momentum') else
               pytest.mark.thorough)
  for name in sorted(optimizers.OPTIMIZERS)])
def test_two_replicas_make_the_same_update_as_one(optimizer):
  # It has dropout and no batch norm: masks must not depend on the replica.
  arguments = {'optimizer': optimizer, 'average': 0.9, 'weight_decay': 0.1}
  one, measured_one = toys.train(toys.smooth_network, 3, **arguments)
  two, measured_two = toys.train(toys.smooth_network, 3, replicas=2, **arguments)
  expected, received = toys.values(one), toys.values(two)
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
  two, _ = toys.train(toys.toy_network, 1, replicas=2, optimizer='sgd')
  net = toys.toy_network()
  start = {name: v.numpy() for name, v in net.variables.items()}
  batch = {name: value[:toys.BATCH] for name, value in toys.examples([8, 8, 3]).items()}
  averages = {name: [] for name, v in net.variables.items() if not v.trainable}

  @tf.function(autograph=False)
  def half_loss(images, labels, weights):
    logits, end_points = net(images, is_training=True)
    return sum(factor * tf.reduce_sum(weights * losses.Loss(label_smoothing=0.1)(values, labels))
               for factor, values in ((1, logits), (0.4, end_points['AuxLogits'])))

  with tf.GradientTape() as tape:
    objective = 0.0
    for rows in (slice(0, toys.BATCH // 2), slice(toys.BATCH // 2, toys.BATCH)):
      for name in averages:
        net.variables[name].assign(start[name])
      objective += half_loss(batch['image'][rows], batch['label'][rows], batch['weight'][rows])
      for name, values in averages.items():
        values.append(net.variables[name].numpy())
    objective = objective / toys.BATCH + net.regularization_loss()
  trained = [net.variables[name] for name in net.trainable]
  received = toys.values(two)
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
  (toys.toy_network, {}),
  (toys.partly_frozen_toy_network, {'clipping': clipping.Clipping(0.1), 'average': 0.9}),
  (toys.toy_network, {'with_gradients': True, 'class_weights': [1, 2, 3, 4, 5]})])
def test_synchronized_batch_norm_equals_one_large_batch(build, arguments):
  one, measured_one = toys.train(build, 3, optimizer='sgd', **arguments)

  def synchronized():
    return build(sync_batch_norm=True)

  toys.SHAPES[synchronized] = toys.SHAPES[build]
  two, measured_two = toys.train(synchronized, 3, replicas=2, optimizer='sgd', **arguments)
  expected, received = toys.values(one), toys.values(two)
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
      return batch_normalization.normalize_together(
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
  made, _ = toys.train(toys.toy_network, 1, replicas=replicas, optimizer=name, average=0.9)
  kind = optimizers.OPTIMIZERS[name]
  suffixes = [kind.slot_name + (f'_{n}' if n else '') for n in range(len(kind.slots))]
  expected = {f'{v}/{s}' for v in made.network.trainable for s in suffixes}
  expected |= {f'{v}/ExponentialMovingAverage' for v in made.network.variables}
  expected |= {'beta1_power', 'beta2_power'} if kind.has_beta_powers else set()
  assert set(made.state()) == {*made.network.variables, *expected, 'global_step'}
  assert made.step == 1
  assert all(v is not None for v in made.state().values())


@pytest.mark.parametrize('xla', [False, True])
@pytest.mark.parametrize('build', [toys.lenet, toys.toy_network])
def test_steps_do_not_depend_on_how_they_are_grouped(build, xla):
  at_once, _ = toys.train(build, 4, xla=xla)
  one_by_one, _ = toys.train(build, 4, xla=xla, calls=4)
  with_gradients, measured = toys.train(build, 4, xla=xla, calls=2, with_gradients=True)
  assert set(measured.gradients) == set(with_gradients.network.trainable)
  others = toys.values(one_by_one), toys.values(with_gradients)
  for name, value in toys.values(at_once).items():
    assert all(value.tobytes() == other[name].tobytes() for other in others), name


def test_gradients_are_from_the_last_step():
  made, measured = toys.train(toys.lenet, 1, optimizer='sgd', with_gradients=True)
  fresh = toys.lenet()
  for name, gradient in measured.gradients.items():
    np.testing.assert_allclose(made.network.variables[name].numpy(),
                               fresh.variables[name].numpy() - 0.05 * gradient, atol=1e-6)


def test_frozen_scopes_do_not_change():
  made, _ = toys.train(toys.partly_frozen_toy_network, 3)
  start = {name: v.numpy() for name, v in toys.partly_frozen_toy_network().variables.items()}
  moved = {name for name, v in made.network.variables.items()
           if not np.array_equal(v.numpy(), start[name])}
  assert moved == {name for name in start if not name.startswith('toy/conv1/')}
  assert not any(name.startswith('toy/conv1/') for name in made.state()
                 if name.endswith('/Momentum'))


def test_moving_averages_equal_tensorflow_1():
  made, _ = toys.train(toys.lenet, 1, optimizer='sgd', average=0.999)
  start = toys.lenet().variables
  for name, variable in made.network.variables.items():
    # ExponentialMovingAverage(0.999, num_updates=1): min(0.999, (1 + 1) / (10 + 1)).
    expected = 2 / 11 * start[name].numpy() + 9 / 11 * variable.numpy()
    np.testing.assert_allclose(made.state()[f'{name}/ExponentialMovingAverage'].numpy(), expected,
                               atol=1e-6)


def test_averages_are_swapped_in_and_back():
  made, _ = toys.train(toys.lenet, 3, average=0.9)
  before, name = toys.values(made), 'LeNet/fc4/weights'
  with made.averaged():
    inside = made.network.variables[name].numpy()
  np.testing.assert_array_equal(inside, before[f'{name}/ExponentialMovingAverage'])
  assert not np.array_equal(inside, before[name])
  np.testing.assert_array_equal(made.network.variables[name].numpy(), before[name])


def test_examples_of_weight_0_change_nothing():
  def weights_after(image_value):
    made = trainer.Trainer(toys.lenet(), optimizer='sgd', settings=optimizers.Settings(),
                           schedule=schedules.Schedule('fixed', 0.05), batch_size=toys.BATCH)
    batch = {name: value[:toys.BATCH].copy() for name, value in toys.examples([28, 28, 1]).items()}
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
    return toys.toy_network(dtype=dtype)

  toys.SHAPES[build] = toys.SHAPES[toys.toy_network]
  start = toys.values(toys.train(toys.toy_network, 0)[0])
  expected = toys.values(toys.train(toys.toy_network, 1, replicas=replicas)[0])
  received = toys.values(toys.train(build, 1, replicas=replicas, xla=xla,
                            scales_loss=dtype == tf.float16)[0])
  for name in ('toy/logits/weights', 'toy/conv2/weights'):
    assert received[name].dtype == np.float32
    one, other = expected[name] - start[name], received[name] - start[name]
    cosine = np.sum(one * other) / np.linalg.norm(one) / np.linalg.norm(other)
    assert cosine > (0.99999 if dtype == tf.float32 else 0.99), name


def _weighted_objective(network, batch):
  """Keras' losses with its sample weights, over the batch size; the auxiliary head's 0.4 times."""
  logits, end_points = tf.function(lambda: network(batch['image'], is_training=True))()
  sample_weight = batch['weight'] * np.array(toys.CLASS_WEIGHTS, np.float32)[batch['label']]
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
    return toys.toy_network(trainable_scopes=['toy/logits', 'toy/aux'])

  toys.SHAPES[build] = [8, 8, 3]
  batch = {name: value[:toys.BATCH] for name, value in toys.examples([8, 8, 3]).items()}
  assert len(set(batch['label'])) > 3
  plain, measured_plain = toys.train(build, 1, replicas=replicas)
  made, measured = toys.train(build, 1, replicas=replicas, xla=xla,
                              class_weights=toys.CLASS_WEIGHTS)
  expected = _weighted_objective(build(), batch)
  assert measured.objective[0] == pytest.approx(expected, rel=1e-5)
  assert measured.objective[0] != pytest.approx(measured_plain.objective[0], rel=1e-2)
  assert measured.loss[0] == pytest.approx(measured_plain.loss[0], rel=1e-6)
  assert measured.accuracy[0] == measured_plain.accuracy[0]
  assert not np.allclose(made.network.variables['toy/logits/weights'].numpy(),
                         plain.network.variables['toy/logits/weights'].numpy())


def test_class_of_weight_0_has_no_gradient():
  def head_after(image_value):
    made = trainer.Trainer(toys.lenet(), optimizer='sgd', settings=toys.SETTINGS,
                           schedule=toys.SCHEDULE, batch_size=toys.BATCH,
                           class_weights=toys.CLASS_WEIGHTS)
    batch = {name: value[:toys.BATCH].copy() for name, value in toys.examples([28, 28, 1]).items()}
    assert np.any(batch['label'] == 3)
    batch['image'][batch['label'] == 3] = image_value
    made.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
    return made.network.variables['LeNet/fc4/weights'].numpy()

  np.testing.assert_array_equal(head_after(0.0), head_after(3.0))


def test_needs_one_weight_per_class():
  with pytest.raises(ValueError, match='--class_weights: .* 5 .*Received: 3'):
    toys.train(toys.lenet, 1, class_weights=[1, 2, 3])


@pytest.mark.parametrize('replicas', [1, 2])
@pytest.mark.parametrize('limit', [1e-3, 1e3])
def test_gradient_is_clipped_by_its_norm(replicas, limit):
  made, measured = toys.train(toys.lenet, 1, replicas=replicas, optimizer='sgd',
                              with_gradients=True, clipping=clipping.Clipping(limit))
  plain, _ = toys.train(toys.lenet, 1, optimizer='sgd')
  rate = measured.learning_rate[0]
  norm = np.sqrt(sum(float((gradient ** 2).sum()) for gradient in measured.gradients.values()))
  assert 1e-3 < norm < 1e3
  start = toys.values(toys.train(toys.lenet, 0, optimizer='sgd')[0])
  clipped, free = toys.values(made), toys.values(plain)
  for name in made.network.trainable:
    expected = (free[name] - start[name]) * min(1, limit / norm)
    np.testing.assert_allclose(clipped[name] - start[name], expected, rtol=1e-3,
                               atol=1e-6 * rate, err_msg=name)


@pytest.mark.parametrize(('replicas', 'batches'), [(1, 2), (1, 4), (2, 2)])
def test_accumulated_batches_equal_a_large_one(replicas, batches):
  arguments = {'optimizer': 'adamw', 'average': 0.9, 'weight_decay': 0.1,
               'class_weights': toys.CLASS_WEIGHTS, 'clipping': clipping.Clipping(0.1),
               'with_gradients': True}
  large, measured = toys.train(toys.lenet, 3, **arguments)
  small, found = toys.train(toys.lenet, 3, replicas=replicas, batches_per_step=batches, **arguments)
  for name, value in toys.values(large).items():
    scale = max(float(np.abs(value).max()), 1e-3)
    np.testing.assert_allclose(toys.values(small)[name], value, atol=2e-5 * scale, err_msg=name)
  for field in ('loss', 'objective', 'accuracy', 'learning_rate'):
    np.testing.assert_allclose(getattr(found, field), getattr(measured, field), rtol=2e-5)
  for name, gradient in measured.gradients.items():
    np.testing.assert_allclose(found.gradients[name], gradient,
                               atol=2e-5 * np.abs(gradient).max(), err_msg=name)


def test_resumed_accumulation_is_bit_exact():
  arguments = {'batches_per_step': 4, 'average': 0.9, 'moving_average_interval': 2,
               'mixing': Mixing(0.2, 1.0)}
  whole, _ = toys.train(toys.toy_network, 4, **arguments)
  half, _ = toys.train(toys.toy_network, 3, **arguments)
  resumed, _ = toys.train(toys.toy_network, 1, resumed=toys.values(half), **arguments)
  for name, value in toys.values(whole).items():
    assert value.tobytes() == toys.values(resumed)[name].tobytes(), name


def test_moving_averages_are_updated_at_intervals():
  every, _ = toys.train(toys.lenet, 6, average=0.5)
  third, _ = toys.train(toys.lenet, 6, average=0.5, moving_average_interval=3)
  name = 'LeNet/fc4/weights'
  by_step = [toys.train(toys.lenet, steps)[0].network.variables[name].numpy()
             for steps in (0, 3, 6)]
  expected = by_step[0]
  for step, value in ((3, by_step[1]), (6, by_step[2])):
    decay = min(0.5, (1 + step) / (10 + step))
    expected = decay * expected + (1 - decay) * value
  found = toys.values(third)[f'{name}/ExponentialMovingAverage']
  np.testing.assert_allclose(found, expected, atol=1e-6)
  assert not np.allclose(found, toys.values(every)[f'{name}/ExponentialMovingAverage'], atol=1e-4)


@pytest.mark.parametrize('xla', [False, pytest.param(True, marks=pytest.mark.slow)])
def test_mixing_changes_training(xla):
  plain, _ = toys.train(toys.toy_network, 2)
  mixed, measured = toys.train(toys.toy_network, 2, mixing=Mixing(mixup_alpha=1.0),
                           class_weights=toys.CLASS_WEIGHTS, xla=xla)
  name = 'toy/conv1/weights'
  assert not np.allclose(toys.values(plain)[name], toys.values(mixed)[name])
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
    made = trainer.Trainer(toys.lenet(), optimizer='ftrl', settings=toys.SETTINGS,
                           batch_size=toys.BATCH, schedule=schedules.Schedule('plateau', 0.1))
    made.rate_scale = scale
    batch = {name: value[:toys.BATCH] for name, value in toys.examples([28, 28, 1]).items()}
    measured = made.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
    return measured.learning_rate[0], toys.values(made)

  rate, values = rates(0.5)
  assert rate == pytest.approx(0.05)
  expected = trainer.Trainer(toys.lenet(), optimizer='ftrl', settings=toys.SETTINGS,
                             batch_size=toys.BATCH, schedule=schedules.Schedule('fixed', 0.05))
  batch = {name: value[:toys.BATCH] for name, value in toys.examples([28, 28, 1]).items()}
  expected.run(iter(tf.data.Dataset.from_tensors(batch)), 1)
  for name, value in toys.values(expected).items():
    np.testing.assert_allclose(values[name], value, rtol=1e-6, err_msg=name)
  with pytest.raises(ValueError, match='plateau'):
    expected.rate_scale = 0.5
