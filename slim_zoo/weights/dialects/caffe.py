"""Caffe's names: layers with a weight and a bias, named as in the published prototxt files.

The `.npy` files made from them (`bvlc_alexnet.npy`, `vgg16.npy`) have the same names, but their
kernels are already [height, width, in, out], or [in, out] for a fully connected layer.
"""

from __future__ import annotations

from collections.abc import Callable

from slim_zoo.weights.caffe_files import POOLS_FIRST
from slim_zoo.weights.dialects.dialect import Dialect, Shapes, by_name
from slim_zoo.weights.layouts import HWIO, SWAP_RED_AND_BLUE, Step, Take

_FIRST = {'alexnet': 'conv1', 'caffenet': 'conv1', 'vgg_16': 'conv1_1', 'vgg_19': 'conv1_1',
          'vgg_a': 'conv1_1'}
_ALEXNETS = ('alexnet', 'caffenet')  # Their variables have the same shapes.
_TWINS = ('bvlc_reference_caffenet (caffenet) pools before normalizing, bvlc_alexnet (alexnet) '
          'after: the weights of each can be loaded into the other, but give wrong results there.')


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
  """Lists Caffe's dialects for a network; none if Caffe does not have it.

  Args:
    network: a name of `nets_factory.NETS`.
    layout: layout of the kernels, `HWIO` or `OIHW`.
    order: channel order expected by the first layer, 'bgr' or 'rgb'; None if unknown. Ours is that
      of the network's own preprocessing: BGR for `alexnet`, RGB for VGG.

  Raises:
    ValueError: if the order is unknown and both occur.
  """
  if network not in _FIRST:
    return ()
  own = 'bgr' if network in _ALEXNETS else 'rgb'
  if order is None and network not in _ALEXNETS:
    raise ValueError(f'Such files of {network} exist both for BGR images, as in Caffe, and for RGB '
                     'images, and this file does not state the order. Expected: '
                     '--checkpoint_channel_order=bgr (vgg16.npy, made from Caffe) or rgb (made '
                     'from PyTorch or TF-Slim). Received: neither.')
  function = by_name(_caffes(network, layout, order not in (None, own)))
  if network not in _ALEXNETS:
    return (Dialect('Caffe', function),)
  if layout is HWIO:  # A .npy file; in a .caffemodel, whose kernels are OIHW, the network is known.
    return (Dialect('Caffe', function, note=f'The file does not state which it was made from: '
                    f'{_TWINS}'),)
  return (Dialect('Caffe', _checked(network, function)),)


def _checked(network: str, function: Callable[[Shapes, Shapes], dict[str, Take]]) -> (
    Callable[[Shapes, Shapes], dict[str, Take]]):
  """Rejects the weights of the network's twin."""
  def takes(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
    found = 'caffenet' if POOLS_FIRST in theirs else 'alexnet'
    if found != network:
      raise ValueError(f'Expected the weights of {network}. Received: those of {found}. {_TWINS} '
                       f'Use --model_name={found}.')
    return function(ours, theirs)
  return takes
