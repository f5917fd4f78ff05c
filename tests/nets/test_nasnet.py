"""NASNet against Keras' own, and drop path in NASNet and PNASNet."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from nets import nas_cells, nets_factory, noise
from scripts.oracles import fixtures, keras_models, values

v1 = tf.compat.v1


def random_logits(name, images, num_classes):
  """Applies a network with random variables; returns the logits and the variables."""
  squares = {scope: square for scope, (square, _) in
             fixtures.read('slim', name)['batch_norms'].items()}
  arrays = {}

  def draw(getter, name, *, shape, **unused):
    arrays[name] = values.variable(name, shape, squares)
    return tf.constant(arrays[name])

  with v1.variable_scope(v1.get_variable_scope(), custom_getter=draw):
    logits, _ = nets_factory.get_network_fn(name, num_classes)(tf.constant(images))
  return logits.numpy(), arrays


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'function', 'size'), [
  pytest.param('nasnet_mobile', keras.applications.NASNetMobile, 64, marks=pytest.mark.thorough),
  ('nasnet_mobile', keras.applications.NASNetMobile, 97),
  # The connections of its cells affect only the logits.
  ('nasnet_large', keras.applications.NASNetLarge, 64),
  pytest.param('nasnet_large', keras.applications.NASNetLarge, 97, marks=pytest.mark.thorough)])
def test_logits_equal_keras(name, function, size):
  model = keras_models.with_poolings_of_slim(function(
    input_shape=(size, size, 3), weights=None, classes=12, classifier_activation=None))
  images = values.images(2, size)
  logits, arrays = random_logits(name, images, 12)
  keras_models.assign(name, model, arrays)
  expected = model(images, training=False).numpy()
  assert np.abs(expected[0] - expected[1]).max() > 0.01 * expected.std()
  np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std())


def build(name, size, *, is_training=False, height=None, batch=2, **arguments):
  """Traces a network; returns its end points and `{variable: shape}`."""
  shapes = {}

  def answer(getter, name, *, shape, dtype, **unused):
    shapes[name] = tuple(shape)
    return tf.Variable(tf.zeros(shape)) if 'moving' in name else v1.placeholder(dtype, shape)

  with v1.variable_scope(v1.get_variable_scope(), custom_getter=answer):
    function = nets_factory.get_network_fn(name, 10, is_training=is_training)
    _, end_points = function(
      v1.placeholder(tf.float32, [batch, height or size, size, 3], name='images'),
      keys=v1.placeholder(tf.int64, [batch, 2], name='keys'),
      step=v1.placeholder(tf.int64, [], name='step'), **arguments)
  return end_points, shapes


@pytest.mark.parametrize(('name', 'smallest', 'height'), [
  pytest.param('nasnet_cifar', 1, 2, marks=pytest.mark.thorough), ('nasnet_mobile', 3, 40),
  pytest.param('pnasnet_mobile', 3, 40, marks=pytest.mark.thorough)])
def test_variables_do_not_depend_on_image_size(name, smallest, height):
  with tf.Graph().as_default():
    _, expected = build(name, nets_factory.get_net(name).image_size)
    end_points, shapes = build(name, smallest, height=height)
    assert shapes == expected
    assert end_points['Logits'].shape == [2, 10]
    if smallest > 1:
      with pytest.raises(ValueError, match=f'{smallest}×{smallest}'):
        build(name, smallest - 1)


@pytest.mark.parametrize(('name', 'size', 'kernel'), [
  pytest.param('nasnet_cifar', 45, 7, marks=pytest.mark.thorough), ('nasnet_cifar', 1, 1),
  pytest.param('pnasnet_mobile', 32, 1, marks=pytest.mark.thorough), ('pnasnet_mobile', 224, 4)])
def test_auxiliary_kernel_covers_its_map(name, size, kernel):
  with tf.Graph().as_default():
    end_points, shapes = build(name, size, is_training=True)
  kernels = [shape for key, shape in shapes.items() if key.endswith('aux_logits/Conv/weights')]
  assert kernels == [(kernel, kernel, 128, 768)]
  assert end_points['AuxLogits'].shape == [2, 10]


def test_scope_can_be_set():
  with tf.Graph().as_default():
    _, plain = build('pnasnet_mobile', 32)
    _, within = build('pnasnet_mobile', 32, scope='outer')
  assert within == {f'outer/{name}': shape for name, shape in plain.items()}


@pytest.mark.parametrize(('position', 'cells', 'keep_prob', 'expected'), [
  (0, 20, 0.6, 0.98),  # nasnet_cifar's cell_0: 1 - 1/20 * 0.4.
  (6, 20, 0.6, 0.86),  # Its reduction_cell_0: 1 - 7/20 * 0.4.
  (2, 22, 0.7, 1 - 0.9 / 22),  # nasnet_large's cell_0, after two cells of the stem.
  (13, 14, 0.6, 0.6),  # pnasnet_large's cell_11, the last.
  (7, 16, 1.0, 1.0)])
def test_keep_probability_decreases_with_depth(position, cells, keep_prob, expected):
  assert nas_cells.scheduled_keep_prob(position, cells, keep_prob) == pytest.approx(expected, 1e-9)


def dropped_paths(graph):
  """Finds `[(factor, cell)]` of all paths: the factor has one number per example."""
  unpack, = (op for op in graph.get_operations() if op.type == 'Unpack' and op.outputs)
  return [(factor, re.search(r'((reduction_)?cell_(stem_)?\d+)/comb_iter_\d/(left|right)/',
                             factor.consumers()[0].name)) for factor in unpack.outputs]


# Paths in a cell are its operations except identities: 8 in NASNet's normal cell, else 9.
@pytest.mark.parametrize(('name', 'paths', 'some', 'steps'), [
  ('nasnet_cifar', 18 * 8 + 2 * 9, {'cell_0': 0.98, 'reduction_cell_0': 0.86, 'cell_17': 0.6},
   937_500),
  pytest.param('nasnet_large', 4 * 9 + 18 * 8,
               {'cell_stem_0': 1 - 0.3 / 22, 'cell_0': 1 - 0.9 / 22, 'cell_17': 0.7}, 250_000,
               marks=pytest.mark.thorough),
  ('pnasnet_large', 14 * 9, {'cell_stem_1': 1 - 0.8 / 14, 'cell_11': 0.6}, 250_000)])
def test_drop_path_follows_the_schedule(name, paths, some, steps):
  with tf.Graph().as_default() as graph:
    build(name, 32, is_training=True, batch=None)
    found = dropped_paths(graph)
    assert len(found) == paths
    assert len({match.group() for _, match in found}) == paths  # Each in a scope of its own.
    with v1.Session() as session:
      keys = session.run(noise.example_keys(0, 5, range(4000)))

      def draw(step):
        return np.stack(session.run([factor for factor, _ in found], {
          'keys:0': keys, 'step:0': step}))[:, :, 0, 0, 0]
      start, half, end, later = (draw(step) for step in (0, steps // 2, steps, 2 * steps))
  assert (start == 1).all()
  np.testing.assert_array_equal(end, later)
  for cell, keep_prob in some.items():
    rows = [i for i, (_, match) in enumerate(found) if match.group(1) == cell]
    assert len(rows) in (8, 9)
    for factors, expected in ((half, (1 + keep_prob) / 2), (end, keep_prob)):
      np.testing.assert_allclose(np.unique(factors[rows]), [0, 1 / expected], rtol=1e-5)
      share = (factors[rows] > 0).mean()
      assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / factors[rows].size)
  correlations = np.corrcoef(end)[np.triu_indices(paths, 1)]
  assert np.abs(correlations).max() < 6 / np.sqrt(4000)  # Any two paths are dropped independently.
  assert abs(correlations.mean()) < 1e-3


@pytest.mark.parametrize('is_training', [False, True])
def test_no_drop_path_in_inference_and_in_mobile_networks(is_training):
  with tf.Graph().as_default() as graph:
    build('pnasnet_mobile' if is_training else 'nasnet_cifar', 32, is_training=is_training)
    assert [op for op in graph.get_operations() if op.type == 'Unpack'] == []


def test_drop_path_needs_the_step():
  function = nets_factory.get_network_fn('nasnet_cifar', 10, is_training=True)
  with tf.Graph().as_default(), pytest.raises(ValueError, match='drop_path.* step'):
    function(tf.zeros([2, 8, 8, 3]), keys=tf.zeros([2, 2], tf.int64))
