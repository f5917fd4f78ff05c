"""Our networks against TF-Slim's own, whose results were recorded by `scripts/oracles`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, outline, random_layers, scopes
from scripts.oracles import fixtures, values

v1 = tf.compat.v1
NAMES = fixtures.names('slim')
AUXILIARY_WEIGHT = 0.4
# Deeper or wider variants of other networks; and one compared with Keras' in test_nasnet.py.
DEEPER = ('mobilenet_edgetpu', 'mobilenet_v1', 'mobilenet_v1_050', 'mobilenet_v1_075',
          'mobilenet_v2', 'mobilenet_v2_050', 'mobilenet_v2_140',
          'mobilenet_v3_large_minimalistic', 'mobilenet_v3_small_minimalistic', 'nasnet_large',
          'nasnet_mobile', 'pnasnet_large', 'resnet_v1_101', 'resnet_v1_152', 'resnet_v1_200',
          'resnet_v2_101', 'resnet_v2_152', 'resnet_v2_200', 'vgg_16', 'vgg_19')
# Those whose variables differ in training, and one of the others.
WITH_AUXILIARY_HEADS = ('inception_resnet_v2', 'inception_v3', 'inception_v4', 'mobilenet_v1_025',
                        'nasnet_cifar', 'nasnet_mobile', 'pnasnet_mobile')
# The training of the others has the same layers, heads and arg scopes.
TRAINED = ('alexnet_v2', 'cifarnet', 'inception_v2', 'inception_v3', 'lenet', 'mobilenet_v1_025',
           'mobilenet_v2_035', 'mobilenet_v3_small_minimalistic', 'resnet_v1_50')
# Slower than five seconds on one core.
SLOW = ('inception_resnet', 'inception_v', 'nasnet', 'overfeat', 'pnasnet', 'resnet', 'vgg')
# Their first fully connected layer covers the image: a matrix product if the size is static.
DENSE = ('alexnet', 'overfeat', 'vgg')
FLATTENED = ('cifarnet', 'lenet')  # Every image size has variables of its own.
AUXILIARY = ('aux_*', '*/AuxLogits')  # TF-Slim's Inceptions have them in inference too.
# Their shapes, and so their initial values, depend on the size of the images.
OF_THE_SIZE = ('aux_*', '*/AuxLogits', '*/fc3')


def of_each(names, chosen):
  """Marks networks that are not chosen to run only with --thorough."""
  def mark(name):
    if name not in chosen:
      return pytest.mark.thorough
    return pytest.mark.slow if name.startswith(SLOW) else ()
  return [pytest.param(name, marks=mark(name)) for name in names]


def trained():
  return [name for name in NAMES if fixtures.read('slim', name)['training']]


SHALLOW = [name for name in NAMES if name not in DEEPER]


class Ours:
  """One of our networks in a graph, with the oracle's variables and images."""

  def __init__(self, name, images, *, is_training=False, squares=None, weight_decay=0.0):
    """Builds the network for each array of images, with one set of variables."""
    with tf.Graph().as_default() as self.graph:
      v1.set_random_seed(0)
      function = nets_factory.get_network_fn(name, 10, weight_decay, is_training)
      if len(images) > 1 and not name.startswith(DENSE):
        batch, *_, channels = images[0].shape
        shapes = [[batch, None, None, channels]]
      else:
        shapes = [array.shape for array in images]
      built = []
      for shape in shapes:
        placeholder = v1.placeholder(tf.float32, shape)
        with v1.variable_scope(v1.get_variable_scope(), reuse=v1.AUTO_REUSE):
          built.append((placeholder, *function(
            placeholder, keys=v1.placeholder(tf.int64, [shape[0], 2]), step=tf.constant(0))))
      self.built = built * (len(images) // len(built))
      _, self.logits, self.end_points = built[0]
      self.variables = {v.op.name: v for v in v1.global_variables()}
      self.trainable = {v.op.name for v in v1.trainable_variables()}
      self.losses = v1.losses.get_regularization_losses()
      self.updates = v1.get_collection(v1.GraphKeys.UPDATE_OPS)
    self.images, self.squares = images, squares or {}
    self.session = v1.Session(graph=self.graph)

  def load_all(self):
    self.load({name: values.variable(name, v.shape, self.squares)
               for name, v in self.variables.items()})

  def load(self, arrays):
    initializers = {name: self.variables[name].initializer for name in arrays}
    self.session.run([*initializers.values()],
                     {op.inputs[1]: arrays[name] for name, op in initializers.items()})

  def run(self, what):
    return self.session.run(what, {self.built[0][0]: self.images[0]})

  def logits_of_all(self):
    return [self.session.run(logits, {placeholder: array})
            for (placeholder, logits, _), array in zip(self.built, self.images, strict=True)]


class Training:
  """Our network in training, measured once for several tests."""

  def __init__(self, name):
    self.expected = fixtures.read('slim', name)
    case = self.expected['training']
    images = values.images(case['batch'], case['size'], self.expected['channels'])
    ours = Ours(name, [images], is_training=True, weight_decay=1.0,
                squares=squares_of(self.expected))
    try:
      self.initial = self._initial_values(ours)
      ours.load_all()
      self.results, self.gradients = self._gradients(ours)
      self.moving = self._moving_averages(ours)
    finally:
      ours.session.close()

  def _initial_values(self, ours):
    slims = self.expected['trainable']
    large = {key: v for key, v in ours.variables.items()
             if v.shape.num_elements() >= fixtures.LARGE}
    self.skipped = {key for key, v in large.items()
                    if v.shape.as_list() != slims.get(key, v.shape.as_list())}
    large = {key: v for key, v in large.items() if key not in self.skipped}
    ours.session.run([v.initializer for v in large.values()])
    return {key: (array.size, array.mean(), array.std())
            for key, array in ours.session.run(large).items()}

  def _gradients(self, ours):
    with ours.graph.as_default():
      outputs = {'logits': ours.logits}
      if 'aux_logits' in self.expected['training']:
        outputs['aux_logits'] = ours.end_points['AuxLogits']
      weights = {'logits': 1.0, 'aux_logits': AUXILIARY_WEIGHT}
      loss = tf.add_n([weights[key] * tf.reduce_sum(output * values.coefficients(key, output.shape))
                       for key, output in outputs.items()])
      variables = {key: ours.variables[key] for key in ours.trainable}
      gradients = tf.gradients(loss, [*variables.values()])
      outputs['regularization'] = tf.add_n(ours.losses) if ours.losses else tf.zeros([])
    results, gradients = ours.run([outputs, gradients])
    return results, dict(zip(variables, gradients, strict=True))

  def _moving_averages(self, ours):
    """Returns moving averages after one step, from zeros and from ones."""
    moving = {key: v for key, v in ours.variables.items()
              if key.endswith(('moving_mean', 'moving_variance'))}
    after = []
    for start in (0, 1):
      ours.load({key: np.full(v.shape, start, np.float32) for key, v in moving.items()})
      ours.run(ours.updates)
      after.append(ours.run(moving))
    return after


@pytest.fixture(scope='module')
def training(request):
  """Trains a network without dropout and drop path."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(random_layers, '_scale_kept', lambda inputs, keep_prob, **unused: inputs)
    return Training(request.param)


in_training = pytest.mark.parametrize('training', of_each(trained(), TRAINED), indirect=True,
                                      scope='module')


def squares_of(expected):
  return {scope: square for scope, (square, _) in expected['batch_norms'].items()}


def test_every_image_network_of_slim_is_tested():
  assert [name for name in NAMES if name not in nets_factory.NETS] == []
  assert len(NAMES) == 39


@pytest.mark.parametrize('name', of_each(NAMES, SHALLOW))
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


@pytest.mark.parametrize('name', of_each(NAMES, WITH_AUXILIARY_HEADS))
def test_names_and_shapes_in_training(name, trace_training):
  expected = fixtures.read('slim', name)
  found = trace_training(name, size=expected['image_size'], channels=expected['channels'])
  assert found.trainable == expected['trainable']
  assert found.others == expected['others']
  assert_end_points({key: value.shape.as_list() for key, value in found.end_points.items()},
                    expected['training_end_points'])


def assert_end_points(ours, slims):
  """Compares all keys of TF-Slim, except those of auxiliary heads in inference."""
  assert {*slims} - {*ours} <= {'AuxLogits'}
  # TF-Slim squeezes some maps of one pixel to vectors, but not others.
  flat = {key: [size for size in shape[1:] if size != 1] for key, shape in ours.items()}
  for key in slims.keys() & flat.keys():
    assert flat[key] == [size for size in slims[key][1:] if size != 1], key


@pytest.mark.parametrize('name', of_each(NAMES, SHALLOW))
def test_inference(name):
  expected = fixtures.read('slim', name)
  cases = [(case['logits'], values.images(2, case['size'], expected['channels']))
           for case in expected['inference']]
  for group in [[case] for case in cases] if name in FLATTENED else [cases]:
    ours = Ours(name, [images for _, images in group], squares=squares_of(expected))
    # TF-Slim builds auxiliary heads in inference too, but their variables are not used there.
    assert {*ours.variables} <= {*expected['trainable'], *expected['others']}
    with ours.session:
      ours.load_all()
      found = ours.logits_of_all()
    for (slims, images), logits in zip(group, found, strict=True):
      slims = np.array(slims)
      assert np.abs(slims[0] - slims[1]).max() > 0.01 * slims.std() > 1e-4
      difference = np.abs(logits - slims).max() / slims.std()
      print(f'{name} at {images.shape[1]}: {difference:.1e} of the standard deviation')
      assert difference < 1e-4


@in_training
def test_logits_and_gradients_in_training(training, assert_gradients):
  case = training.expected['training']
  results = dict(training.results)
  np.testing.assert_allclose(results.pop('regularization'), case['regularization'], rtol=1e-5)
  for key, output in results.items():
    slims = np.array(case[key])
    np.testing.assert_allclose(output, slims, rtol=0, atol=2e-2 * slims.std())
  # Gradients of Inception V4, the deepest of these, differ by up to 3.6% on one thread.
  is_v4 = 'InceptionV4/Logits/Logits/weights' in training.gradients
  assert_gradients(training.gradients, case['gradients'], tolerance=0.1 if is_v4 else 3e-2)


@in_training
def test_moving_averages(training):
  after, kinds = training.moving, ('moving_mean', 'moving_variance')
  slims = training.expected['batch_norms']
  assert {key.rpartition('/')[0] for key in after[0]} == {*slims}
  for scope, (square, decay) in slims.items():
    (mean, variance), (_, from_1) = [[state[f'{scope}/{kind}'].astype(np.float64)
                                      for kind in kinds] for state in after]
    assert round(float(np.median(from_1 - variance)), 6) == decay, scope
    ours_square = np.mean(variance / (1 - decay) + (mean / (1 - decay)) ** 2)
    np.testing.assert_allclose(ours_square, square, rtol=1e-2, err_msg=scope)


@pytest.mark.parametrize('name', NAMES)
def test_decay_of_moving_averages(name):
  """Checks all networks' arg scopes, since the decay does not affect logits."""
  slims = {decay for _, decay in fixtures.read('slim', name)['batch_norms'].values()}
  ours = {arguments['decay'] for arguments in nets_factory.get_net(name).arg_scope().values()
          if 'decay' in arguments}
  assert ours == slims


def assert_initial_values(found, slims):
  for key, (size, mean, deviation) in found.items():
    slims_mean, slims_deviation = slims[key]
    error = 6 * slims_deviation / np.sqrt(size)
    np.testing.assert_allclose(deviation, slims_deviation, rtol=0, atol=error + 1e-9, err_msg=key)
    np.testing.assert_allclose(mean, slims_mean, rtol=0, atol=1.5 * error + 1e-9, err_msg=key)


@in_training
def test_initial_values(training):
  slims = training.expected['initial']
  assert [key for key in {*slims} ^ {*training.initial}
          if not scopes.matches_any(key, OF_THE_SIZE)] == []
  assert_initial_values({key: found for key, found in training.initial.items() if key in slims},
                        slims)


# The first fully connected layer of VGG and OverFeat is omitted: the second one has the same
# initializer.
@pytest.mark.parametrize('name', of_each(trained(), ('overfeat', 'vgg_a')))
def test_initial_values_at_the_default_image_size(name):
  expected = fixtures.read('slim', name)
  size = expected['image_size']
  ours = Ours(name, [np.zeros([1, size, size, expected['channels']], np.float32)],
              is_training=True)
  large = {key: v for key, v in ours.variables.items()
           if fixtures.LARGE <= v.shape.num_elements() < 20_000_000}
  with ours.session as session:
    session.run(v1.variables_initializer([*large.values()]))
    arrays = session.run(large)
  left_out = ('*/fc6',) if name in ('alexnet_v2', 'overfeat', 'vgg_a') else ()
  assert sorted(arrays) == sorted(key for key in expected['initial']
                                  if key in arrays or not scopes.matches_any(key, left_out))
  assert_initial_values({key: (array.size, array.mean(), array.std())
                         for key, array in arrays.items()}, expected['initial'])
