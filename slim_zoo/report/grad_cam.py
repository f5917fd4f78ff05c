"""Where a network looks: Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, section 3)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from files.errors import unknown_name
from nets.network import Network


class GradCam:
  """Finds the parts of images that are evidence for a class.

  Attributes:
    layer: the end point that is looked at.
  """

  def __init__(self, network: Network, layer: str | None = None):
    """Chooses the layer.

    Args:
      network: the network.
      layer: name of an end point, float [batch, height, width, channels], that the logits depend
        on; None for the last one of more than one pixel.

    Raises:
      ValueError: if there is no such end point.
    """
    self._network = network
    self.layer = self._choose(layer)
    self._forward = tf.function(self._compute, autograph=False, reduce_retracing=True)

  def __call__(self, images: tf.Tensor, classes: np.ndarray) -> np.ndarray:
    """Computes the maps.

    Args:
      images: float32 [batch, height, width, channels], prepared.
      classes: the class of each image to explain, int [batch].

    Returns:
      float32 [batch, height, width] in [0, 1]; the largest value of each map is 1, unless there
      is no evidence for the class. Enlarged bilinearly from the size of the layer.
    """
    maps = self._forward(tf.convert_to_tensor(images), tf.convert_to_tensor(classes, tf.int32))
    return tf.image.resize(maps[..., tf.newaxis], images.shape[1:3])[..., 0].numpy()

  def _choose(self, layer: str | None) -> str:
    suitable: list[str] = []

    @tf.function(autograph=False)
    def trace(images):
      tape, score, points = self._apply(images, tf.zeros([1], tf.int32))
      large = {name: point for name, point in points.items()
               if point.shape.rank == 4 and point.shape[1] * point.shape[2] > 1}
      gradients = tape.gradient(score, large)
      suitable.extend(name for name in large if gradients[name] is not None)

    trace.get_concrete_function(tf.TensorSpec([1, *self._network.image_shape], tf.float32))
    if layer and layer not in suitable:
      raise unknown_name('layer', layer, suitable)
    if not suitable:
      raise ValueError('Expected: a network with layers of more than one pixel. Received: one '
                       'without, which cannot be explained.')
    return layer or suitable[-1]

  def _apply(self, images: tf.Tensor, classes: tf.Tensor
             ) -> tuple[tf.GradientTape, tf.Tensor, Mapping[str, tf.Tensor]]:
    """Returns a tape, the sum of the logits of the classes, and the end points."""
    with tf.GradientTape() as tape:
      tape.watch(images)
      logits, points = self._network(images, is_training=False)
      score = tf.reduce_sum(tf.gather(logits, classes, batch_dims=1))
    return tape, score, points

  def _compute(self, images: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    """Returns the maps in the size of the layer."""
    tape, score, points = self._apply(images, classes)
    values = points[self.layer]
    weights = tf.reduce_mean(tape.gradient(score, values), axis=[1, 2], keepdims=True)
    maps = tf.nn.relu(tf.reduce_sum(tf.cast(weights * values, tf.float32), axis=3))
    return tf.math.divide_no_nan(maps, tf.reduce_max(maps, axis=[1, 2], keepdims=True))
