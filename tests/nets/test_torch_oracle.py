"""Our networks against timm's and torchvision's, whose results `scripts/oracles` recorded."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory, outline, random_layers
from scripts.oracles import fixtures, values

v1 = tf.compat.v1
NAMES = fixtures.names('torch')
SLOW = ('resnet50_torchvision',)
# Deeper or wider variants of other networks.
DEEPER = ('efficientnet_lite1', 'efficientnet_lite2', 'efficientnet_lite3', 'efficientnet_lite4',
          'pnasnet_large', 'resnet101_torchvision', 'resnet152_torchvision', 'resnet_v1_34')


def mark(name):
  if name not in (*SLOW, *DEEPER):
    return name
  return pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.thorough)


of_each = pytest.mark.parametrize('name', [mark(name) for name in NAMES])


@pytest.mark.parametrize('name', NAMES)
def test_oracle_has_our_variables(name):
  expected = fixtures.read('torch', name)
  size = nets_factory.get_net(name).image_size
  found = outline.trace(name, 10, image_shape=[size, size, 3])
  ours = {key: list(shape) for key, shape in {**found.trainable, **found.others}.items()}
  assert ours == expected['variables']


@of_each
def test_inference(name):
  expected = fixtures.read('torch', name)
  for case in expected['inference']:
    with tf.Graph().as_default(), v1.Session() as session:
      function = nets_factory.get_network_fn(name, 10)
      logits, _ = function(tf.constant(values.images(2, case['size'])))
      initializers = {v.op.name: v.initializer for v in v1.global_variables()}
      session.run([*initializers.values()], {
        op.inputs[1]: values.variable(key, expected['variables'][key], expected['squares'])
        for key, op in initializers.items()})
      ours, theirs = session.run(logits), np.array(case['logits'])
    assert np.abs(theirs[0] - theirs[1]).max() > 0.01 * theirs.std() > 1e-4
    difference = np.abs(ours - theirs).max() / theirs.std()
    print(f'{name} at {case["size"]}: {difference:.1e} of the standard deviation')
    assert difference < 1e-4


@pytest.mark.parametrize('name', [
  name for name in NAMES if 'training' in fixtures.read('torch', name)])
def test_training(name, monkeypatch, assert_gradients):
  monkeypatch.setattr(random_layers, '_scale_kept', lambda inputs, keep_prob, **unused: inputs)
  expected = fixtures.read('torch', name)
  case = expected['training']
  with tf.Graph().as_default(), v1.Session() as session:
    function = nets_factory.get_network_fn(name, 10, is_training=True)
    logits, _ = function(tf.constant(values.images(case['batch'], case['size'])),
                         keys=tf.zeros([case['batch'], 2], tf.int64))
    loss = tf.reduce_sum(logits * values.coefficients('logits', logits.shape))
    trained = {v.op.name: v for v in v1.trainable_variables()}
    gradients = tf.gradients(loss, [*trained.values()])
    initializers = {v.op.name: v.initializer for v in v1.global_variables()}
    session.run([*initializers.values()], {
      op.inputs[1]: values.variable(key, expected['variables'][key], expected['squares'])
      for key, op in initializers.items()})
    logits, gradients = session.run([logits, gradients])
  theirs = np.array(case['logits'])
  np.testing.assert_allclose(logits, theirs, rtol=0, atol=1e-4 * theirs.std())
  assert_gradients(dict(zip(trained, gradients, strict=True)), case['gradients'])
