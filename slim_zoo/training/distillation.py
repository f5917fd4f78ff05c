"""Knowledge distillation: a trained network teaches another.

Hinton et al. 2015, https://arxiv.org/abs/1503.02531.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Distillation:
  """What a teacher adds to the loss.

  Attributes:
    teacher: images of a batch -> logits, float32 [batch, num_classes], in the order of the
      student's outputs.
    weight: share of the teacher in the loss, in [0, 1].
    temperature: divides the logits of both, above 0.
  """
  teacher: Callable[[tf.Tensor], tf.Tensor]
  weight: float
  temperature: float

  def __call__(self, loss: tf.Tensor, logits: tf.Tensor, taught: tf.Tensor) -> tf.Tensor:
    """Mixes the loss of each example with the divergence from the teacher.

    The divergence is multiplied by the temperature's square, so that its gradients keep their size
    (section 2 of the paper).

    Args:
      loss: float32 [batch].
      logits, taught: of the student and of the teacher, float32 [batch, num_classes].

    Returns:
      float32 [batch].
    """
    ours = tf.nn.log_softmax(logits / self.temperature)
    theirs = tf.nn.log_softmax(taught / self.temperature)
    divergence = tf.reduce_sum(tf.exp(theirs) * (theirs - ours), axis=-1)
    return (1 - self.weight) * loss + self.weight * self.temperature ** 2 * divergence
