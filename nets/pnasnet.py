"""PNASNet-5 (Liu et al. 2018, https://arxiv.org/abs/1712.00559, figure 1, right).

It has one kind of cell, which also reduces. The networks have no name of their own: their variables
are `conv0/weights`, `cell_0/1x1/weights` and so on, as in TF-Slim.
"""

from __future__ import annotations

import functools

import tensorflow as tf

from nets import nas_cells as nas

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


def pnasnet_mobile(images: tf.Tensor, num_classes: int | None = 1001, *, is_training: bool = True,
                   dropout_keep_prob: float = 0.5, drop_path_keep_prob: float = 1.0,
                   total_training_steps: int = 250_000,
                   scope: str | None = None) -> tuple[tf.Tensor, dict]:
  """PNASNet-5 for phones; arguments and results as in `nas_cells.search_network`."""
  return nas.search_network(
      images, num_classes, _MOBILE, is_training=is_training, dropout_keep_prob=dropout_keep_prob,
      drop_path_keep_prob=drop_path_keep_prob, total_training_steps=total_training_steps,
      scope=scope)


def pnasnet_large(images: tf.Tensor, num_classes: int | None = 1001, *, is_training: bool = True,
                  dropout_keep_prob: float = 0.5, drop_path_keep_prob: float = 0.6,
                  total_training_steps: int = 250_000,
                  scope: str | None = None) -> tuple[tf.Tensor, dict]:
  """PNASNet-5 (N = 4, F = 216); arguments and results as in `nas_cells.search_network`."""
  return nas.search_network(
      images, num_classes, _LARGE, is_training=is_training, dropout_keep_prob=dropout_keep_prob,
      drop_path_keep_prob=drop_path_keep_prob, total_training_steps=total_training_steps,
      scope=scope)


pnasnet_mobile.default_image_size = 224
pnasnet_large.default_image_size = 331
