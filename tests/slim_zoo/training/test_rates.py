"""Multipliers of learning rates: which variables belong to a scope or layer."""

from __future__ import annotations

import functools
import math

import pytest

from nets import nets_factory, outline
from slim_zoo.training import rates


def test_parse():
  assert rates.parse('conv:0, fc6:0.1,net/fc8/:1e1,') == (('conv', 0), ('fc6', 0.1),
                                                         ('net/fc8', 10))
  assert rates.parse('') == rates.parse(None) == ()


@pytest.mark.parametrize('text', ['fc6', 'fc6:', ':1', 'fc6:fast', 'fc6:-1', 'fc6:nan', 'fc6:inf',
                                  'fc6=0.1'])
def test_invalid_multipliers(text):
  with pytest.raises(ValueError, match=f"--learning_rate_multipliers: .*Received: '{text}'"):
    rates.parse(f'conv1:0,{text},fc8:1')


@pytest.mark.parametrize(('name', 'scope', 'expected'), [
  ('vgg_16/conv1/conv1_1/weights', 'conv1', True),
  ('vgg_16/conv1/conv1_1/weights', 'vgg_16/conv1', True),
  ('vgg_16/conv1/conv1_1/weights', 'vgg_16', True),
  ('vgg_16/conv1/conv1_1/weights', 'vgg', False),  # No number right after it.
  ('vgg_16/conv1/conv1_1/weights', 'conv1_1', False),  # Only the network's scope is optional.
  ('vgg_16/conv1/conv1_1/weights', 'conv', True),
  ('vgg_16/conv1/conv1_1/weights', 'vgg_16/conv', True),
  ('vgg_16/conv1/conv1_1/weights', 'con', False),
  ('vgg_16/conv1/conv1_1/weights', 'conv1/*', True),
  ('squeezenet/conv10/weights', 'conv1', False),
  ('squeezenet/conv10/weights', 'conv', True),
  ('squeezenet/conv10/weights', 'conv?', False),
  ('MobilenetV2/Conv_1/weights', 'Conv', False),  # Conv is another layer there.
  ('MobilenetV2/Conv/weights', 'Conv', True),
  ('cell_1/1x1/weights', 'cell_1', True),
  ('cell_10/1x1/weights', 'cell_1', False),
  ('cell_10/1x1/weights', 'cell_*', True),
  ('head/fc1/weights', 'head', True),
  ('head/fc1/weights', 'fc', True),
  ('head/fc1/weights', 'head/fc1/weights', True),
  ('head/fc1/weights', 'head/fc1/weights/Momentum', False),
])
def test_scopes(name, scope, expected):
  assert rates.matches(name, scope) is expected


_NAMES = ['net/conv1/weights', 'net/conv2/weights', 'net/fc6/weights', 'net/fc6/biases',
          'net/fc8/weights']


def test_last_matching_entry_counts():
  entries = rates.parse('net:0.5,conv:0,fc6:0.1,fc6/biases:0.2,conv2:3')
  assert list(rates.multipliers(_NAMES, entries).values()) == [0, 3, 0.1, 0.2, 0.5]
  assert set(rates.multipliers(_NAMES, ()).values()) == {1}


def test_multiplier_of_0_freezes():
  is_frozen = rates.freezing(rates.parse('conv:0,fc:0.1'))
  assert [is_frozen(name) for name in _NAMES] == [True, True, False, False, False]
  assert is_frozen('net/conv1/BatchNorm/moving_mean')
  assert rates.freezing(rates.parse('conv:0.1')) is rates.freezing(()) is None


@pytest.mark.parametrize(('text', 'closest'), [
  ('fc6:1,fc9:0.1', 'fc8, fc6'), ('net/fc9:1', 'net/fc8'), ('Konv1:1', 'conv1'), ('xyz:0', 'net')])
def test_entry_without_a_match_is_an_error(text, closest):
  with pytest.raises(ValueError, match=f'--learning_rate_multipliers: .*{closest}'):
    rates.multipliers(_NAMES, rates.parse(text))


def _depths(name, layer):
  """Returns the depth of a layer, from its factors with a decay of 1/2."""
  factors = rates.multipliers(_variables(name), (), decay=0.5, head=nets_factory.get_net(name).head)
  return {-math.log2(factor) for variable, factor in factors.items()
          if variable.startswith(f'{layer}/')}


@functools.cache
def _variables(name):
  net = nets_factory.get_net(name)
  found = outline.trace(name, net.classes,
                        image_shape=[net.image_size, net.image_size, net.channels])
  return list(found.trainable)


@pytest.mark.parametrize(('name', 'expected'), [
  ('lenet', {'LeNet/conv1': 3, 'LeNet/conv2': 2, 'LeNet/fc3': 1, 'LeNet/fc4': 0}),
  ('vgg_16', {'vgg_16/conv1': 7, 'vgg_16/conv5': 3, 'vgg_16/fc6': 2, 'vgg_16/fc8': 0}),
  ('resnet_v2_50', {'resnet_v2_50/conv1': 5, 'resnet_v2_50/block1': 4, 'resnet_v2_50/block4': 1,
                    'resnet_v2_50/postnorm': 1, 'resnet_v2_50/logits': 0}),
  ('mobilenet_v1_025', {'MobilenetV1/Conv2d_0': 27, 'MobilenetV1/Conv2d_3_depthwise': 22,
                        'MobilenetV1/Conv2d_13_pointwise': 1, 'MobilenetV1/Logits': 0}),
  # Without a scope of its own: the first components are its layers.
  ('nasnet_mobile', {'conv0': 17, 'conv0_bn': 17, 'cell_stem_0': 16, 'cell_0': 14, 'cell_11': 1,
                     'final_layer': 0}),
])
def test_layer_decay(name, expected):
  for layer, depth in expected.items():
    assert _depths(name, layer) == {depth}, layer


def test_all_heads_are_the_top_layer():
  names = ['Net/Conv/weights', 'Net/Mixed/weights', 'Net/AuxLogits/weights', 'Net/Last/weights',
           'Net/Logits/weights']
  factors = rates.layer_decay(names, 0.1, head=['Net/Logits', 'Net/AuxLogits'])
  assert list(factors.values()) == pytest.approx([0.001, 0.01, 1, 0.1, 1])
  own = rates.layer_decay([*names[:2], 'head/fc1/weights', 'head/fc2/weights'], 0.1, head=['head'])
  assert list(own.values()) == pytest.approx([0.01, 0.1, 1, 1])
  cells = rates.layer_decay(['conv0/weights', 'conv0_bn/beta', 'cell_0/weights', 'aux_1/weights',
                             'cell_1/weights', 'final_layer/weights'], 0.1,
                            head=['final_layer', 'aux_*'])
  assert list(cells.values()) == pytest.approx([0.001, 0.001, 0.01, 1, 0.1, 1])


def test_multipliers_and_layer_decay_are_multiplied():
  factors = rates.multipliers(_NAMES, rates.parse('fc:0.5,conv1:0'), decay=0.1, head=['net/fc8'])
  assert list(factors.values()) == pytest.approx([0, 0.01, 0.05, 0.05, 0.5])


@pytest.mark.parametrize('decay', [0, -0.5, 1.1])
def test_invalid_layer_decay(decay):
  with pytest.raises(ValueError, match='--layer_decay: '):
    rates.layer_decay(_NAMES, decay, head=())
