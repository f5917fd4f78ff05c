"""The training loss: cross-entropy, and the weights of classes and auxiliary heads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
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


def balanced_class_weights(counts: Sequence[int] | np.ndarray) -> np.ndarray:
  """Computes class weights that give every class the same share of an epoch's loss.

  They are scikit-learn's 'balanced' weights, n / (classes * n_c); their mean over examples is 1.

  Args:
    counts: number of examples per class, [num_classes].

  Returns:
    float32 [num_classes]; 0 for classes without examples, which do not count as classes either.

  Raises:
    ValueError: if there are no examples.
  """
  examples = np.asarray(counts, np.float64)
  present = examples > 0
  if not present.any():
    raise ValueError('--class_weights=balanced: expected examples to count. Received none.')
  weights = np.zeros(examples.shape)
  weights[present] = examples.sum() / (present.sum() * examples[present])
  return weights.astype(np.float32)
