"""Every network: bfloat16, XLA, one trace per signature."""

from __future__ import annotations

import gc

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, noise
from scripts.oracles import fixtures, values

CLASSES, BATCH = 10, 4
# Smallest images that the network or the maps of its last layers allow, for quick tests.
SIZES = {'alexnet': 227, 'alexnet_torchvision': 223, 'alexnet_v2': 195, 'caffenet': 227,
         'cifarnet': 32,
         'inception_resnet_v2': 107, 'inception_v3': 107, 'inception_v4': 107, 'lenet': 28,
         'overfeat': 231, 'vgg_16': 224, 'vgg_19': 224, 'vgg_a': 224}
QUICK = ('cifarnet', 'lenet', 'squeezenet')
# With these, all kinds of layers are computed in bfloat16 and with XLA.
SLOW = ('mobilenet_v3_small',)
# The other families are only traced in bfloat16: a layer of another type fails when traced.
TRACED = ('alexnet', 'efficientnet_lite0', 'inception_resnet_v2', 'inception_v2', 'inception_v3',
          'inception_v4', 'mobilenet_v1_025', 'nasnet_cifar', 'pnasnet_mobile', 'resnet50_keras',
          'resnet_v2_50', 'vgg_a')


def mark(name):
  if name in QUICK:
    return name
  marker = pytest.mark.slow if name in SLOW else pytest.mark.thorough
  return pytest.param(name, marks=marker)


of_each = pytest.mark.parametrize('name', [mark(name) for name in nets_factory.list_nets()])


def squares(name):
  """Mean squares of the batch norms' inputs with the oracle's random weights."""
  if name in fixtures.names('slim'):
    found = fixtures.read('slim', name)['batch_norms']
    return {scope: square for scope, (square, _) in found.items()}
  return fixtures.read('torch', name)['squares'] if name in fixtures.names('torch') else {}


def build(name, **arguments):
  size = SIZES.get(name, 64)
  network = nets_factory.build_network(name, image_shape=[size, size, 3], num_classes=CLASSES,
                                       **arguments)
  scales = squares(name)
  for key, variable in network.variables.items():
    variable.assign(values.variable(key, variable.shape, scales))
  return network, values.images(BATCH, size)


def assert_trains(network, images):
  """Two training steps need one trace, add no variable, and have finite float32 results."""
  before, traces = [*network.variables], []

  @tf.function(autograph=False)
  def train(images, keys, step):
    traces.append(step)
    with tf.GradientTape() as tape:
      logits, end_points = network(images, is_training=True, keys=keys, step=step)
      outputs = [logits, *([end_points['AuxLogits']] if 'AuxLogits' in end_points else [])]
      loss = tf.add_n([tf.reduce_mean(output ** 2) for output in outputs])
    gradients = tape.gradient(loss, [network.variables[key] for key in network.trainable])
    return outputs, dict(zip(network.trainable, gradients, strict=True))

  for step in range(2):
    outputs, gradients = train(images, noise.example_keys(0, step, range(BATCH)),
                               tf.constant(step))
    assert [output.dtype for output in outputs] == [tf.float32] * len(outputs)
    norms = {key: np.linalg.norm(value) for key, value in gradients.items()}
    assert [key for key, norm in norms.items() if not 0 < norm < np.inf] == []
  assert len(traces) == 1
  assert [*network.variables] == before


@of_each
def test_bfloat16_and_xla(name):
  network, images = build(name)
  half, _ = build(name, is_training=True, dtype=tf.bfloat16)

  def infer(network, **arguments):
    function = tf.function(lambda x: network(x, is_training=False)[0], autograph=False, **arguments)
    return function(images).numpy()

  logits = infer(network)
  spread = logits.std()
  xla = np.abs(infer(network, jit_compile=True) - logits).max() / spread
  bfloat16 = np.abs(infer(half) - logits).max() / spread
  print(f'{name}: XLA {xla:.1e}, bfloat16 {bfloat16:.1e} of the standard deviation')
  assert spread > 1e-3
  assert xla < 1e-4
  assert 0 < bfloat16 < 0.5  # Eight bits, through up to 200 layers.
  assert_trains(half, images)
  gc.collect()  # Graphs reference each other; those of all networks take several gigabytes.


@pytest.mark.parametrize('name', TRACED)
def test_training_can_be_traced_in_bfloat16(name, trace_training):
  found = trace_training(name, size=SIZES.get(name, 64), dtype=tf.bfloat16)
  outputs = {**found.end_points, 'Logits': found.logits}
  assert {key: value.dtype for key, value in outputs.items()
          if key.lower() != 'predictions'} == dict.fromkeys(
    (key for key in outputs if key.lower() != 'predictions'), tf.bfloat16)
  assert outputs['Predictions'].dtype == tf.float32
