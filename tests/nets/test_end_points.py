"""Networks up to an end point, and custom heads: their variables and results."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import custom_head, cut, end_points, extractors, layers, nets_factory

_KEYS = tf.constant([[1, 2], [3, 4]], tf.int64)
# A network of each kind of classifier, its image size, and an end point in its middle.
_NETS = [
  ('lenet', 28, 'pool2'),
  ('cifarnet', 32, 'pool2'),
  ('mobilenet_v1_025', 64, 'Conv2d_5_pointwise'),
  ('squeezenet_1_1', 64, 'squeezenet_1_1/fire5'),
  pytest.param('inception_v3', 107, 'Mixed_5d', marks=pytest.mark.thorough),
  pytest.param('resnet_v1_18', 64, 'resnet_v1_18/block2', marks=pytest.mark.slow),
  pytest.param('nasnet_cifar', 32, 'Cell_3', marks=pytest.mark.thorough),
]
# Networks of each kind of classifier, with end points that exist only with it.
_WITH_A_CLASSIFIER = ('lenet', 'alexnet_v2', 'mobilenet_v1_025', 'squeezenet_1_1')


def _images(name, size):
  channels = nets_factory.get_net(name).channels
  return tf.constant(np.random.default_rng(0).normal(size=[2, size, size, channels]), tf.float32)


@pytest.mark.parametrize('name, size, middle', _NETS)
def test_extractor_has_only_the_variables_its_end_point_needs(name, size, middle):
  images = _images(name, size)
  whole = nets_factory.build_network(name, image_shape=images.shape[1:], num_classes=5)
  _, ends = whole(images, is_training=False)
  part = extractors.build_extractor(nets_factory.get_net(name), middle,
                                    image_shape=images.shape[1:])
  assert 0 < len(part.variables) < len(whole.variables)
  for variable, values in part.variables.items():
    values.assign(whole.variables[variable])
  found, others = part(images, is_training=False)
  np.testing.assert_allclose(found, ends[middle], rtol=1e-5, atol=1e-5)
  assert others == {}


@pytest.mark.parametrize('name, size, middle', _NETS)
def test_head_replaces_the_classifier(name, size, middle):
  images = _images(name, size)
  network = nets_factory.build_network(
    name, head='pool,fc:6,dropout:0.5,fc', head_from=middle, image_shape=images.shape[1:],
    num_classes=5, weight_decay=0.1, trainable_scopes=('head',), is_training=True)
  assert network.trainable == [f'head/fc{n}/{kind}' for n in (1, 2)
                               for kind in ('weights', 'biases')]
  part = extractors.build_extractor(nets_factory.get_net(name), middle,
                                    image_shape=images.shape[1:])
  assert {n for n in network.variables if not n.startswith('head/')} == set(part.variables)
  logits, _ = network(images, is_training=False)
  for variable, values in part.variables.items():
    values.assign(network.variables[variable])
  features = part(images, is_training=False)[0].numpy().mean((1, 2))
  weights = [network.variables[name].numpy() for name in network.trainable]
  hidden = np.maximum(features @ weights[0] + weights[1], 0)
  np.testing.assert_allclose(logits, hidden @ weights[2] + weights[3], rtol=1e-4, atol=1e-5)
  _, head, boundary = cut.cut(network, images.shape[1:])
  # The extractor has no random layers after the end point; NASNet's drop path is before it.
  if name != 'nasnet_cifar':
    assert [tensor.shape for tensor in boundary] == [(features.shape[1],)]
  assert head.trainable == network.trainable


def test_head_has_weight_decay_and_dropout():
  images = _images('lenet', 28)
  network = nets_factory.build_network('lenet', head='dropout:0.9,fc', image_shape=[28, 28, 1],
                                       num_classes=5, weight_decay=0.1, is_training=True)
  decayed = [v for n, v in network.variables.items() if n.endswith('weights')]
  np.testing.assert_allclose(network.regularization_loss(),
                             sum(0.05 * np.sum(np.square(v)) for v in decayed), rtol=1e-5)
  logits = [network(images, is_training=is_training, keys=_KEYS)[0] for is_training in (0, 1)]
  assert np.abs(logits[0] - logits[1]).max() > 1e-3


@pytest.mark.parametrize('wanted, found', [
  ('', 'vgg_16/fc6'), ('relu6', 'vgg_16/fc6'), ('fc7', 'vgg_16/fc7'), ('pool5', 'vgg_16/pool5'),
  ('relu5_3', 'vgg_16/conv5/conv5_3'), ('vgg_16/pool1', 'vgg_16/pool1'), ('features', 'features')])
def test_end_points_are_found_by_name(wanted, found):
  assert extractors.find_end_point(nets_factory.get_net('vgg_16'), wanted) == found


@pytest.mark.parametrize('name, codes', [
  ('alexnet', 'alexnet/fc7'), ('alexnet_v2', 'alexnet_v2/fc7'), ('inception_v3', 'features'),
  ('resnet_v1_50', 'features')])
def test_shapes_of_classic_features(name, codes):
  assert extractors.find_end_point(nets_factory.get_net(name), '') == codes


@pytest.mark.parametrize('name', [
  pytest.param(name, marks=() if name in _WITH_A_CLASSIFIER else pytest.mark.thorough)
  for name in sorted(nets_factory.NETS)])
def test_head_can_start_at_any_extractable_end_point(name):
  net = nets_factory.get_net(name)
  found = extractors.list_end_points(net, num_classes=net.classes)
  assert {'features', 'Logits', 'Predictions'} <= set(found)
  for end_point in found:
    whole = nets_factory.get_net(name, head='fc', head_from=end_point)
    if end_point not in extractors.list_end_points(net):
      with layers.arg_scope(whole.arg_scope()):
        ends = end_points.shapes(whole.function, 3, [net.image_size, net.image_size, net.channels])
      assert ends['Logits'] == (3,)


@pytest.mark.parametrize(('wanted', 'found'), [
  (None, 'features'), ('', 'features'), ('pool5', 'vgg_16/pool5'), ('relu6', 'vgg_16/fc6'),
  ('fc8', 'vgg_16/fc8'), ('vgg_16/fc8', 'vgg_16/fc8')])
def test_start_of_a_head(wanted, found):
  assert nets_factory.find_head_from('vgg_16', wanted) == found


def test_unknown_end_point_error_lists_known_ones():
  with pytest.raises(ValueError, match="pool1.*features.*'fc9'"):
    nets_factory.get_net('lenet', head='fc', head_from='fc9')
  with pytest.raises(ValueError, match='--head_from=pool2.*--head'):
    nets_factory.get_net('lenet', head_from='pool2')


@pytest.mark.parametrize('text', ['', 'fc:5', 'pool', 'fc:0,fc', 'fc:x,fc', 'dropout:1,fc',
                                  'dropout,fc', 'pool:2,fc', 'conv:3,fc', 'fc,fc'])
def test_invalid_heads_are_rejected(text):
  with pytest.raises(ValueError, match='--head'):
    custom_head.parse(text)


_FUNCTION = """
import tensorflow as tf
from nets import layers

def head(net, num_classes, is_training):
  net = layers.conv2d(net, 4, 1, scope='reduce')
  return layers.fully_connected(layers.flatten(net), num_classes, activation_fn=None, scope='fc')

def wrong(net, num_classes, is_training):
  return net

def few(net):
  return net

number = 3
"""


def test_python_function_as_head(tmp_path):
  (tmp_path / 'mine.py').write_text(_FUNCTION)
  network = nets_factory.build_network('lenet', head=f'{tmp_path}/mine.py:head', head_from='pool2',
                                       image_shape=[28, 28, 1], num_classes=5)
  assert {n: v.shape[-1] for n, v in network.variables.items() if n.startswith('head')} == {
    'head/reduce/weights': 4, 'head/reduce/biases': 4, 'head/fc/weights': 5, 'head/fc/biases': 5}
  assert custom_head.label(f'{tmp_path}/mine.py:head') == 'mine.py:head'


@pytest.mark.parametrize('function, message', [
  ('wrong', r'\[1, 5\]'), ('few', 'features, num_classes, is_training'),
  ('number', "'number'.* 3"), ('none', "'none'.*mine.py")])
def test_invalid_head_functions_are_rejected(tmp_path, function, message):
  (tmp_path / 'mine.py').write_text(_FUNCTION)
  with pytest.raises(ValueError, match=message):
    nets_factory.build_network('lenet', head=f'{tmp_path}/mine.py:{function}', head_from='pool2',
                               image_shape=[28, 28, 1], num_classes=5)


def test_head_file_that_fails_to_import(tmp_path):
  (tmp_path / 'mine.py').write_text('import nothing_of_this_name')
  with pytest.raises(ValueError, match='mine.py.*ModuleNotFoundError'):
    custom_head.parse(f'{tmp_path}/mine.py:head')
  with pytest.raises(FileNotFoundError, match='other.py'):
    custom_head.parse(f'{tmp_path}/other.py:head')
