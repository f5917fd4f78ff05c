"""What files of Keras 1 and 2 name or lay out otherwise than those of Keras 3.

Sources: the releases of https://github.com/fchollet/deep-learning-models and the code of
`keras.applications` of those years.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from slim_zoo.weights.dialects.dialect import Shapes
from slim_zoo.weights.layouts import Take

# Keras' first ResNet50: a convolution, and the batch norm after it.
_RESNET50 = re.compile(r'(res|bn)([2-5])([a-f])_branch(1|2[abc])')
_RESNET50_FIRST = {'conv1': 'conv1_conv', 'bn_conv1': 'conv1_bn'}
RESNET50_NOTE = (
  'These are the names of the first ResNet50 of Keras. In early versions its first pooling did not '
  'pad its input; this network pads it, as later versions did with the same weights.')
# Its batch norms add 0.001 to the variance, those of the later one 1.001e-5.
RESNET50_EPSILON = 1e-3 - 1.001e-5

_KERAS_1_INCEPTION = re.compile(r'convolution2d_\d+')


def is_resnet50(layers: Collection[str]) -> bool:
  """Tells whether layers are those of Keras' first ResNet50."""
  return not {'res2a_branch1', 'res2a_branch2a'}.isdisjoint(layers)


def resnet50_layer(layer: str) -> str:
  """Converts a layer's name, such as `bn3b_branch2c` to `conv3_block2_3_bn`."""
  found = _RESNET50.fullmatch(layer)
  if not found:
    return _RESNET50_FIRST.get(layer, layer)
  kind, block, unit, branch = found.groups()
  place = '0abc'.index(branch[1:] or '0')
  suffix = 'conv' if kind == 'res' else 'bn'
  return f'conv{block}_block{ord(unit) - ord("a") + 1}_{place}_{suffix}'


def check_inception(network: str, layers: Collection[str]) -> None:
  """Refuses Keras 1's Inception V3, which is another network.

  Args:
    network: a name of `nets_factory.NETS`.
    layers: names of the file's layers.

  Raises:
    ValueError: if the layers are those of Keras 1.
  """
  if network == 'inception_v3' and any(map(_KERAS_1_INCEPTION.fullmatch, layers)):
    raise ValueError(
      "Expected: Inception V3 of Keras 2 or later, with layers such as 'conv2d_1'. Received: "
      "layers such as 'convolution2d_1', as in the file of release v0.2 for Keras 1. In that "
      'network, ReLU comes before batch norm instead of after it. Use the file of release v0.5, '
      'which has the same name.')


def check_kernels(ours: Shapes, theirs: Shapes, takes: Mapping[str, Take]) -> None:
  """Refuses kernels for Theano, which are [out, in, height, width].

  Args:
    ours: shapes of our variables.
    theirs: shapes of the file's arrays.
    takes: which array each variable comes from.

  Raises:
    ValueError: if all kernels of convolutions have Theano's layout.
  """
  pairs = [(tuple(theirs[take.key]), tuple(ours[name])) for name, take in takes.items()
           if len(ours[name]) == 4 and len(theirs.get(take.key, ())) == 4]
  if pairs and all(found[2:] == wanted[:2] != found[:2] for found, wanted in pairs):
    raise ValueError(f'{OF_TENSORFLOW} Received: kernels of the shape [out, in, height, width], '
                     f'such as {list(pairs[0][0])}, {OF_THEANO}')


OF_TENSORFLOW = ("Expected: kernels for TensorFlow, as in files whose names have "
                 "'tf_dim_ordering_tf_kernels'.")
OF_THEANO = ("as Keras saved them for Theano ('th_dim_ordering_th_kernels'), which flips them as "
             'well. Use the file for TensorFlow.')
