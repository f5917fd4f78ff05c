"""Sizes of networks compared with published ones."""

from __future__ import annotations

import pytest
import tensorflow as tf

from nets import catalogue, complexity, nets_factory, outline

# Millions of multiply-adds, with 1,001 classes as in the sources: a difference of less than two
# million. Sources: research/slim's nets/mobilenet/README.md and nets/nasnet/README.md, MobileNet
# V1's paper, table 6 (1.0 and 0.75) and its README. That README has 66 and 65 million for the two
# small MobileNets V3, and 2.9 million parameters; the network with TF-Slim's names and shapes and
# Keras' number of parameters has 57 and 52, and 2.54.
PUBLISHED = {
  'mobilenet_v1': 569, 'mobilenet_v1_075': 325, 'mobilenet_v1_050': 149, 'mobilenet_v1_025': 41,
  'mobilenet_v2': 300, 'mobilenet_v2_035': 59, 'mobilenet_v2_050': 97, 'mobilenet_v2_140': 582,
  'mobilenet_v3_large': 217, 'mobilenet_v3_large_minimalistic': 209, 'nasnet_mobile': 564,
}


@pytest.mark.parametrize(('name', 'millions'), PUBLISHED.items())
def test_multiply_adds(name, millions):
  assert complexity.measure(name).multiply_adds / 1e6 == pytest.approx(millions, abs=2)


def test_multiply_adds_of_each_kind_of_layer():
  # lenet: 32 of 5×5×1 at 28×28, 64 of 5×5×32 at 14×14, 3136 to 1024, 1024 to 10.
  expected = 28 * 28 * 32 * 25 + 14 * 14 * 64 * 25 * 32 + 3136 * 1024 + 1024 * 10
  assert complexity.measure('lenet').multiply_adds == expected
  # alexnet's grouped convolutions see half of the channels before them.
  groups = complexity.measure('alexnet').multiply_adds
  assert groups == (55**2 * 96 * 363 + 27**2 * 256 * 25 * 48 + 13**2 * 384 * 9 * 256
                    + 13**2 * 384 * 9 * 192 + 13**2 * 256 * 9 * 192
                    + 9216 * 4096 + 4096 * 4096 + 4096 * 1000)


@pytest.mark.parametrize('name', ['lenet', 'mobilenet_v1_025', 'inception_v1'])
def test_outline_has_all_variables_of_the_network(name):
  net = nets_factory.get_net(name)
  shape = [net.image_size, net.image_size, net.channels]
  network = nets_factory.build_network(name, image_shape=shape, num_classes=7)
  found = outline.trace(name, 7, image_shape=shape)
  assert [*found.trainable] == network.trainable
  assert {key: tuple(v.shape) for key, v in network.variables.items()} == {
    **found.trainable, **found.others}
  assert tf.compat.v1.global_variables() == []


def test_row_has_one_cell_per_header():
  row = dict(zip(catalogue.HEADERS, catalogue.row('mobilenet_v1_025'), strict=True))
  assert len(catalogue.ALIGNMENT) == len(catalogue.HEADERS)
  assert row == {
    'name': 'mobilenet_v1_025', 'parameters': '470,072', 'multiply-adds (million)': '41',
    'image size': '224', 'preprocessing': 'inception', 'head': 'MobilenetV1/Logits',
    'published weights': 'mobilenet_v1_0.25_128 (measured at 128)', 'classes': '1001',
    'top-1': '41.5', 'top-5': '66.3', 'reference': 'https://arxiv.org/abs/1704.04861'}
  assert dict(zip(catalogue.HEADERS, catalogue.row('lenet'), strict=True))[
    'published weights'] == '–'
