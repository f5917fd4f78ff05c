"""Our networks against those in the installed tf-slim that still run, in the same `tf.Graph`.

`test_slim_oracle.py` covers all of TF-Slim's networks, with fixtures.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tf_slim
from tf_slim.nets import alexnet, vgg

from nets import nets_factory

v1 = tf.compat.v1
# tf-slim's layers, which only this file runs, call a deprecated method of TensorFlow's.
pytestmark = pytest.mark.filterwarnings('ignore:`layer.apply` is deprecated:UserWarning')


def slim_logits(name, images, num_classes):
  """Builds tf-slim's network; logits at several positions are averaged, like ours."""
  function, arg_scope, arguments = {
    'alexnet_v2': (alexnet.alexnet_v2, alexnet.alexnet_v2_arg_scope, {'spatial_squeeze': False}),
    'vgg_a': (vgg.vgg_a, vgg.vgg_arg_scope, {'spatial_squeeze': False}),
  }[name]
  with tf_slim.arg_scope(arg_scope()):
    logits, end_points = function(images, num_classes, is_training=False, **arguments)
  return tf.reduce_mean(logits, [1, 2]), end_points


NAMES = ('alexnet_v2', 'vgg_a')


@pytest.mark.parametrize('name', NAMES)
def test_names_and_shapes_and_end_points(name):
  def build(function):
    with tf.Graph().as_default():
      end_points = function(tf.zeros([1, 224, 224, 3]))[1]
      trainable = {v.op.name for v in v1.trainable_variables()}
      return ({v.op.name: (tuple(v.shape), v.op.name in trainable) for v in v1.global_variables()},
              set(end_points))

  ours, our_keys = build(nets_factory.get_network_fn(name, 1000))
  slims, slims_keys = build(lambda images: slim_logits(name, images, 1000))
  assert ours == slims
  assert our_keys >= slims_keys
  assert our_keys - slims_keys <= {'Logits', 'Predictions', 'global_pool',
                                   f'{name}/spatial_squeeze'}


@pytest.mark.parametrize(('name', 'sizes'), [
  ('alexnet_v2', (224, 261)),
  pytest.param('vgg_a', (224, 257), marks=pytest.mark.slow),
])
def test_logits(name, sizes, rng, random_getter):
  with tf.Graph().as_default():
    v1.set_random_seed(1)
    images = [tf.constant(rng.normal(size=[2, size, size, 3]), tf.float32) for size in sizes]
    function = nets_factory.get_network_fn(name, 10)
    pairs = []
    for image in images:
      with v1.variable_scope(v1.get_variable_scope(), custom_getter=random_getter):
        ours = function(image)[0]
      v1.get_variable_scope().reuse_variables()  # An unknown name is an error from here on.
      pairs.append((ours, slim_logits(name, image, 10)[0]))
    with v1.Session() as session:
      session.run(v1.global_variables_initializer())
      for ours, slims in session.run(pairs):
        assert slims.std() > 0.01
        assert np.abs(ours[0] - ours[1]).max() > 0.01 * slims.std()
        np.testing.assert_allclose(ours, slims, rtol=0, atol=1e-4 * slims.std())
