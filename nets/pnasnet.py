"""PNASNet-5 (Liu et al. 2018, https://arxiv.org/abs/1712.00559, figure 1, right).

It has one kind of cell, which is also used for reductions. The variables have no prefix with the
network's name: they are `conv0/weights`, `cell_0/1x1/weights` and so on, as in TF-Slim.
"""

from __future__ import annotations

import functools

from nets import nas_cells as nas
from nets.variants import variant

CELL = nas.Cell(
    blocks=(((1, nas.separable_5x5), (1, nas.maximum_3x3)),
            ((0, nas.separable_7x7), (0, nas.maximum_3x3)),
            ((0, nas.separable_5x5), (0, nas.separable_3x3)),
            ((4, nas.separable_3x3), (0, nas.maximum_3x3)),
            ((1, nas.separable_3x3), (0, nas.identity))),
    outputs=(2, 3, 4, 5, 6))


def pnasnet_arg_scope(weight_decay: float = 4e-5):
  """The arg scope of PNASNet-5."""
  return nas.search_arg_scope(weight_decay, batch_norm_decay=0.9997, batch_norm_epsilon=0.001)


def _architecture(num_cells: int, depth: int, *, stem_depth: int) -> nas.Architecture:
  """Places cells in three equal parts; the first of the second and the third part reduces.

  Args:
    num_cells: number of cells after those of the stem.
    depth: channels of the first part's states; each reduction doubles them.
    stem_depth: channels of the first convolution.
  """
  third = num_cells // 3
  cells = (nas.Placement(f'cell_{i}', f'Cell_{i}', CELL, depth * 2**(i // third),
                         stride=2 if i in (third, 2 * third) else 1) for i in range(num_cells))
  return nas.Architecture(functools.partial(nas.large_image_stem, depth=stem_depth),
                          (*nas.stem_placements(CELL, depth), *cells),
                          auxiliary_cell=2 * third - 1, smallest=3)


_MOBILE = _architecture(9, 54, stem_depth=32)
_LARGE = _architecture(12, 216, stem_depth=96)


pnasnet_mobile = variant(nas.search_network, 'pnasnet_mobile', image_size=224,
                         architecture=_MOBILE, dropout_keep_prob=0.5, drop_path_keep_prob=1.0,
                         total_training_steps=250_000)
pnasnet_large = variant(nas.search_network, 'pnasnet_large', image_size=331, architecture=_LARGE,
                        dropout_keep_prob=0.5, drop_path_keep_prob=0.6,
                        total_training_steps=250_000)
