"""Our networks against TF-Slim's own, whose results `scripts/oracles` wrote down."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import layers, nets_factory, outline, scopes
from scripts.oracles import fixtures, values

v1 = tf.compat.v1
NAMES = fixtures.names('slim')
AUXILIARY_WEIGHT = 0.4
# Networks that are others, only deeper.
DEEPER = ('nasnet_large', 'pnasnet_large', 'resnet_v1_101', 'resnet_v1_152', 'resnet_v1_200',
          'resnet_v2_101', 'resnet_v2_152', 'resnet_v2_200', 'vgg_19')
# What it computes is compared with Keras' in test_nasnet.py, which is quicker.
AS_KERAS = ('nasnet_mobile',)
# Above five seconds on one core.
SLOW = ('inception_resnet', 'inception_v', 'nasnet', 'overfeat', 'pnasnet', 'resnet', 'vgg')
AUXILIARY = ('aux_*', '*/AuxLogits')  # TF-Slim's Inceptions have them in inference too.


def of_each(names, deeper=()):
  def mark(name):
    if name in deeper:
      return pytest.mark.thorough
    return pytest.mark.slow if name.startswith(SLOW) else ()
  return [pytest.param(name, marks=mark(name)) for name in names]


def trained():
  return [name for name in NAMES if fixtures.read('slim', name)['training']]


class Ours:
  """One of our networks in a graph, with the oracle's variables and images."""

  def __init__(self, name, *, batch, size, is_training, channels, squares, weight_decay=0.0):
    with tf.Graph().as_default() as self.graph:
      function = nets_factory.get_network_fn(name, 10, weight_decay, is_training)
      self.images = v1.placeholder(tf.float32, [batch, size, size, channels])
      self.logits, self.end_points = function(
        self.images, keys=v1.placeholder(tf.int64, [batch, 2]), step=tf.constant(0))
      self.variables = {v.op.name: v for v in v1.global_variables()}
      self.trainable = {v.op.name for v in v1.trainable_variables()}
      self.losses = v1.losses.get_regularization_losses()
      self.updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
    self.session = v1.Session(graph=self.graph)
    self.load({name: values.variable(name, v.shape, squares) for name, v in self.variables.items()})

  def load(self, arrays):
    initializers = {name: self.variables[name].initializer for name in arrays}
    self.session.run([*initializers.values()],
                     {op.inputs[1]: arrays[name] for name, op in initializers.items()})

  def run(self, what):
    return self.session.run(what, {self.images: values.images(*self.images.shape[:2],
                                                              self.images.shape[3])})


@pytest.fixture
def build(monkeypatch):
  """Builds networks without dropout and drop path, and closes their sessions."""
  monkeypatch.setattr(layers, '_scale_kept', lambda inputs, *unused: inputs)
  built = []

  def function(*args, **kwargs):
    built.append(Ours(*args, **kwargs))
    return built[-1]

  yield function
  for ours in built:
    ours.session.close()


def squares_of(expected):
  return {scope: square for scope, (square, _) in expected['batch_norms'].items()}


def test_every_image_network_of_slim_is_here():
  assert [name for name in NAMES if name not in nets_factory.NETS] == []
  assert len(NAMES) == 39


@pytest.mark.parametrize('name', NAMES)
def test_names_and_shapes_in_inference(name):
  expected = fixtures.read('slim', name)
  size = nets_factory.get_net(name).image_size
  assert size == expected['image_size']
  ours = outline.trace(name, 10, image_shape=[size, size, expected['channels']])
  for shapes, slims in ((ours.trainable, expected['trainable']), (ours.others, expected['others'])):
    assert {key: list(shape) for key, shape in shapes.items()} == {
      key: shape for key, shape in slims.items() if not scopes.matches_any(key, AUXILIARY)}
  assert_end_points({key: value.shape.as_list() for key, value in ours.end_points.items()},
                    expected['end_points'])


@pytest.mark.parametrize('name', of_each(NAMES, DEEPER))
def test_names_and_shapes_in_training(name):
  expected = fixtures.read('slim', name)
  size = expected['image_size']
  with tf.Graph().as_default():
    _, end_points = nets_factory.get_network_fn(name, 10, is_training=True)(
      v1.placeholder(tf.float32, [2, size, size, expected['channels']]),
      keys=v1.placeholder(tf.int64, [2, 2]), step=tf.constant(0))
    trainable = {v.op.name: v.shape.as_list() for v in v1.trainable_variables()}
    others = {v.op.name: v.shape.as_list() for v in v1.global_variables()
              if v.op.name not in trainable}
  assert trainable == expected['trainable']
  assert others == expected['others']
  assert_end_points({key: value.shape.as_list() for key, value in end_points.items()},
                    expected['training_end_points'])


def assert_end_points(ours, slims):
  """Every key of TF-Slim's is there, but that of auxiliary heads in inference."""
  assert {*slims} - {*ours} <= {'AuxLogits'}
  # TF-Slim leaves some maps of one pixel as maps, and others as vectors.
  flat = {key: [size for size in shape[1:] if size != 1] for key, shape in ours.items()}
  for key in slims.keys() & flat.keys():
    assert flat[key] == [size for size in slims[key][1:] if size != 1], key


@pytest.mark.parametrize('name', of_each(NAMES, DEEPER + AS_KERAS))
def test_inference(name, build):
  expected = fixtures.read('slim', name)
  for case in expected['inference']:
    ours = build(name, batch=2, size=case['size'], is_training=False, squares=squares_of(expected),
                 channels=expected['channels'])
    logits, slims = ours.run(ours.logits), np.array(case['logits'])
    # TF-Slim builds auxiliary heads in inference too, but their variables are not used there.
    assert {*ours.variables} <= {*expected['trainable'], *expected['others']}
    assert np.abs(slims[0] - slims[1]).max() > 0.01 * slims.std() > 1e-4
    difference = np.abs(logits - slims).max() / slims.std()
    print(f'{name} at {case["size"]}: {difference:.1e} of the standard deviation')
    assert difference < 1e-4


@pytest.mark.parametrize('name', of_each(trained(), AS_KERAS))
def test_training(name, build, assert_gradients):
  expected = fixtures.read('slim', name)
  case = expected['training']
  ours = build(name, batch=case['batch'], size=case['size'], is_training=True, weight_decay=1.0,
               squares=squares_of(expected), channels=expected['channels'])
  with ours.graph.as_default():
    outputs = {'logits': ours.logits}
    if 'aux_logits' in case:
      outputs['aux_logits'] = ours.end_points['AuxLogits']
    weights = {'logits': 1.0, 'aux_logits': AUXILIARY_WEIGHT}
    loss = tf.add_n([weights[key] * tf.reduce_sum(output * values.coefficients(key, output.shape))
                     for key, output in outputs.items()])
    variables = {key: ours.variables[key] for key in ours.trainable}
    gradients = tf.gradients(loss, [*variables.values()])
    outputs['regularization'] = tf.add_n(ours.losses) if ours.losses else tf.zeros([])
  results, gradients = ours.run([outputs, gradients])
  np.testing.assert_allclose(results.pop('regularization'), case['regularization'], rtol=1e-5)
  for key, output in results.items():
    slims = np.array(case[key])
    np.testing.assert_allclose(output, slims, rtol=0, atol=2e-2 * slims.std())
  # Inception V4, the deepest of these, has gradients that differ by up to 3.6% on one thread.
  assert_gradients(dict(zip(variables, gradients, strict=True)), case['gradients'],
                   tolerance=0.1 if name == 'inception_v4' else 3e-2)


@pytest.mark.parametrize('name', of_each(trained(), AS_KERAS))
def test_moving_averages(name, build):
  expected = fixtures.read('slim', name)
  case = expected['training']
  ours = build(name, batch=case['batch'], size=case['size'], is_training=True, squares={},
               channels=expected['channels'])
  kinds = ('moving_mean', 'moving_variance')
  moving = {key: v for key, v in ours.variables.items() if key.endswith(kinds)}
  after = []
  for start in (0, 1):
    ours.load({key: np.full(v.shape, start, np.float32) for key, v in moving.items()})
    ours.run(ours.updates)
    after.append(ours.run(moving))
  assert {key.rpartition('/')[0] for key in moving} == {*expected['batch_norms']}
  for scope, (square, decay) in expected['batch_norms'].items():
    (mean, variance), (_, from_1) = [[state[f'{scope}/{kind}'].astype(np.float64)
                                      for kind in kinds] for state in after]
    assert round(float(np.median(from_1 - variance)), 6) == decay, scope
    ours_square = np.mean(variance / (1 - decay) + (mean / (1 - decay)) ** 2)
    np.testing.assert_allclose(ours_square, square, rtol=1e-2, err_msg=scope)


@pytest.mark.parametrize('name', of_each(trained()))
def test_initial_values(name):
  expected = fixtures.read('slim', name)
  with tf.Graph().as_default():
    v1.set_random_seed(0)
    size = expected['image_size']
    nets_factory.get_network_fn(name, 10, is_training=True)(
      v1.placeholder(tf.float32, [1, size, size, expected['channels']]),
      keys=v1.placeholder(tf.int64, [1, 2]), step=tf.constant(0))
    large = {v.op.name: v for v in v1.global_variables()
             if v.shape.num_elements() >= fixtures.LARGE}
    with v1.Session() as session:
      session.run(v1.variables_initializer([*large.values()]))
      arrays = session.run(large)
  assert sorted(arrays) == sorted(expected['initial'])
  for key, array in arrays.items():
    mean, deviation = expected['initial'][key]
    error = 6 * deviation / np.sqrt(array.size)
    np.testing.assert_allclose(array.std(), deviation, rtol=0, atol=error + 1e-9, err_msg=key)
    np.testing.assert_allclose(array.mean(), mean, rtol=0, atol=1.5 * error + 1e-9, err_msg=key)
