"""The adapter: named variables, created once and shared by all traces and replicas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory, network, noise


def arg_scope(weight_decay=0.0005):
  with layers.arg_scope([layers.conv2d, layers.fully_connected],
                        weights_regularizer=layers.l2_regularizer(weight_decay)) as scope:
    return scope


def small(images, num_classes, *, is_training, scope='net'):
  """Two convolutions (one unnamed, like both batch norms), dropout and a head."""
  with tf.compat.v1.variable_scope(scope), \
      layers.arg_scope([layers.batch_norm, layers.dropout], is_training=is_training), \
      layers.arg_scope([layers.conv2d], normalizer_fn=layers.batch_norm):
    net = layers.conv2d(images, 4, 3, scope='first')
    net = layers.conv2d(net, 4, 3)
    net = layers.dropout(tf.reduce_mean(net, [1, 2]), 0.5, scope='drop')
    logits = layers.fully_connected(net, num_classes, activation_fn=None, scope='head')
  return logits, {'Logits': logits, 'features': net}


def build(function=small, **arguments):
  return network.Network(function, arg_scope, **{
    'image_shape': [6, 6, 3], 'num_classes': 3, **arguments})


IMAGES = np.random.default_rng(5).normal(size=[4, 6, 6, 3]).astype(np.float32)
KEYS = noise.example_keys(0, 0, [0, 1, 2, 3])


def test_names_and_order():
  net = build()
  norm = ('gamma', 'beta', 'moving_mean', 'moving_variance')
  assert sorted(net.variables) == sorted([
    'net/first/weights', *(f'net/first/BatchNorm/{n}' for n in norm if n != 'gamma'),
    'net/Conv/weights', *(f'net/Conv/BatchNorm/{n}' for n in norm if n != 'gamma'),
    'net/head/weights', 'net/head/biases'])
  assert next(iter(net.variables)) == 'net/first/weights'
  assert net.trainable == [n for n in net.variables if 'moving' not in n]


def test_building_traces_once():
  traces = []

  def counted(*arguments, **options):
    traces.append(tf.get_static_value(tf.shape(arguments[0])).tolist())
    return small(*arguments, **options)

  build(counted)
  assert traces == [[1, 6, 6, 3]]


def test_a_network_to_be_restored_starts_with_zeros():
  net, drawn = build(is_restored=True), build()
  assert all(not variable.numpy().any() for variable in net.variables.values())
  assert [(name, variable.shape) for name, variable in net.variables.items()] == [
    (name, variable.shape) for name, variable in drawn.variables.items()]


def test_every_trace_uses_the_same_variables():
  net = build()
  count = len(net.variables)

  @tf.function(jit_compile=False)
  def twice(images):  # Two calls in one graph: numbering of names must restart.
    return net(images, is_training=False)[0], net(images, is_training=False)[0]

  first, second = twice(IMAGES)
  eager, _ = net(IMAGES, is_training=False)
  compiled = tf.function(lambda x: net(x, is_training=False)[0], jit_compile=True)(IMAGES)
  np.testing.assert_array_equal(first, second)
  np.testing.assert_allclose(first, eager, atol=1e-6)
  np.testing.assert_allclose(first, compiled, atol=1e-5)
  net.variables['net/head/biases'].assign_add([1, 2, 3])
  np.testing.assert_allclose(twice(IMAGES)[0], first + np.array([1, 2, 3]), atol=1e-6)
  assert len(net.variables) == count


def test_later_traces_cannot_add_variables():
  def grows(images, num_classes, *, is_training):
    logits, end_points = small(images, num_classes, is_training=is_training)
    if is_training:
      logits = layers.fully_connected(logits, num_classes, scope='more')
    return logits, end_points
  net = build(grows)
  with pytest.raises(ValueError, match='more/weights'):
    net(IMAGES, is_training=True, keys=KEYS)
  assert 'more/weights' in build(grows, is_training=True).variables


def test_fully_connected_network_rejects_other_image_sizes():
  net = nets_factory.build_network('lenet', image_shape=[28, 28, 1], num_classes=10)
  with pytest.raises(ValueError, match=r'LeNet/fc3/weights.*\[3136, 1024\]'):
    net(np.zeros([1, 32, 32, 1], np.float32), is_training=False)


def test_trainable_scopes():
  net = build(trainable_scopes=['net/head', 'net/first/BatchNorm'])
  assert net.trainable == ['net/first/BatchNorm/beta', 'net/head/weights', 'net/head/biases']
  with pytest.raises(ValueError, match=r'--trainable_scopes.*net/heads.* net/head'):
    build(trainable_scopes=['net/heads'])


def test_initial_values_depend_only_on_seed_and_name():
  def other(images, num_classes, *, is_training):
    """The same names in a different order, and one more."""
    with tf.compat.v1.variable_scope('net'):
      layers.fully_connected(layers.flatten(images), 2, scope='more')
      layers.fully_connected(tf.zeros([1, 4]), num_classes, scope='head')
      return layers.conv2d(images, 4, 3, scope='first'), {}
  first, again, reordered, reseeded = build(), build(), build(other), build(seed=1)
  for name in ('net/first/weights', 'net/head/weights'):
    np.testing.assert_array_equal(first.variables[name], again.variables[name])
    np.testing.assert_array_equal(first.variables[name], reordered.variables[name])
    assert (first.variables[name] != reseeded.variables[name]).numpy().all()
  assert first.variables['net/Conv/weights'].numpy().std() > 0
  assert not np.array_equal(first.variables['net/Conv/weights'].numpy().ravel()[:108],
                            first.variables['net/first/weights'].numpy().ravel())


def test_regularization_loss_equals_numpy():
  expected = sum((v.numpy().astype(np.float64) ** 2).sum() / 2 * 0.01
                 for name, v in build().variables.items() if name.endswith('/weights'))
  net = build(weight_decay=0.01)
  np.testing.assert_allclose(net.regularization_loss(), expected, rtol=1e-5)
  # Frozen variables count, so that training only the head reports the same loss as TF-Slim.
  frozen = build(weight_decay=0.01, trainable_scopes=['net/head'])
  np.testing.assert_allclose(frozen.regularization_loss(), expected, rtol=1e-5)
  loss = build(weight_decay=0.0).regularization_loss()
  assert loss.shape == []
  assert loss == 0


def test_dropout_is_random_only_in_training():
  net = build()
  outputs = [net(IMAGES, is_training=True, keys=KEYS)[1]['features'] for _ in range(2)]
  np.testing.assert_array_equal(outputs[0] == 0, outputs[1] == 0)
  with pytest.raises(ValueError, match='net/drop'):
    net(IMAGES, is_training=True)


@pytest.mark.parametrize(('name', 'shape'), [
  ('lenet', (28, 28, 1)), ('cifarnet', (32, 32, 3)), ('mobilenet_v1_025', (64, 64, 3))])
def test_variables_stay_float32_with_bfloat16_compute(name, shape, rng, randomize):
  nets = [nets_factory.build_network(name, image_shape=shape, num_classes=10, dtype=dtype)
          for dtype in (tf.float32, tf.bfloat16)]
  values = randomize(nets[0])
  for key, value in values.items():
    nets[1].variables[key].assign(value)
  assert {v.dtype for v in nets[1].variables.values()} == {tf.float32}
  images = rng.normal(size=[2, *shape]).astype(np.float32)
  (full, _), (half, end_points) = (net(images, is_training=False) for net in nets)
  assert half.dtype == end_points['Logits'].dtype == end_points['Predictions'].dtype == tf.float32
  assert next(iter(end_points.values())).dtype == tf.bfloat16
  assert 0 < np.abs(half - full).max() < 0.1 * full.numpy().std()


def gradients(net, images, keys):
  variables = [net.variables[name] for name in net.trainable]
  with tf.GradientTape() as tape:
    logits, _ = net(images, is_training=True, keys=keys)
    loss = tf.reduce_sum(logits ** 2)
  return tape.gradient(loss, variables)


@pytest.mark.parametrize(('name', 'shape'), [
  ('lenet', (12, 12, 1)), ('cifarnet', (12, 12, 3)), ('mobilenet_v1_025', (32, 32, 3))])
def test_gradients_are_not_zero(name, shape, rng, randomize):
  net = nets_factory.build_network(name, image_shape=shape, num_classes=5, is_training=True)
  randomize(net)
  images = rng.normal(size=[8, *shape]).astype(np.float32)
  values = gradients(net, images, noise.example_keys(0, 0, list(range(8))))
  assert [name for name, value in zip(net.trainable, values, strict=True)
          if not np.abs(value).max() > 0] == []


@pytest.fixture
def strategy():
  return tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])


def per_replica(strategy, *batches):
  """Gives each replica its half of every batch."""
  def half(batch):
    return strategy.experimental_distribute_values_from_function(
      lambda context: tf.convert_to_tensor(
        np.split(np.asarray(batch), 2)[context.replica_id_in_sync_group]))
  return [half(batch) for batch in batches]


@pytest.mark.parametrize('is_synchronized', [False, True])
def test_two_replicas_draw_the_same_masks_as_one(strategy, is_synchronized):
  """Also where the replicas are traced in turns, up to each exchange of batch norm."""
  def function(images, num_classes, *, is_training):
    del num_classes
    end_points = {}
    with layers.arg_scope([layers.batch_norm], is_training=is_training), \
        layers.arg_scope([layers.conv2d, layers.dropout], end_points=end_points):
      net = layers.conv2d(images, 4, 1, scope='conv')
      if is_synchronized:
        net = layers.batch_norm(net, scope='norm')
      return layers.dropout(net, is_training=is_training), end_points

  with strategy.scope():
    net = build(function, sync_batch_norm=is_synchronized)
  images, keys = per_replica(strategy, IMAGES, KEYS)
  run = tf.function(lambda: strategy.run(
    lambda x, k: net(x, is_training=True, keys=k), args=(images, keys)))
  received, received_points = run()
  expected, expected_points = build(function)(IMAGES, is_training=True, keys=KEYS)
  for values, value in [(received, expected),
                        *((received_points[name], expected_points[name])
                          for name in expected_points)]:
    halves = strategy.experimental_local_results(values)
    np.testing.assert_allclose(tf.concat(halves, 0), value, atol=1e-5)


def test_two_replicas_average_their_moving_averages(strategy):
  def function(images, num_classes, *, is_training):
    del num_classes
    return layers.batch_norm(images, decay=0.9, is_training=is_training, scope='bn'), {}
  with strategy.scope():
    net = build(function)
  images, = per_replica(strategy, IMAGES)
  tf.function(lambda: strategy.run(lambda x: net(x, is_training=True)[0], args=(images,)))()
  mean = np.mean([half.mean((0, 1, 2)) for half in np.split(IMAGES, 2)], axis=0)
  np.testing.assert_allclose(net.variables['bn/moving_mean'].numpy(), 0.1 * mean, atol=1e-6)
  logits, _ = net(IMAGES, is_training=False)
  variance = net.variables['bn/moving_variance'].numpy()
  np.testing.assert_allclose(logits, (IMAGES - 0.1 * mean) / np.sqrt(variance + 0.001) +
                             net.variables['bn/beta'].numpy(), atol=1e-4)


def _normalized(**arguments):
  def function(images, num_classes, is_training):
    del num_classes
    with layers.arg_scope([layers.batch_norm], is_training=is_training):
      return layers.batch_norm(layers.batch_norm(images, scope='one'), scope='two'), {}

  def scope_of_network(weight_decay):
    del weight_decay
    with layers.arg_scope([layers.batch_norm], decay=0.75) as scope:
      return scope

  return network.Network(function, scope_of_network, image_shape=[4, 4, 2], num_classes=0,
                         is_training=True, **arguments)


@pytest.mark.parametrize(('arguments', 'decays', 'memory'), [
  ({}, (0.75, 0.75), 4),
  ({'batch_norm_decay': 0.5}, (0.5, 0.5), 2),
  ({'batch_norm_decay': 0.5, 'trainable_scopes': ['two']}, (1, 0.5), 2)])
def test_decay_of_batch_norm(arguments, decays, memory):
  net = _normalized(**arguments)
  net(tf.random.stateless_normal([8, 4, 4, 2], [1, 2]) + 3.0, is_training=True)
  for scope, decay in zip(('one', 'two'), decays, strict=True):
    # From 0, the average of the first layer moves by the share 1 - decay to the batch's mean of 3.
    mean = float(net.variables[f'{scope}/moving_mean'][0])
    assert (mean == 0) == (decay == 1)
    if scope == 'one' and decay < 1:
      np.testing.assert_allclose(mean, 3 * (1 - decay), rtol=0.2)
  assert net.batch_norm_memory() == memory


def test_network_without_batch_norm_has_no_memory():
  assert build(is_training=True, trainable_scopes=['net/head']).batch_norm_memory() == 0
