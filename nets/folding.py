"""Inference with batch norm folded into the weights of the layers before it."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from nets.network import Network


class Folded:
  """A network for inference: batch norm is part of the weights and biases of the layers before it.

  These are computed at the first call, from the values that the variables have then; later changes
  of the variables have no effect on them. Batch norm that follows no layer directly stays as it is,
  such as before the convolutions of ResNet v2.
  """

  def __init__(self, network: Network):
    """Computes nothing yet; the weights will take as much memory as those of the network."""
    self._network = network
    self._parts: dict[str, tuple[tf.Tensor, tf.Tensor]] = {}

  def __call__(self, images: tf.Tensor, *, is_training: bool = False):
    """Applies the network; see `Network.__call__`.

    Raises:
      ValueError: if `is_training` is set.
    """
    if is_training:
      raise ValueError('Expected inference: batch norm is folded. Received: is_training=True.')
    return self._network(images, is_training=False, fold=self._fold)

  def _fold(self, scope: str, compute: Callable[[], tuple[tf.Tensor, tf.Tensor]]
            ) -> tuple[tf.Tensor, tf.Tensor]:
    if scope not in self._parts:
      with tf.init_scope():  # Outside the graph that is being traced, so that all graphs share it.
        self._parts[scope] = compute()
    return self._parts[scope]
