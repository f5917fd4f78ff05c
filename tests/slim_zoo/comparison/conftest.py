"""Photos that are easy to tell apart, and weights of small networks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from nets import nets_factory
from slim_zoo.training import checkpoints


@pytest.fixture(scope='session')
def photos(tmp_path_factory):
  """A folder of 12 noisy images of each of three brightnesses."""
  folder, random = tmp_path_factory.mktemp('photos'), np.random.default_rng(0)
  for name, brightness in (('dark', 90), ('grey', 120), ('light', 150)):
    (folder / name).mkdir()
    for number in range(12):
      pixels = brightness + random.integers(-40, 40) + random.integers(-50, 50, [20, 20, 3])
      (folder / name / f'{number}.png').write_bytes(
          tf.io.encode_png(pixels.clip(0, 255).astype(np.uint8)).numpy())
  return folder


@pytest.fixture(scope='session')
def save(tmp_path_factory):
  """Saves a network with random weights; `save(name, seed=…, metadata=…)` returns its prefix."""

  def saved(name, *, seed=0, size=32, metadata=None, without=()):
    network = nets_factory.build_network(name, num_classes=12, image_shape=[size, size, 3],
                                         seed=seed)
    values = {key: variable.read_value() for key, variable in network.variables.items()
              if not key.startswith(tuple(without))}
    return checkpoints.save(tmp_path_factory.mktemp(name), 0, values, max_to_keep=1,
                            metadata={'model_name': name} if metadata is None else metadata)

  return saved


@pytest.fixture(scope='session')
def lenet(save):
  """A checkpoint that tells its network."""
  return save('lenet', size=28)


@pytest.fixture(scope='session')
def cifarnet(save):
  """A checkpoint that does not tell its network."""
  return save('cifarnet', metadata={})
