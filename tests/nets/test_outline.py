"""Outlines of networks up to an end point, compared with extractors that have variables."""

from __future__ import annotations

import pytest

from nets import complexity, extractors, nets_factory, outline


@pytest.mark.parametrize(('name', 'end_point', 'size'), [
  ('lenet', 'features', 28), ('lenet', 'pool2', 28), ('cifarnet', 'Predictions', 32)])
def test_outline_up_to_an_end_point(name, end_point, size):
  net = nets_factory.get_net(name)
  found = outline.trace_up_to(net, end_point, num_classes=4, image_shape=[size, size, 3])
  network = extractors.build_extractor(net, end_point, num_classes=4, image_shape=[size, size, 3])
  assert {**found.trainable, **found.others} == {
    name: tuple(variable.shape) for name, variable in network.variables.items()}


def test_operations_end_at_the_end_point():
  net = nets_factory.get_net('lenet')
  counts = [sum(map(complexity.multiply_adds, outline.trace_up_to(
      net, end_point, num_classes=4, image_shape=[28, 28, 1]).operations()))
      for end_point in ('conv1', 'pool1', 'conv2')]
  assert counts == [28 * 28 * 25 * 32, 28 * 28 * 25 * 32,
                    28 * 28 * 25 * 32 + 14 * 14 * 25 * 32 * 64]
