"""NASNet-A (Zoph et al. 2017, https://arxiv.org/abs/1707.07012, figures 2 and 4, table 7).

The variables have no prefix with the network's name: they are `conv0/weights`, `cell_0/1x1/weights`
and so on, as in TF-Slim.
"""

from __future__ import annotations

import functools

from nets import nas_cells as nas
from nets.variants import variant

NORMAL_CELL = nas.Cell(
    blocks=(((0, nas.separable_5x5), (1, nas.separable_3x3)),
            ((1, nas.separable_5x5), (1, nas.separable_3x3)),
            ((0, nas.average_3x3), (1, nas.identity)),
            ((1, nas.average_3x3), (1, nas.average_3x3)),
            ((0, nas.separable_3x3), (0, nas.identity))),
    outputs=(1, 2, 3, 4, 5, 6))
REDUCTION_CELL = nas.Cell(
    blocks=(((0, nas.separable_5x5), (1, nas.separable_7x7)),
            ((0, nas.maximum_3x3), (1, nas.separable_7x7)),
            ((0, nas.average_3x3), (1, nas.separable_5x5)),
            ((3, nas.identity), (2, nas.average_3x3)),
            ((2, nas.separable_3x3), (0, nas.maximum_3x3))),
    outputs=(3, 4, 5, 6))


def nasnet_cifar_arg_scope(weight_decay: float = 5e-4):
  """The arg scope of NASNet-A for CIFAR-10."""
  return nas.search_arg_scope(weight_decay, batch_norm_decay=0.9, batch_norm_epsilon=1e-5)


def nasnet_mobile_arg_scope(weight_decay: float = 4e-5):
  """The arg scope of NASNet-A (4 @ 1056) for ImageNet."""
  return nas.search_arg_scope(weight_decay, batch_norm_decay=0.9997, batch_norm_epsilon=0.001)


def nasnet_large_arg_scope(weight_decay: float = 5e-5):
  """The arg scope of NASNet-A (6 @ 4032) for ImageNet."""
  return nas.search_arg_scope(weight_decay, batch_norm_decay=0.9997, batch_norm_epsilon=0.001)


def _placements(num_cells: int, depth: int, *, skipped: int) -> list[nas.Placement]:
  """Places normal cells, with a reduction cell before the second and the last third of them.

  Args:
    num_cells: number of normal cells.
    depth: number of channels of the first third's states; each reduction doubles it.
    skipped: of the cell after a reduction: with 0 its second input is the output of the cell before
      the reduction, with 1 that of the cell before that.
  """
  places = []
  for i in range(num_cells):
    is_reduced = i in (num_cells // 3, 2 * num_cells // 3)
    if is_reduced:
      depth, j = 2 * depth, 3 * i // num_cells - 1
      places.append(nas.Placement(f'reduction_cell_{j}', f'Reduction_Cell_{j}', REDUCTION_CELL,
                                  depth, stride=2))
    places.append(nas.Placement(f'cell_{i}', f'Cell_{i}', NORMAL_CELL, depth,
                                skipped=skipped if is_reduced else 0))
  return places


_CIFAR = nas.Architecture(
    functools.partial(nas.small_image_stem, depth=96),
    tuple(_placements(18, 32, skipped=0)), auxiliary_cell=11, smallest=1)
_MOBILE = nas.Architecture(
    functools.partial(nas.large_image_stem, depth=32),
    (*nas.stem_placements(REDUCTION_CELL, 44), *_placements(12, 44, skipped=0)),
    auxiliary_cell=7, smallest=3)
_LARGE = nas.Architecture(
    functools.partial(nas.large_image_stem, depth=96),
    (*nas.stem_placements(REDUCTION_CELL, 168), *_placements(18, 168, skipped=1)),
    auxiliary_cell=11, smallest=3)


nasnet_cifar = variant(nas.search_network, 'nasnet_cifar', image_size=32, architecture=_CIFAR,
                       dropout_keep_prob=1.0, drop_path_keep_prob=0.6,
                       total_training_steps=937_500)
nasnet_mobile = variant(nas.search_network, 'nasnet_mobile', image_size=224, architecture=_MOBILE,
                        dropout_keep_prob=0.5, drop_path_keep_prob=1.0,
                        total_training_steps=250_000)
nasnet_large = variant(nas.search_network, 'nasnet_large', image_size=331, architecture=_LARGE,
                       dropout_keep_prob=0.5, drop_path_keep_prob=0.7,
                       total_training_steps=250_000)
