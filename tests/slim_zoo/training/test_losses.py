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
  found = losses.SOFTMAX(tf.constant(logits), tf.constant(labels))
  assert found.shape == [40]
  assert float(tf.reduce_mean(found)) == pytest.approx(
    metrics.log_loss(labels, probabilities, labels=range(classes)), rel=1e-5)


@pytest.mark.parametrize('classes', [2, 5, 1001])
@pytest.mark.parametrize('smoothing', [0.0, 0.1, 0.5])
def test_smoothing_equals_tensorflow_1s_and_keras(classes, smoothing):
  logits, labels = _examples(classes)
  onehot = np.eye(classes, dtype=np.float32)[labels]
  found = losses.Loss(label_smoothing=smoothing)(tf.constant(logits), tf.constant(labels)).numpy()
  with tf.Graph().as_default(), v1.Session() as session:
    expected = session.run(v1.losses.softmax_cross_entropy(
      onehot, logits, label_smoothing=smoothing, reduction=v1.losses.Reduction.NONE))
  np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6)
  other = keras.losses.categorical_crossentropy(onehot, logits, from_logits=True,
                                                label_smoothing=smoothing)
  np.testing.assert_allclose(found, other, rtol=2e-5, atol=2e-6)


def test_large_logits_do_not_overflow():
  found = losses.SOFTMAX(tf.constant([[1e4, -1e4], [1e4, -1e4]]), tf.constant([0, 1]))
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


def _mixed_targets(classes):
  targets = np.random.default_rng(3).dirichlet(np.full(classes, 0.2), 40)
  return targets.astype(np.float32)


@pytest.mark.parametrize('gamma', [0.0, 1.0, 2.0])
@pytest.mark.parametrize('classes', [2, 7])
def test_focal_loss_equals_keras(gamma, classes):
  # Keras' probabilities are never below 1e-7.
  logits, targets = 0.3 * _examples(classes)[0], _mixed_targets(classes)
  found = losses.Loss('focal', focal_gamma=gamma)(tf.constant(logits), tf.constant(targets))
  expected = keras.losses.categorical_focal_crossentropy(targets, logits, alpha=1.0, gamma=gamma,
                                                         from_logits=True)
  np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(('smoothing', 'threshold'), [(0.0, None), (0.1, None), (0.1, 0.2)])
def test_binary_loss_equals_keras(smoothing, threshold):
  logits, targets = _examples(7)[0], _mixed_targets(7)
  found = losses.Loss('binary', smoothing, bce_target_threshold=threshold)(
    tf.constant(logits), tf.constant(targets))
  expected = targets * (1 - smoothing) + smoothing / 7
  if threshold:
    expected = (expected > threshold).astype(np.float32)
  np.testing.assert_allclose(found, keras.losses.binary_crossentropy(
    expected, logits, from_logits=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('kind', losses.KINDS)
def test_labels_equal_their_distributions(kind):
  logits, labels = _examples(7)
  loss = losses.Loss(kind, 0.1)
  onehot = np.eye(7, dtype=np.float32)[labels]
  np.testing.assert_allclose(loss(tf.constant(logits), tf.constant(labels)),
                             loss(tf.constant(logits), tf.constant(onehot)), rtol=1e-6)
