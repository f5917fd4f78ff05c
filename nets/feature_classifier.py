"""A head alone, as a network whose images are features."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from nets import custom_head, heads, layers
from nets.network import Network


def build(head: str, *, shape: Sequence[int], num_classes: int, weight_decay: float = 0.0,
          is_training: bool = False, seed: int = 0) -> Network:
  """Builds a head on features; its variables are those of a network that ends with it.

  Args:
    head: what `custom_head.parse` takes.
    shape: of the features of one example.
    num_classes: width of the logits.
    weight_decay: factor of the L2 regularizers of all weights.
    is_training: whether to create what only training needs.
    seed: what the initial values depend on.

  Raises:
    ValueError: if it is no head, or if it does not take such features.
    OSError: if it is a function whose file cannot be read.
  """
  apply = custom_head.parse(head)

  def function(features: tf.Tensor, num_classes: int, *, is_training: bool):
    logits = custom_head.apply(apply, features, num_classes, is_training=is_training)
    return heads.add_predictions(logits, {})

  return Network(function, custom_head.arg_scope(_plain_arg_scope), image_shape=shape,
                 num_classes=num_classes, weight_decay=weight_decay, is_training=is_training,
                 seed=seed)


def _plain_arg_scope(weight_decay: float = 0.0):
  """Nothing but slim's defaults: there are no layers beside the head's."""
  del weight_decay
  with layers.arg_scope([]) as scope:
    return scope
