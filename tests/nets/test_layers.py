"""Layers against TensorFlow's own operations, NumPy and Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import layers, network, noise


def no_scope(weight_decay=0.0):
  del weight_decay
  with layers.arg_scope([]) as scope:
    return scope


def build(layer, shape, **arguments):
  """Builds a network of one layer; `layer` takes images and is_training."""
  def function(images, num_classes, *, is_training):
    del num_classes
    end_points = {}
    with layers.arg_scope([layers.conv2d, layers.separable_conv2d, layers.fully_connected,
                           layers.batch_norm, layers.dropout, layers.max_pool2d,
                           layers.avg_pool2d, layers.flatten,
                           layers.local_response_normalization], end_points=end_points), \
        layers.arg_scope([layers.batch_norm, layers.dropout, layers.drop_path],
                         is_training=is_training):
      return layer(images), end_points
  return network.Network(function, no_scope, image_shape=shape, num_classes=1, **arguments)


def normal(rng, *shape):
  return rng.normal(size=shape).astype(np.float32)


def value(net, name):
  return net.variables[name].numpy()


@pytest.mark.parametrize(('size', 'kernel', 'stride', 'padding', 'rate'), [
  ((5, 5), 5, 1, 'VALID', 1),  # Covers its input, so it is a matrix product.
  ((5, 7), (5, 7), 1, 'VALID', 1),
  ((5, 5), 5, 3, 'VALID', 1),
  ((1, 1), 1, 1, 'SAME', 1),
  ((1, 1), 1, 2, 'VALID', 1),
  ((6, 5), 5, 1, 'VALID', 1),  # These do not.
  ((5, 5), 5, 1, 'SAME', 1),
  ((5, 5), 3, 1, 'VALID', 2),
  ((8, 9), (3, 2), (2, 1), 'SAME', 1),
  ((8, 9), 1, 2, 'SAME', 1),  # Sees only every other pixel.
  ((7, 9), 1, (3, 2), 'VALID', 1),
])
def test_conv2d(size, kernel, stride, padding, rate, rng):
  images = normal(rng, 2, *size, 3)
  net = build(lambda x: layers.conv2d(x, 4, kernel, stride, padding, rate=rate, scope='conv',
                                      biases_initializer=layers.constant_initializer(0.3)),
              [*size, 3])
  expected = tf.nn.relu(tf.nn.conv2d(images, value(net, 'conv/weights'), stride, padding,
                                     dilations=rate) + 0.3)
  outputs, end_points = net(images, is_training=False)
  np.testing.assert_allclose(outputs, expected, atol=1e-5)
  np.testing.assert_array_equal(outputs, end_points['conv'])


def test_strided_1x1_convolutions_avoid_the_strided_gradient():
  # oneDNN's writes outside its memory, which crashed PNASNet's training at 97 pixels.
  with tf.Graph().as_default() as graph:
    images = tf.zeros([4, 48, 48, 13])
    outputs = layers.conv2d(images, 13, 1, 2, scope='conv')
    gradients = tf.gradients(outputs, [images, *tf.compat.v1.trainable_variables()])
    assert None not in gradients
    strides = {tuple(op.get_attr('strides')) for op in graph.get_operations()
               if op.type.startswith('Conv2D')}
  assert strides == {(1, 1, 1, 1)}


@pytest.mark.parametrize(('size', 'kernel', 'makes_product'), [
  (5, 5, True), (1, 1, True), (6, 5, False)])
def test_kernels_that_cover_their_input_are_matrix_products(size, kernel, makes_product):
  net = build(lambda x: layers.conv2d(x, 4, kernel, padding='VALID', scope='conv'), [size, size, 3])
  graph = tf.function(lambda x: net(x, is_training=False)[0]).get_concrete_function(
    tf.TensorSpec([2, size, size, 3])).graph
  kinds = {op.type for op in graph.get_operations()}
  assert ('MatMul' in kinds, 'Conv2D' in kinds) == (makes_product, not makes_product)


def test_groups_equal_split_and_concat(rng):
  images = normal(rng, 2, 6, 6, 8)
  net = build(lambda x: layers.conv2d(x, 6, 3, groups=2, activation_fn=None, scope='conv'),
              [6, 6, 8])
  weights = net.variables['conv/weights']
  assert weights.shape == [3, 3, 4, 6]
  with tf.GradientTape() as tape:
    outputs, _ = net(images, is_training=False)
  gradient = tape.gradient(outputs, weights)
  with tf.GradientTape() as tape:
    expected = tf.concat([tf.nn.conv2d(x, w, 1, 'SAME') for x, w in zip(
      tf.split(images, 2, 3), tf.split(weights, 2, 3), strict=True)], 3)
  np.testing.assert_allclose(outputs, expected, atol=1e-5)
  np.testing.assert_allclose(gradient, tape.gradient(expected, weights), atol=1e-4)


@pytest.mark.parametrize(('num_outputs', 'stride', 'rate'), [(None, 1, 1), (5, 2, 1), (5, 1, 2)])
def test_separable_conv2d(num_outputs, stride, rate, rng):
  images = normal(rng, 2, 9, 8, 3)
  net = build(lambda x: layers.separable_conv2d(x, num_outputs, 3, 2, stride, rate=rate, scope='s',
                                                activation_fn=tf.nn.relu6), [9, 8, 3])
  depthwise = value(net, 's/depthwise_weights')
  assert depthwise.shape == (3, 3, 3, 2)
  strides, dilations = [1, stride, stride, 1], [rate, rate]
  if num_outputs:
    expected = tf.nn.separable_conv2d(images, depthwise, value(net, 's/pointwise_weights'),
                                      strides, 'SAME', dilations=dilations)
  else:
    expected = tf.nn.depthwise_conv2d(images, depthwise, strides, 'SAME', dilations=dilations)
  np.testing.assert_allclose(net(images, is_training=False)[0], tf.nn.relu6(expected), atol=1e-5)


def test_fully_connected_flatten_and_pools(rng):
  images = normal(rng, 2, 5, 4, 3)
  net = build(lambda x: layers.fully_connected(layers.flatten(x), 4, scope='fc'), [5, 4, 3])
  expected = np.maximum(images.reshape(2, -1) @ value(net, 'fc/weights'), 0)
  np.testing.assert_allclose(net(images, is_training=False)[0], expected, atol=1e-5)
  for layer, function in ((layers.max_pool2d, tf.nn.max_pool2d),
                          (layers.avg_pool2d, tf.nn.avg_pool2d)):
    np.testing.assert_array_equal(layer(images, 3), function(images, 3, 2, 'VALID'))
    np.testing.assert_array_equal(layer(images, [3, 2], 1, 'SAME'),
                                  function(images, [3, 2], 1, 'SAME'))


@pytest.mark.parametrize('dtype, beta', [
  (tf.float32, 0.75), (tf.float32, 0.5), (tf.float32, 0.6), (tf.bfloat16, 0.75)])
def test_local_response_normalization(dtype, beta, rng):
  images = normal(rng, 2, 3, 3, 9)
  inputs = tf.cast(images, dtype)
  with tf.GradientTape() as tape:
    tape.watch(inputs)
    outputs = layers.local_response_normalization(inputs, depth_radius=2, bias=2.0, alpha=0.5,
                                                  beta=beta)
  atol = 1e-5 if dtype == tf.float32 else 0.02
  squares = np.pad(images ** 2, [(0, 0), (0, 0), (0, 0), (2, 2)])
  total = sum(squares[..., i:i + 9] for i in range(5))
  assert outputs.dtype == dtype
  np.testing.assert_allclose(tf.cast(outputs, tf.float32), images / (2 + 0.5 * total) ** beta,
                             atol=atol)
  float_images = tf.constant(images)
  with tf.GradientTape() as own_tape:
    own_tape.watch(float_images)
    own = tf.nn.local_response_normalization(float_images, 2, 2.0, 0.5, beta)
  np.testing.assert_allclose(tf.cast(tape.gradient(outputs, inputs), tf.float32),
                             own_tape.gradient(own, float_images), atol=atol)


def batch_norm(images):
  return layers.batch_norm(images, decay=0.9, epsilon=0.01, scale=True, scope='bn')


def test_batch_norm_equals_numpy_and_keras(rng, randomize):
  net = build(batch_norm, [4, 5, 3])
  values = randomize(net)
  layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=0.01)
  layer.build((None, 4, 5, 3))
  layer.set_weights([values[f'bn/{name}'] for name in (
    'gamma', 'beta', 'moving_mean', 'moving_variance')])
  images = normal(rng, 6, 4, 5, 3) * 2 + 1
  np.testing.assert_allclose(net(images, is_training=False)[0], layer(images, training=False),
                             atol=1e-5)
  outputs, _ = net(images, is_training=True)
  np.testing.assert_allclose(outputs, layer(images, training=True), atol=1e-5)
  mean, count = images.mean((0, 1, 2)), images[..., 0].size
  variance = images.var((0, 1, 2))
  np.testing.assert_allclose(
    outputs, (images - mean) / np.sqrt(variance + 0.01) * values['bn/gamma'] + values['bn/beta'],
    atol=1e-4)
  np.testing.assert_allclose(value(net, 'bn/moving_mean'),
                             0.9 * values['bn/moving_mean'] + 0.1 * mean, atol=1e-6)
  np.testing.assert_allclose(
    value(net, 'bn/moving_variance'),
    0.9 * values['bn/moving_variance'] + 0.1 * variance * count / (count - 1), atol=1e-5)


def test_batch_norm_on_vectors(rng, randomize):
  net = build(lambda x: batch_norm(layers.flatten(x)), [1, 1, 3])
  values = randomize(net)
  images = normal(rng, 8, 1, 1, 3)
  expected = ((images[:, 0, 0] - values['bn/moving_mean'])
              / np.sqrt(values['bn/moving_variance'] + 0.01) * values['bn/gamma']
              + values['bn/beta'])
  np.testing.assert_allclose(net(images, is_training=False)[0], expected, atol=1e-5)
  np.testing.assert_allclose(tf.reduce_mean(net(images, is_training=True)[0], 0),
                             values['bn/beta'], atol=1e-5)


def test_batch_norm_without_gamma_and_beta():
  net = build(lambda x: layers.batch_norm(x, center=False), [2, 2, 3])
  assert list(net.variables) == ['BatchNorm/moving_mean', 'BatchNorm/moving_variance']
  assert net.trainable == []


def test_frozen_batch_norm_keeps_its_moving_averages(rng, randomize):
  def two(images):
    return layers.conv2d(layers.conv2d(images, 3, 1, normalizer_fn=layers.batch_norm, scope='a'),
                         2, 1, normalizer_fn=layers.batch_norm, scope='b')
  net = build(two, [2, 2, 3], trainable_scopes=['b'])
  values = randomize(net)
  images = normal(rng, 4, 2, 2, 3)
  _, inference = net(images, is_training=False)
  _, training = net(images, is_training=True)
  np.testing.assert_array_equal(training['a'], inference['a'])
  assert np.abs(training['b'] - inference['b']).max() > 0.01
  changed = {name for name, before in values.items() if (value(net, name) != before).any()}
  assert changed == {'b/BatchNorm/moving_mean', 'b/BatchNorm/moving_variance'}


def test_batch_norm_adds_updates_to_collection_in_a_session():
  v1 = tf.compat.v1
  with tf.Graph().as_default(), v1.Session() as session:
    layers.batch_norm(tf.ones([4, 2, 2, 3]), decay=0.9, is_training=True)
    layers.batch_norm(tf.ones([4, 2, 2, 3]), is_training=False)
    session.run(v1.global_variables_initializer())
    updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    session.run(updates)
    mean, _ = [v for v in v1.global_variables() if v.op.name.endswith('moving_mean')]
    np.testing.assert_allclose(session.run(mean), [0.1] * 3, rtol=1e-6)


def keys(ids, *, seed=0, step=0):
  return noise.example_keys(seed, step, list(ids))


ONES = np.ones([64, 5, 5, 8], np.float32)


def drop(images, *, keys, keep_prob=0.8, scope='drop', layer=layers.dropout):
  return layer(tf.constant(images), keep_prob, keys=keys, scope=scope).numpy()


@pytest.mark.parametrize('layer', [layers.dropout, layers.drop_path])
def test_dropout_keeps_expected_share_and_mean(layer):
  images = np.ones([3000, 2, 2, 3], np.float32)
  outputs = drop(images, keys=keys(range(3000)), layer=layer)
  assert set(np.unique(outputs)) == {np.float32(0), np.float32(1.25)}
  draws = outputs.size if layer is layers.dropout else len(outputs)
  assert abs((outputs > 0).mean() - 0.8) < 4 * np.sqrt(0.16 / draws)
  by_example = outputs.reshape(3000, -1)
  whole = (by_example == by_example[:, :1]).all()
  assert whole == (layer is layers.drop_path)


def test_dropout_depends_on_the_example_not_its_position():
  first, second = keys(range(64)), keys(range(32, 96))
  np.testing.assert_array_equal(drop(ONES, keys=first)[32:], drop(ONES, keys=second)[:32])


@pytest.mark.parametrize('other', [
  {'keys': keys(range(64), step=1)}, {'keys': keys(range(64), seed=1)},
  {'keys': keys(range(100, 164))}, {'scope': 'drop2'}])
def test_dropout_differs_between_steps_seeds_examples_and_layers(other):
  equal = (drop(ONES, keys=keys(range(64))) == drop(ONES, **{'keys': keys(range(64)), **other}))
  assert abs(equal.mean() - (0.8 ** 2 + 0.2 ** 2)) < 0.03  # Expected by chance.


def test_dropout_in_a_nested_scope_has_its_own_mask():
  def two(images):
    outputs = []
    for name in 'ab':
      with tf.compat.v1.variable_scope(name):
        outputs.append(layers.dropout(images, scope='drop'))
    return tf.concat(outputs, -1)
  outputs, end_points = build(two, [5, 5, 8])(ONES, is_training=True, keys=keys(range(64)))
  assert set(end_points) == {'a/drop', 'b/drop'}
  assert (outputs[..., :8] == outputs[..., 8:]).numpy().mean() < 0.6


def test_dropout_needs_keys_only_in_training():
  np.testing.assert_array_equal(layers.dropout(ONES, is_training=False), ONES)
  np.testing.assert_array_equal(layers.dropout(ONES, 1.0), ONES)
  np.testing.assert_array_equal(layers.drop_path(ONES, 0.5, is_training=False), ONES)
  with pytest.raises(ValueError, match='drop7.* keys'):
    layers.dropout(tf.constant(ONES), scope='drop7')


def test_drop_path_accepts_a_tensor_as_probability():
  outputs = layers.drop_path(tf.constant(ONES), tf.constant(0.5), keys=keys(range(64)))
  assert set(np.unique(outputs)) == {np.float32(0), np.float32(2)}


def test_dropout_rate_of_the_run():
  kept = layers.dropout(ONES, 0.5, keep_prob_of_run=1.0, keys=None)
  np.testing.assert_array_equal(kept, ONES)
  keys = tf.stack([tf.zeros(ONES.shape[0], tf.int64), tf.range(ONES.shape[0], dtype=tf.int64)], 1)
  found = layers.dropout(ONES, 0.5, keep_prob_of_run=0.8, keys=keys).numpy()
  np.testing.assert_allclose(np.unique(found), [0, 1.25])
  assert abs((found > 0).mean() - 0.8) < 0.1
