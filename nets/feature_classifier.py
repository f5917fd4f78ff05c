"""A head on its own, as a network whose input is features."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from nets import custom_head, heads, layers
from nets.network import Network


def build(head: str, *, shape: Sequence[int], num_classes: int, weight_decay: float = 0.0,
          is_training: bool = False, seed: int = 0) -> Network:
  """Builds a head on features; its variables are named as in a network that ends with it.

  Args:
    head: as for `custom_head.parse`.
    shape: shape of one example's features.
    num_classes: number of classes.
    weight_decay: factor of the L2 regularizers of all weights.
    is_training: whether to create variables that only training needs.
    seed: of the initial values.

  Raises:
    ValueError: if `head` is not a head or does not accept these features.
    OSError: if the file of a function cannot be read.
  """
  apply = custom_head.parse(head)

  def function(features: tf.Tensor, num_classes: int, *, is_training: bool):
    logits = custom_head.apply(apply, features, num_classes, is_training=is_training)
    return heads.add_predictions(logits, {})

  return Network(function, custom_head.arg_scope(_plain_arg_scope), image_shape=shape,
                 num_classes=num_classes, weight_decay=weight_decay, is_training=is_training,
                 seed=seed)


def _plain_arg_scope(weight_decay: float = 0.0):
  """Slim's defaults: there are no layers besides the head's."""
  del weight_decay
  with layers.arg_scope([]) as scope:
    return scope
