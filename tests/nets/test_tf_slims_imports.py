"""What users of TF-Slim import and call."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from nets import inception, nets_factory
from nets.mobilenet import mobilenet_v2, mobilenet_v3
from preprocessing import preprocessing_factory

v1 = tf.compat.v1


@pytest.mark.parametrize('name', ['inception_v1', 'inception_v2', 'inception_v3', 'inception_v4',
                                  'inception_resnet_v2'])
def test_inception_has_functions_and_arg_scopes(name):
  assert getattr(inception, name) is nets_factory.networks_map[name]
  assert getattr(inception, f'{name}_arg_scope') is nets_factory.arg_scopes_map[name]


def test_mobilenet_is_a_package():
  assert mobilenet_v2.mobilenet_v2 is nets_factory.networks_map['mobilenet_v2']
  assert mobilenet_v3.mobilenet_v3_large is nets_factory.networks_map['mobilenet_v3_large']


def test_maps_have_all_networks():
  assert [*nets_factory.networks_map] == [*nets_factory.arg_scopes_map] == [*nets_factory.NETS]


# The networks of TF-Slim's preprocessing factory, which have the recipe of their record here.
@pytest.mark.parametrize('name', [
  name for name in nets_factory.list_nets()
  if name.startswith(('inception', 'mobilenet', 'nasnet_l', 'nasnet_m', 'pnasnet', 'resnet_v',
                      'vgg'))])
def test_preprocessing_of_a_network(name):
  recipe = preprocessing_factory.get_recipe(name)
  assert recipe is preprocessing_factory.PREPROCESSING[nets_factory.get_net(name).preprocessing]


@pytest.mark.parametrize('name', ['mobilenet', 'vgg-16', 'vgg_17', 'mobilenet_v9', ''])
def test_preprocessing_of_unknown_names(name):
  with pytest.raises(ValueError, match='Known'):
    preprocessing_factory.get_recipe(name)


def test_eager_calls_are_rejected_and_calls_in_a_graph_work():
  function = nets_factory.get_network_fn('lenet', 10)
  eager = functools.partial(nets_factory.networks_map['lenet'], num_classes=3)
  for call in (function, eager, tf.function(lambda images: function(images)[0])):
    with pytest.raises(ValueError, match='build_network'):
      call(tf.zeros([1, 28, 28, 1]))
  kept = v1.wrap_function(lambda images: function(images)[0],
                          [tf.TensorSpec([1, 28, 28, 1], tf.float32)])
  np.testing.assert_array_equal(*(kept(tf.ones([1, 28, 28, 1])) for _ in range(2)))
  with tf.Graph().as_default():
    logits, _ = function(v1.placeholder(tf.float32, [1, 28, 28, 1]))
    assert logits.shape == [1, 10]
    assert len(v1.trainable_variables()) == 8
