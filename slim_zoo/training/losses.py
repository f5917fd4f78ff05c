"""The training loss, and the weights of classes and auxiliary heads."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

# The weight of an auxiliary head's loss (Szegedy et al. 2015, section 5, and TF-Slim: 0.4).
AUXILIARY_WEIGHT = 0.4
KINDS = ('binary', 'focal', 'softmax')


@dataclasses.dataclass(frozen=True)
class Loss:
  """The loss of each example.

  Attributes:
    kind: one of `KINDS`.
    label_smoothing: share of the target spread evenly over all classes, in [0, 1)
      (https://arxiv.org/abs/1512.00567, section 7).
    focal_gamma: exponent of the focal loss (https://arxiv.org/abs/1708.02002, section 3), without
      its class weights.
    bce_target_threshold: targets of the binary cross-entropy above this become 1, others 0, as in
      timm's `BinaryCrossEntropy`; None leaves them.
  """
  kind: str = 'softmax'
  label_smoothing: float = 0.0
  focal_gamma: float = 2.0
  bce_target_threshold: float | None = None

  def __call__(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Computes the loss.

    Args:
      logits: float32 [batch, num_classes].
      labels: int32 [batch] in [0, num_classes); or float32 [batch, num_classes], distributions.

    Returns:
      float32 [batch], in nats. The binary cross-entropy is the mean over all classes.
    """
    if self.kind == 'softmax' and not self.label_smoothing and labels.shape.rank == 1:
      return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    classes, smoothing = logits.shape[-1], self.label_smoothing
    targets = tf.one_hot(labels, classes) if labels.shape.rank == 1 else labels
    if smoothing:
      targets = targets * (1 - smoothing) + smoothing / classes
    if self.kind == 'softmax':
      return tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    if self.kind == 'focal':
      log_probabilities = tf.nn.log_softmax(logits)
      # Not 0, where the gradient of a power below 1 is infinite.
      misses = tf.maximum(1 - tf.exp(log_probabilities), 1e-7) ** self.focal_gamma
      return -tf.reduce_sum(targets * misses * log_probabilities, axis=-1)
    if self.bce_target_threshold is not None:
      targets = tf.cast(targets > self.bce_target_threshold, tf.float32)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=-1)


SOFTMAX = Loss()


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
