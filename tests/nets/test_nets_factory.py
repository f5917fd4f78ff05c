"""The table of networks: every fact of every network, from shape-only traces in a `tf.Graph`."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory

v1 = tf.compat.v1

# Trainable parameters: name: (channels, classes, count).
GOLDEN = {
  'alexnet': (3, 1000, 60_965_224),  # Shapes of bvlc_alexnet's published arrays.
  'alexnet_v2': (3, 1000, 50_303_912),  # tf_slim.nets.
  'cifarnet': (3, 10, 1_756_426),  # 4,864 + 102,464 + 1,573,248 + 73,920 + 1,930.
  'lenet': (1, 10, 3_274_634),  # TensorFlow's first MNIST tutorial, the same layers.
  'mobilenet_v1': (3, 1000, 4_231_976),  # keras.applications.MobileNet, this and the next three.
  'mobilenet_v1_075': (3, 1000, 2_585_560),
  'mobilenet_v1_050': (3, 1000, 1_331_592),
  'mobilenet_v1_025': (3, 1000, 470_072),
  'resnet_v1_50': (3, 1000, 25_557_032),  # tf_slim.nets; torchvision's resnet50.
  'vgg_a': (3, 1000, 132_863_336),  # The VGGs: tf_slim.nets; torchvision.
  'vgg_16': (3, 1000, 138_357_544),
  'vgg_19': (3, 1000, 143_667_240),
}

# TF-Slim's keys beside `Logits` and `Predictions`, as its networks return them.
END_POINTS = {
  'alexnet_v2': [f'alexnet_v2/{name}' for name in (
    'conv1', 'pool1', 'conv2', 'pool2', 'conv3', 'conv4', 'conv5', 'pool5', 'fc6', 'fc7', 'fc8')],
  'lenet': ['conv1', 'pool1', 'conv2', 'pool2', 'Flatten', 'fc3', 'dropout3'],
  'cifarnet': ['conv1', 'pool1', 'conv2', 'pool2', 'Flatten', 'fc3', 'fc4'],
  'mobilenet_v1': ['Conv2d_0', *(f'Conv2d_{i}_{kind}' for i in range(1, 14)
                                 for kind in ('depthwise', 'pointwise')), 'AvgPool_1a'],
  'vgg_a': ['vgg_a/conv1/conv1_1', 'vgg_a/pool1', 'vgg_a/conv5/conv5_2', 'vgg_a/pool5',
            'vgg_a/fc6', 'vgg_a/fc7', 'vgg_a/fc8'],
}
OF_EACH_SIZE = ('alexnet', 'alexnet_v2', 'vgg_a', 'resnet_v1_50', 'mobilenet_v1_025')
SMALLEST = {'alexnet': 227, 'alexnet_v2': 195, 'vgg_a': 224, 'vgg_16': 224, 'vgg_19': 224,
            'lenet': 4, 'cifarnet': 4}
names = pytest.mark.parametrize('name', nets_factory.list_nets())


@pytest.fixture(autouse=True)
def graph():
  with tf.Graph().as_default() as graph:
    yield graph


def trace(name, num_classes=10, *, size=None, channels=3, is_training=False, weight_decay=0.0):
  """Applies a network to two placeholders for images."""
  function = nets_factory.get_network_fn(name, num_classes, weight_decay, is_training)
  size = size or function.default_image_size
  return function(v1.placeholder(tf.float32, [2, size, size, channels]),
                  keys=v1.placeholder(tf.int64, [2, 2]))


def test_golden_counts_are_complete():
  assert sorted(GOLDEN) == nets_factory.list_nets()


@names
def test_parameter_count(name):
  channels, classes, expected = GOLDEN[name]
  trace(name, classes, channels=channels)
  assert sum(int(np.prod(v.shape)) for v in v1.trainable_variables()) == expected


@names
def test_logits_predictions_and_features(name):
  logits, end_points = trace(name, 10, is_training=True)
  assert logits.shape == [2, 10]
  assert end_points['Logits'] is logits
  assert end_points['Predictions'].shape == [2, 10]
  every = {v.op.name for v in v1.global_variables()}
  with tf.Graph().as_default():
    features, end_points = trace(name, None, is_training=True)
    assert features.shape.rank == 2
    assert 'Logits' not in end_points
    rest = {v.op.name for v in v1.global_variables()}
  head = tuple(f'{scope}/' for scope in nets_factory.NETS[name].head)
  assert every - rest == {key for key in every if key.startswith(head)} != set()


@pytest.mark.parametrize('name', ['alexnet_v2', 'cifarnet', 'mobilenet_v1_025', 'lenet'])
def test_no_classes_may_be_zero(name):
  assert trace(name, 0)[0].shape == [2, {'alexnet_v2': 4096, 'cifarnet': 192, 'lenet': 1024,
                                         'mobilenet_v1_025': 256}[name]]


@pytest.mark.parametrize('name', END_POINTS)
def test_end_points_have_slims_keys(name):
  _, end_points = trace(name)
  assert [key for key in END_POINTS[name] if key not in end_points] == []
  assert {'Logits', 'Predictions'} <= set(end_points)


def test_shapes_of_slims_alexnet():
  _, end_points = trace('alexnet_v2', 5)
  shapes = {key.removeprefix('alexnet_v2/'): tuple(value.shape[1:])
            for key, value in end_points.items()}
  assert shapes == {
    'conv1': (54, 54, 64), 'pool1': (26, 26, 64), 'conv2': (26, 26, 192), 'pool2': (12, 12, 192),
    'conv3': (12, 12, 384), 'conv4': (12, 12, 384), 'conv5': (12, 12, 256), 'pool5': (5, 5, 256),
    'fc6': (1, 1, 4096), 'fc7': (1, 1, 4096), 'global_pool': (1, 1, 4096), 'fc8': (5,),
    'Logits': (5,), 'Predictions': (5,)}


def test_resnet_has_its_stride_in_the_last_unit():
  _, end_points = trace('resnet_v1_50')
  assert [end_points[f'resnet_v1_50/block{i}'].shape[1] for i in (1, 2, 3, 4)] == [28, 14, 7, 7]
  assert end_points['resnet_v1_50/block1/unit_2/bottleneck_v1'].shape[1] == 56
  assert end_points['predictions'] is end_points['Predictions']
  assert end_points['resnet_v1_50/logits'].shape == [2, 1, 1, 10]


def test_depth_multiplier_has_a_least_depth():
  function = nets_factory.get_network_fn('mobilenet_v1', 10)
  _, end_points = function(tf.zeros([1, 32, 32, 3]), depth_multiplier=0.1)
  assert end_points['Conv2d_0'].shape[-1] == 8
  with pytest.raises(ValueError, match='depth_multiplier > 0'):
    function(tf.zeros([1, 32, 32, 3]), depth_multiplier=0)


@names
def test_one_channel(name):
  logits, _ = trace(name, channels=1)
  first = v1.trainable_variables()[0]
  assert logits.shape == [2, 10]
  assert first.shape[2] == 1


@pytest.mark.parametrize('name', OF_EACH_SIZE)
def test_larger_images_use_the_same_variables(name):
  trace(name)
  v1.get_variable_scope().reuse_variables()
  logits, _ = trace(name, size=nets_factory.get_net(name).image_size + 65)
  assert logits.shape == [2, 10]


@pytest.mark.parametrize(('name', 'smallest'), SMALLEST.items())
def test_smallest_image(name, smallest):
  logits, _ = trace(name, size=smallest)
  assert logits.shape == [2, 10]
  with tf.Graph().as_default(), pytest.raises(
      ValueError, match=f'at least {smallest}×{smallest} pixels. Received {smallest - 1}×'):
    trace(name, size=smallest - 1)


@pytest.mark.parametrize('name', ['resnet_v1_50', 'mobilenet_v1'])
def test_fully_convolutional_networks_take_any_image(name):
  assert trace(name, size=1)[0].shape == [2, 10]


def test_images_of_another_rank_are_refused():
  with pytest.raises(ValueError, match=r'expected images \[batch, height, width, channels\]'):
    nets_factory.get_network_fn('lenet', 10)(tf.zeros([28, 28, 1]))


@names
def test_gradients_reach_every_trainable_variable(name):
  logits, _ = trace(name, is_training=True)
  variables = v1.trainable_variables()
  gradients = tf.gradients(tf.reduce_sum(logits ** 2), variables)
  assert [v.op.name for v, g in zip(variables, gradients, strict=True) if g is None] == []


@names
def test_weight_decay_is_on_weights_only(name):
  trace(name, weight_decay=0.1)
  losses = v1.losses.get_regularization_losses()
  assert {loss.op.name.split('/Regularizer/')[0].split('/')[-1] for loss in losses} == {'weights'}


def test_no_weight_decay_no_losses():
  trace('lenet')
  assert v1.losses.get_regularization_losses() == []


@names
def test_record_is_whole(name):
  net = nets_factory.get_net(name)
  assert net.image_size == nets_factory.get_network_fn(name, 10).default_image_size >= 28
  assert net.classes in (None, 1000, 1001)
  assert net.preprocessing
  assert net.reference.startswith('http')


def test_unknown_name_suggests_the_closest():
  for function in (nets_factory.get_net, lambda name: nets_factory.get_network_fn(name, 10)):
    with pytest.raises(ValueError, match=r"Unknown network 'vgg16'. Did you mean vgg_16"):
      function('vgg16')


def test_list_nets_takes_wildcards():
  assert nets_factory.list_nets('vgg_1?') == ['vgg_16', 'vgg_19']
  assert nets_factory.list_nets('none_*') == []
