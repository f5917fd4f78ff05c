"""Inference with batch norm folded into the weights of the layers before it."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from nets.network import Network

Pair = tuple[tf.Tensor, tf.Tensor]


class Folded:
  """A network for inference: batch norm is part of the weights and biases of the layers before it.

  These are computed once, from the values that the variables have then; later changes of the
  variables have no effect on them. Batch norm that follows no layer directly stays as it is, such
  as before the convolutions of ResNet v2.
  """

  def __init__(self, network: Network):
    """Computes the weights; they take as much memory as those of the network."""
    self._network = network

    def parts() -> dict[str, Pair]:
      found: dict[str, Pair] = {}

      def remember(scope: str, compute: Callable[[], Pair]) -> Pair:
        if scope not in found:
          found[scope] = compute()
        return found[scope]

      # What the network computes is not needed, and is left out of the graph.
      network(tf.zeros([1, *network.image_shape]), is_training=False, fold=remember)
      return found

    self._parts = tf.function(parts, autograph=False)()

  def __call__(self, images: tf.Tensor, *, is_training: bool = False):
    """Applies the network; see `Network.__call__`.

    Raises:
      ValueError: if `is_training` is set.
    """
    if is_training:
      raise ValueError('Expected inference: batch norm is folded. Received: is_training=True.')
    return self._network(images, is_training=False, fold=lambda scope, _: self._parts[scope])
