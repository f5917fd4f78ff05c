"""The table of networks: all facts about every network, from traces without computation."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import tensorflow as tf

from nets import alexnet, lenet, nasnet, nets_factory, outline, scopes

v1 = tf.compat.v1

# Trainable parameters: name: (channels, classes, count).
GOLDEN = {
  'alexnet': (3, 1000, 60_965_224),  # Shapes of bvlc_alexnet's published arrays.
  'caffenet': (3, 1000, 60_965_224),  # The same shapes.
  'alexnet_torchvision': (3, 1000, 61_100_840),  # torchvision's alexnet.
  'alexnet_v2': (3, 1000, 50_303_912),  # tf_slim.nets.
  'cifarnet': (3, 10, 1_756_426),  # 4,864 + 102,464 + 1,573,248 + 73,920 + 1,930.
  'efficientnet_lite0': (3, 1000, 4_652_008),  # timm, this and the next four.
  'efficientnet_lite1': (3, 1000, 5_416_680),
  'efficientnet_lite2': (3, 1000, 6_092_072),
  'efficientnet_lite3': (3, 1000, 8_197_096),
  'efficientnet_lite4': (3, 1000, 13_006_568),
  'inception_resnet_v2': (3, 1000, 55_813_192),  # keras.applications.
  'inception_v1': (3, 1000, 6_617_624),  # TF-Slim's own, this and the next.
  'inception_v2': (3, 1000, 11_178_336),
  'inception_v3': (3, 1000, 23_817_352),  # keras.applications.
  'inception_v4': (3, 1000, 42_648_232),  # TF-Slim's own.
  'lenet': (1, 10, 3_274_634),  # TensorFlow's first MNIST tutorial, the same layers.
  'mobilenet_edgetpu': (3, 1000, 4_091_432),  # TF-Slim's own, this and the next.
  'mobilenet_edgetpu_075': (3, 1000, 2_988_160),
  'mobilenet_v1': (3, 1000, 4_231_976),  # keras.applications.MobileNet, this and the next three.
  'mobilenet_v1_075': (3, 1000, 2_585_560),
  'mobilenet_v1_050': (3, 1000, 1_331_592),
  'mobilenet_v1_025': (3, 1000, 470_072),
  'mobilenet_v2': (3, 1000, 3_504_872),  # keras.applications, this and the next seven.
  'mobilenet_v2_035': (3, 1000, 1_677_128),
  'mobilenet_v2_050': (3, 1000, 1_968_680),
  'mobilenet_v2_140': (3, 1000, 6_108_776),
  'mobilenet_v3_large': (3, 1000, 5_483_032),
  'mobilenet_v3_large_minimalistic': (3, 1000, 3_924_288),
  'mobilenet_v3_small': (3, 1000, 2_542_856),
  'mobilenet_v3_small_minimalistic': (3, 1000, 2_044_736),
  'nasnet_cifar': (3, 10, 3_346_538),  # TF-Slim's own.
  'nasnet_large': (3, 1000, 88_753_150),  # keras.applications, this and the next.
  'nasnet_mobile': (3, 1000, 5_289_978),
  'overfeat': (3, 1000, 145_704_424),  # tf_slim.nets.
  'pnasnet_large': (3, 1000, 86_057_668),  # timm's pnasnet5large.
  'pnasnet_mobile': (3, 1000, 5_064_487),  # TF-Slim's own.
  'resnet50_keras': (3, 1000, 25_583_592),  # keras.applications, this and the next two.
  'resnet101_keras': (3, 1000, 44_601_832),
  'resnet152_keras': (3, 1000, 60_268_520),
  'resnet50_torchvision': (3, 1000, 25_557_032),  # torchvision's, this and the next four.
  'resnet101_torchvision': (3, 1000, 44_549_160),
  'resnet152_torchvision': (3, 1000, 60_192_808),
  'resnet_v1_18': (3, 1000, 11_689_512),
  'resnet_v1_34': (3, 1000, 21_797_672),
  'resnet_v1_50': (3, 1000, 25_557_032),  # tf_slim.nets; torchvision's resnet50.
  'resnet_v1_101': (3, 1000, 44_549_160),  # tf_slim.nets, this and the next two.
  'resnet_v1_152': (3, 1000, 60_192_808),
  'resnet_v1_200': (3, 1000, 64_673_832),
  'resnet_v2_50': (3, 1000, 25_568_360),  # keras.applications.ResNet50V2, this and the next two.
  'resnet_v2_101': (3, 1000, 44_577_896),
  'resnet_v2_152': (3, 1000, 60_236_904),
  'resnet_v2_200': (3, 1001, 64_728_169),  # tf_slim.nets.
  'squeezenet': (3, 1000, 1_248_424),  # torchvision's squeezenet1_0 and squeezenet1_1.
  'squeezenet_1_1': (3, 1000, 1_235_496),
  'vgg_a': (3, 1000, 132_863_336),  # The VGGs: tf_slim.nets; torchvision.
  'vgg_16': (3, 1000, 138_357_544),
  'vgg_19': (3, 1000, 143_667_240),
}

# Smallest image size; the others accept any.
SMALLEST = {
  'alexnet': 227, 'alexnet_torchvision': 223, 'alexnet_v2': 195, 'caffenet': 227,
  'cifarnet': 4,
  'inception_resnet_v2': 75, 'inception_v3': 75, 'inception_v4': 75, 'lenet': 4, 'nasnet_large': 3,
  'nasnet_mobile': 3, 'overfeat': 231, 'pnasnet_large': 3, 'pnasnet_mobile': 3, 'squeezenet': 21,
  'squeezenet_1_1': 17, 'vgg_16': 224, 'vgg_19': 224, 'vgg_a': 224}
# Networks whose fully connected layers fix the image size.
FLATTENED = ('cifarnet', 'lenet')
# Variables with weight decay, besides `weights`.
DECAYED = {'efficientnet': {'biases', 'depthwise_weights'}, 'inception_resnet_v2': {'biases'},
           'inception_v2': set(), 'nasnet': {'depthwise_weights', 'pointwise_weights'},
           'pnasnet': {'depthwise_weights', 'pointwise_weights'}}
# One network per family and layout; the others differ in widths or numbers of layers.
OF_FAMILIES = (
  'alexnet', 'alexnet_torchvision', 'alexnet_v2', 'cifarnet', 'efficientnet_lite0',
  'inception_resnet_v2', 'inception_v1', 'inception_v2', 'inception_v3', 'inception_v4', 'lenet',
  'mobilenet_edgetpu_075', 'mobilenet_v1_025', 'mobilenet_v2_035', 'mobilenet_v3_small',
  'nasnet_cifar', 'nasnet_mobile', 'overfeat', 'pnasnet_mobile', 'resnet50_keras',
  'resnet50_torchvision', 'resnet_v1_18', 'resnet_v1_50', 'resnet_v2_50', 'squeezenet', 'vgg_a')
# Gradients of most families are compared in test_slim_oracle.py and test_torch_oracle.py.
WITH_GRADIENTS = ('alexnet_torchvision', 'lenet', 'mobilenet_v3_small', 'resnet50_keras')


def only(chosen, known=None):
  """Parametrizes a test by the networks; all but the chosen ones run with --thorough."""
  return pytest.mark.parametrize('name', [
    name if name in chosen else pytest.param(name, marks=pytest.mark.thorough)
    for name in known or nets_factory.list_nets()])


names = pytest.mark.parametrize('name', nets_factory.list_nets())


def found(name, num_classes=10, *, size=None, channels=3):
  size = size or nets_factory.get_net(name).image_size
  return outline.trace(name, num_classes, image_shape=[size, size, channels])


def test_golden_counts_are_complete():
  assert sorted(GOLDEN) == nets_factory.list_nets()


@names
def test_parameter_count_logits_and_predictions(name):
  channels, classes, expected = GOLDEN[name]
  whole = found(name, classes, channels=channels)
  assert sum(int(np.prod(shape)) for shape in whole.trainable.values()) == expected
  assert whole.output.shape == [1, classes]
  assert whole.end_points['Logits'] is whole.output
  assert whole.end_points['Predictions'].shape == [1, classes]
  assert 'AuxLogits' not in whole.end_points
  assert {'global_pool', 'PreLogits'} & {*whole.end_points}


@only(OF_FAMILIES)
def test_features_use_all_variables_except_the_head(name):
  whole, features = found(name), found(name, None)
  assert features.output.shape.rank == 2
  assert 'Logits' not in features.end_points
  head = {*whole.trainable, *whole.others} - {*features.trainable, *features.others}
  scope = nets_factory.get_net(name).head
  assert head == {key for key in whole.trainable if scopes.matches_any(key, scope)} != set()


@pytest.mark.parametrize('name', ['alexnet_v2', 'cifarnet', 'mobilenet_v1_025', 'lenet'])
def test_zero_classes_equal_none(name):
  assert found(name, 0).output.shape == [1, {'alexnet_v2': 4096, 'cifarnet': 192, 'lenet': 1024,
                                             'mobilenet_v1_025': 256}[name]]


def test_shapes_of_slims_alexnet():
  shapes = {key.removeprefix('alexnet_v2/'): tuple(value.shape[1:])
            for key, value in found('alexnet_v2', 5).end_points.items()}
  assert shapes == {
    'conv1': (54, 54, 64), 'pool1': (26, 26, 64), 'conv2': (26, 26, 192), 'pool2': (12, 12, 192),
    'conv3': (12, 12, 384), 'conv4': (12, 12, 384), 'conv5': (12, 12, 256), 'pool5': (5, 5, 256),
    'fc6': (1, 1, 4096), 'fc7': (1, 1, 4096), 'global_pool': (1, 1, 4096), 'fc8': (5,),
    'Logits': (5,), 'Predictions': (5,)}


def test_resnet_has_its_stride_in_the_last_unit():
  end_points = found('resnet_v1_50').end_points
  assert [end_points[f'resnet_v1_50/block{i}'].shape[1] for i in (1, 2, 3, 4)] == [28, 14, 7, 7]
  assert end_points['resnet_v1_50/block1/unit_2/bottleneck_v1'].shape[1] == 56
  assert end_points['predictions'] is end_points['Predictions']
  assert end_points['resnet_v1_50/logits'].shape == [1, 1, 1, 10]


def test_depth_multiplier_has_a_minimum_depth():
  function = nets_factory.get_network_fn('mobilenet_v1', 10)
  with tf.Graph().as_default():
    _, end_points = function(tf.zeros([1, 32, 32, 3]), depth_multiplier=0.1)
    assert end_points['Conv2d_0'].shape[-1] == 8
    with pytest.raises(ValueError, match='depth_multiplier'):
      function(tf.zeros([1, 32, 32, 3]), depth_multiplier=0)


@only(('alexnet_v2', 'inception_v2', 'mobilenet_v1_025', 'pnasnet_mobile', 'resnet_v1_18'))
def test_one_channel(name):
  ours = found(name, channels=1)
  assert ours.output.shape == [1, 10]
  assert next(iter(ours.trainable.values()))[2] == 1


# One for each way in which the last maps are pooled.
@only(('alexnet_v2', 'efficientnet_lite0', 'inception_v3', 'mobilenet_v3_small', 'nasnet_mobile',
       'resnet_v1_50', 'squeezenet', 'vgg_a'),
      known=[n for n in nets_factory.list_nets() if n not in FLATTENED])
def test_larger_images_use_the_same_variables(name):
  own, larger = found(name), found(name, size=nets_factory.get_net(name).image_size + 65)
  assert larger.output.shape == [1, 10]
  assert (larger.trainable, larger.others) == (own.trainable, own.others)


@only(OF_FAMILIES)
def test_smallest_image(name):
  smallest = SMALLEST.get(name, 1)
  assert found(name, size=smallest).output.shape == [1, 10]
  if smallest > 1:
    with pytest.raises(
        ValueError, match=rf'{smallest}×{smallest}.*{smallest - 1}×{smallest - 1}'):
      found(name, size=smallest - 1)


def test_images_of_wrong_rank_are_rejected():
  with tf.Graph().as_default(), pytest.raises(ValueError, match=r'LeNet.*\(28, 28, 1\)'):
    nets_factory.get_network_fn('lenet', 10)(tf.zeros([28, 28, 1]))


@only(OF_FAMILIES)
def test_heads_and_weight_decay_in_training(name, trace_training):
  found = trace_training(name)
  outputs = [found.logits, *([found.end_points['AuxLogits']] if 'AuxLogits' in found.end_points
                             else [])]
  assert [output.shape for output in outputs] == [[2, 10]] * len(outputs)
  wide = {key for key, shape in found.trainable.items() if shape[-1] == 10}
  head = nets_factory.get_net(name).head
  assert [key for key in wide if not scopes.matches_any(key, head)] == []
  assert len(wide) == 2 * len(outputs)
  others = [kinds for prefix, kinds in DECAYED.items() if name.startswith(prefix)]
  assert {key.rpartition('/')[2] for key in found.decayed} == {
    'weights', *(others[0] if others else ())}


@only(WITH_GRADIENTS)
def test_every_variable_has_a_gradient(name):
  with tf.Graph().as_default():
    function = nets_factory.get_network_fn(name, 10, weight_decay=0.1, is_training=True)
    size = function.default_image_size
    logits, end_points = function(v1.placeholder(tf.float32, [2, size, size, 3]),
                                  keys=v1.placeholder(tf.int64, [2, 2]), step=tf.constant(0))
    outputs = [logits, *([end_points['AuxLogits']] if 'AuxLogits' in end_points else [])]
    variables = v1.trainable_variables()
    gradients = tf.gradients([tf.reduce_sum(output ** 2) for output in outputs], variables)
    assert len(variables) > 0
    assert [v.op.name for v, g in zip(variables, gradients, strict=True) if g is None] == []


def test_no_regularization_losses_without_weight_decay():
  with tf.Graph().as_default():
    nets_factory.get_network_fn('lenet', 10)(tf.zeros([1, 28, 28, 1]))
    assert v1.losses.get_regularization_losses() == []


@names
def test_record_is_complete(name):
  net = nets_factory.get_net(name)
  assert net.image_size == nets_factory.get_network_fn(name, 10).default_image_size >= 28
  assert (net.channels, net.classes) in ((3, 1000), (3, 10), (1, 10))
  assert net.preprocessing
  assert net.reference.startswith('http')
  if net.published:
    assert net.published.classes in (1000, 1001)
    assert None in (net.published.top_1, net.published.top_5) or \
        50 > net.published.top_5 - net.published.top_1 > 0


def test_unknown_name_suggests_the_closest():
  for function in (nets_factory.get_net, lambda name: nets_factory.get_network_fn(name, 10)):
    with pytest.raises(ValueError, match=r"'vgg16'.* vgg_16"):
      function('vgg16')


@pytest.mark.parametrize('name', [
  name for name in nets_factory.list_nets() if not name.startswith('mobilenet')])
def test_is_training_is_the_third_argument_as_in_slim(name):
  """TF-Slim's MobileNets have other arguments there, so ours accept it only by keyword."""
  third = [*inspect.signature(nets_factory.get_net(name).function).parameters.values()][2]
  assert (third.name, third.kind) == ('is_training', third.POSITIONAL_OR_KEYWORD)


@pytest.mark.parametrize(('function', 'size'), [
  (lenet.lenet, 28), (alexnet.alexnet_v2, 224),
  pytest.param(nasnet.nasnet_mobile, 32, marks=pytest.mark.thorough)])
def test_networks_accept_slims_arguments(function, size):
  with tf.Graph().as_default():
    logits, _ = function(tf.zeros([2, size, size, 3]), 10, False)
    assert logits.shape == [2, 10]
  # In training, dropout needs the keys of the examples, which `get_network_fn` passes on.
  with tf.Graph().as_default(), pytest.raises(ValueError, match='keys'):
    function(tf.zeros([2, size, size, 3]), 10, True)


def test_factory_accepts_slims_arguments():
  with tf.Graph().as_default():
    function = nets_factory.get_network_fn('lenet', 10, 0.1, True)
    logits, _ = function(tf.zeros([2, 28, 28, 1]), keys=tf.zeros([2, 2], tf.int64))
    assert logits.shape == [2, 10]
    assert len(v1.losses.get_regularization_losses()) == 4
    with pytest.raises(ValueError, match='keys'):  # There is dropout, since it is in training.
      function(tf.zeros([2, 28, 28, 1]), scope='other')


def test_list_nets_accepts_wildcards():
  assert nets_factory.list_nets('vgg_1?') == ['vgg_16', 'vgg_19']
  assert nets_factory.list_nets('none_*') == []
