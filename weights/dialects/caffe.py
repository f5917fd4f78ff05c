"""Caffe's names: layers with a weight and a bias, called as in the published prototxt files.

The `.npy` files made of them (`bvlc_alexnet.npy`, `vgg16.npy`) have the same names; their kernels
are [height, width, in, out] already, or [in, out] of a fully connected layer.
"""

from __future__ import annotations

from collections.abc import Callable

from weights.caffe_files import POOLS_FIRST
from weights.dialects.dialect import Dialect, Shapes, by_name
from weights.layouts import HWIO, SWAP_RED_AND_BLUE, Step, Take

_FIRST = {'alexnet': 'conv1', 'vgg_16': 'conv1_1', 'vgg_19': 'conv1_1', 'vgg_a': 'conv1_1'}
_CAFFENET = ('bvlc_reference_caffenet pools before it normalizes; its weights fit alexnet '
             '(bvlc_alexnet), which normalizes first, and give other answers there.')


def _layer(name: str) -> tuple[str, str]:
  """Splits `vgg_16/conv1/conv1_1/weights` into `conv1_1` and `weights`."""
  return tuple(name.split('/')[-2:])


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
  own = 'bgr' if network == 'alexnet' else 'rgb'
  if order is None and network != 'alexnet':
    raise ValueError(f"{network}'s layers exist in such files for BGR images, as Caffe's were, and "
                     'for RGB images, and the file does not tell. Expected: '
                     '--checkpoint_channel_order=bgr (vgg16.npy, made from Caffe) or rgb (made '
                     'from PyTorch or TF-Slim). Received: neither.')
  function = by_name(_caffes(network, layout, order not in (None, own)))
  if network != 'alexnet':
    return (Dialect('Caffe', function),)
  # Only a .caffemodel, whose kernels are OIHW, tells one from the other.
  note = f'A file made of another network looks the same: {_CAFFENET}' if layout is HWIO else ''
  return (Dialect('Caffe', _not_caffenets(function), note=note),)


def _not_caffenets(function: Callable[[Shapes, Shapes], dict[str, Take]]) -> (
    Callable[[Shapes, Shapes], dict[str, Take]]):
  """Refuses CaffeNet."""
  def takes(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
    if POOLS_FIRST in theirs:
      raise ValueError(f'Expected the weights of bvlc_alexnet. Received: those of CaffeNet. '
                       f'{_CAFFENET}')
    return function(ours, theirs)
  return takes
