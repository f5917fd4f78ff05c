"""The training loss against scikit-learn, Keras and TensorFlow 1."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics
from sklearn.utils import class_weight

from slim_zoo.training import losses

v1 = tf.compat.v1


def _examples(classes: int):
  rng = np.random.default_rng(classes)
  return (rng.normal(0, 5, [40, classes]).astype(np.float32),
          rng.integers(0, classes, 40).astype(np.int32))


@pytest.mark.parametrize('classes', [2, 3, 10, 1001])
def test_equals_scikit_learns_log_loss(classes):
  logits, labels = _examples(classes)
  probabilities = np.exp(logits.astype(np.float64))
  probabilities /= probabilities.sum(1, keepdims=True)
  found = losses.cross_entropy(tf.constant(logits), tf.constant(labels))
  assert found.shape == [40]
  assert float(tf.reduce_mean(found)) == pytest.approx(
    metrics.log_loss(labels, probabilities, labels=range(classes)), rel=1e-5)


@pytest.mark.parametrize('classes', [2, 5, 1001])
@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.5])
def test_smoothing_equals_tensorflow_1s_and_keras(classes, smoothing):
  logits, labels = _examples(classes)
  onehot = np.eye(classes, dtype=np.float32)[labels]
  found = losses.cross_entropy(tf.constant(logits), tf.constant(labels), smoothing).numpy()
  with tf.Graph().as_default(), v1.Session() as session:
    expected = session.run(v1.losses.softmax_cross_entropy(
      onehot, logits, label_smoothing=smoothing, reduction=v1.losses.Reduction.NONE))
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
  other = keras.losses.categorical_crossentropy(onehot, logits, from_logits=True,
                                                label_smoothing=smoothing)
  np.testing.assert_allclose(found, other, rtol=2e-5, atol=2e-6)


def test_large_logits_do_not_overflow():
  found = losses.cross_entropy(tf.constant([[1e4, -1e4], [1e4, -1e4]]), tf.constant([0, 1]))
  np.testing.assert_array_equal(found, [0, 2e4])


def test_auxiliary_weight_equals_tf_slims():
  assert losses.AUXILIARY_WEIGHT == 0.4


@pytest.mark.parametrize('counts', [[5, 5], [1, 3, 96], [10, 0, 30, 0, 2], [7]])
def test_balanced_class_weights_equal_scikit_learn(counts):
  labels = np.repeat(np.arange(len(counts)), counts)
  present = np.unique(labels)
  found = losses.balanced_class_weights(counts)
  assert found.dtype == np.float32
  np.testing.assert_allclose(found[present], class_weight.compute_class_weight(
    'balanced', classes=present, y=labels), rtol=1e-6)
  assert found.sum() == found[present].sum()  # The others are 0.
  assert found[labels].mean() == pytest.approx(1)


def test_balancing_needs_examples():
  with pytest.raises(ValueError, match='--class_weights=balanced'):
    losses.balanced_class_weights([0, 0])
