"""The training loss: cross-entropy, auxiliary heads and weight decay."""

from __future__ import annotations

import tensorflow as tf

# The weight of an auxiliary head's loss (Szegedy et al. 2015, section 5, and TF-Slim: 0.4).
AUXILIARY_WEIGHT = 0.4


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor, label_smoothing: float = 0.0) -> tf.Tensor:
  """Computes softmax cross-entropy for each example.

  Args:
    logits: float32 [batch, num_classes].
    labels: int32 [batch] in [0, num_classes).
    label_smoothing: share of the target spread evenly over all classes, in [0, 1)
      (https://arxiv.org/abs/1512.00567, section 7).

  Returns:
    float32 [batch], in nats.
  """
  if not label_smoothing:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
  classes = logits.shape[-1]
  targets = tf.one_hot(labels, classes) * (1 - label_smoothing) + label_smoothing / classes
  return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
