from __future__ import annotations

import zlib

import numpy as np
import pytest
import tensorflow as tf

from nets import initial_values, layers

_INITIALIZERS = {
  'truncated normal': layers.truncated_normal_initializer(0.05),
  'normal': layers.random_normal_initializer(0.02),
  'xavier': layers.xavier_initializer(),
  'xavier, normal': layers.xavier_initializer(uniform=False),
  'variance scaling': layers.variance_scaling_initializer(),
  "TensorFlow's variance scaling": tf.compat.v1.variance_scaling_initializer(
    2.0, mode='fan_out', distribution='uniform'),
  'uniform': tf.compat.v1.random_uniform_initializer(-0.2, 0.3),
  'own seed': tf.compat.v1.random_normal_initializer(1.0, 2.0, seed=-5),
  'constant': layers.constant_initializer(0.1),
  'zeros': layers.zeros_initializer(),
  'orthogonal': tf.compat.v1.orthogonal_initializer(),
  'a function': lambda shape, dtype: tf.exp(tf.random.normal(shape, dtype=dtype)),
}


@pytest.mark.parametrize('name', _INITIALIZERS)
def test_values_are_those_of_a_session(name):
  initializer, shape = _INITIALIZERS[name], [3, 3, 40, 7]
  with tf.Graph().as_default():
    tf.compat.v1.set_random_seed(zlib.crc32(b'9/net/weights'))
    value = initializer(shape, dtype=tf.float32)
    with tf.compat.v1.Session() as session:
      expected = session.run(value)
  found = initial_values.draw('net/weights', shape, initializer, seed=9)
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, expected)
  np.testing.assert_array_equal(
    initial_values.draw('net/weights', shape, initializer, seed=9), expected)


def test_the_users_generators_are_left_alone():
  tf.random.set_seed(3)
  expected = tf.random.uniform([4]).numpy()
  tf.random.set_seed(3)
  initial_values.draw('weights', [2, 2], layers.xavier_initializer(), seed=1)
  np.testing.assert_array_equal(tf.random.uniform([4]), expected)
