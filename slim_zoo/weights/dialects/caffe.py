"""Caffe's names: layers with a weight and a bias, named as in the published prototxt files.

The `.npy` files made of them (`bvlc_alexnet.npy`, `vgg16.npy`) have the same names; their kernels
are [height, width, in, out] already, or [in, out] of a fully connected layer.
"""

from __future__ import annotations

from collections.abc import Callable

from slim_zoo.weights.caffe_files import POOLS_FIRST
from slim_zoo.weights.dialects.dialect import Dialect, Shapes, by_name
from slim_zoo.weights.layouts import HWIO, SWAP_RED_AND_BLUE, Step, Take

_FIRST = {'alexnet': 'conv1', 'caffenet': 'conv1', 'vgg_16': 'conv1_1', 'vgg_19': 'conv1_1',
          'vgg_a': 'conv1_1'}
_ALEXNETS = ('alexnet', 'caffenet')  # Their variables have the same shapes.
_TWINS = ('bvlc_reference_caffenet (caffenet) pools before it normalizes, bvlc_alexnet (alexnet) '
          'after: the weights of each fit the other, and give other answers there.')


def _layer(name: str) -> tuple[str, str]:
  """Splits `vgg_16/conv1/conv1_1/weights` into `conv1_1` and `weights`."""
  layer, kind = name.split('/')[-2:]
  return layer, kind


def _caffes(network: str, layout: Step, swapped: bool) -> Callable[[str], Take]:
  def take(name: str) -> Take:
    layer, kind = _layer(name)
    steps = (layout,) if kind == 'weights' else ()
    if swapped and kind == 'weights' and layer == _FIRST[network]:
      steps = (*steps, SWAP_RED_AND_BLUE)
    return Take(f'{layer}/{kind}', steps)
  return take


def dialects(network: str, layout: Step, order: str | None) -> tuple[Dialect, ...]:
  """Lists how Caffe's files name a network; none if it never had it.

  Args:
    network: a name of `nets_factory.NETS`.
    layout: of the kernels, `HWIO` or `OIHW`.
    order: of the channels that the first layer expects, 'bgr' or 'rgb'; None if it is not known.
      Ours is that of the network's own preprocessing: BGR for `alexnet`, RGB for VGG.

  Raises:
    ValueError: if the order is not known and exists both ways.
  """
  if network not in _FIRST:
    return ()
  own = 'bgr' if network in _ALEXNETS else 'rgb'
  if order is None and network not in _ALEXNETS:
    raise ValueError(f"{network}'s layers exist in such files for BGR images, as Caffe's were, and "
                     'for RGB images, and the file does not tell. Expected: '
                     '--checkpoint_channel_order=bgr (vgg16.npy, made from Caffe) or rgb (made '
                     'from PyTorch or TF-Slim). Received: neither.')
  function = by_name(_caffes(network, layout, order not in (None, own)))
  if network not in _ALEXNETS:
    return (Dialect('Caffe', function),)
  if layout is HWIO:  # A .npy file; a .caffemodel, whose kernels are OIHW, says which it is.
    return (Dialect('Caffe', function, note=f'The file does not tell which it was made of: '
                    f'{_TWINS}'),)
  return (Dialect('Caffe', _checked(network, function)),)


def _checked(network: str, function: Callable[[Shapes, Shapes], dict[str, Take]]) -> (
    Callable[[Shapes, Shapes], dict[str, Take]]):
  """Refuses the other one of the twins."""
  def takes(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
    found = 'caffenet' if POOLS_FIRST in theirs else 'alexnet'
    if found != network:
      raise ValueError(f'Expected the weights of {network}. Received: those of {found}. {_TWINS} '
                       f'Use --model_name={found}.')
    return function(ours, theirs)
  return takes
