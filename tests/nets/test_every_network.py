"""What every network must do besides being right: bfloat16, XLA, one trace a signature."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, noise
from scripts.oracles import fixtures, values

CLASSES, BATCH = 10, 4
# Small images make quick tests; what the network or the maps of its last layers allow.
SIZES = {'alexnet': 227, 'alexnet_v2': 195, 'cifarnet': 32, 'inception_resnet_v2': 107,
         'inception_v3': 107, 'inception_v4': 107, 'lenet': 28, 'overfeat': 231, 'vgg_16': 224,
         'vgg_19': 224, 'vgg_a': 224}
QUICK = ('cifarnet', 'lenet', 'mobilenet_v1_025')
of_each = pytest.mark.parametrize('name', [
  name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
  for name in nets_factory.list_nets()])


def squares(name):
  """Mean squares of what comes into the batch norms with the oracle's random weights."""
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


@of_each
def test_training_in_bfloat16(name):
  network, images = build(name, is_training=True, dtype=tf.bfloat16)
  before = [*network.variables]
  traces = []

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
    assert [key for key, value in gradients.items() if not np.isfinite(value).all()] == []
  assert len(traces) == 1  # The step and the examples do not trace it again,
  assert [*network.variables] == before  # and no trace adds a variable.


@of_each
def test_bfloat16_and_xla_agree_with_float32(name):
  network, images = build(name)
  half, _ = build(name, dtype=tf.bfloat16)
  infer = {
    'plain': tf.function(lambda x: network(x, is_training=False)[0], autograph=False),
    'xla': tf.function(lambda x: network(x, is_training=False)[0], autograph=False,
                       jit_compile=True),
    'bfloat16': tf.function(lambda x: half(x, is_training=False)[0], autograph=False)}
  logits = {key: function(images).numpy() for key, function in infer.items()}
  spread = logits['plain'].std()
  error = {key: np.abs(value - logits['plain']).max() / spread for key, value in logits.items()}
  print(f'{name}: XLA {error["xla"]:.1e}, bfloat16 {error["bfloat16"]:.1e} of the deviation')
  assert spread > 1e-3
  assert error['xla'] < 1e-4
  assert 0 < error['bfloat16'] < 0.5  # Eight bits, through up to 200 layers.
