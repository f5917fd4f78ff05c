"""Every network has an oracle, that is, an independent implementation."""

from __future__ import annotations

from nets import nets_factory
from scripts.oracles import fixtures

# Compared with keras.applications and a NumPy forward pass directly, in tests/nets.
DIRECTLY = {'alexnet', 'caffenet', 'resnet50_keras', 'resnet101_keras', 'resnet152_keras'}


def test_every_network_has_an_oracle():
  covered = {*fixtures.names('slim'), *fixtures.names('torch')}
  assert covered | DIRECTLY == {*nets_factory.NETS}
  assert covered & DIRECTLY == set()


def test_every_fixture_has_two_sizes_one_of_them_odd():
  for oracle in ('slim', 'torch'):
    for name in fixtures.names(oracle):
      sizes = [case['size'] for case in fixtures.read(oracle, name)['inference']]
      assert len(sizes) == 2 and sum(size % 2 for size in sizes) == 1, name
