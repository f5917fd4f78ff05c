"""Networks with random weights, to be exported."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from nets import nets_factory
from preprocessing import preprocessing_factory
from scripts.oracles import values
from slim_zoo.export.model import Model

CLASSES = 10


def sizes(name: str) -> tuple[int, int]:
  """Returns an odd and an even image size, small ones if the network takes them."""
  if name.startswith(('alexnet', 'vgg')):
    return 225, 250
  return (107, 130) if name.startswith('inception') else (97, 64)


def model(name: str, image_size: int, *, num_classes: int = CLASSES, channels: int = 3,
          activation: Callable[..., tf.Tensor] = tf.nn.softmax, head: str | None = None) -> Model:
  """Makes a network with random weights and moving averages.

  Args:
    name: a name of `NETS`.
    image_size: height and width.
    num_classes, channels, activation: see `Model`.
    head: a custom head; see `custom_head.parse`.
  """
  network = nets_factory.build_network(name, image_shape=[image_size, image_size, channels],
                                       num_classes=num_classes, is_restored=True, head=head)
  for key, variable in network.variables.items():
    variable.assign(values.variable(key, variable.shape, {}))
  preprocessing = nets_factory.get_net(name).preprocessing
  transform = preprocessing_factory.PREPROCESSING[preprocessing].transform
  return Model(network, image_size, channels, preprocessing, transform, activation,
               class_names=[f'class {i}' for i in range(num_classes)], name=name)
