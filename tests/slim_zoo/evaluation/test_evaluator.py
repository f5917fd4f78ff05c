"""Evaluation counts every example once, equal to scikit-learn, for any batches."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics

from slim_zoo.evaluation.evaluator import Evaluator, Measurement


def _network(images, *, is_training):
  """A stand-in for a network: its images are the logits."""
  assert is_training is False
  return images, {}


def _batches(logits, labels, weights=None, *, batch_size):
  """Divides examples into batches of equal size; the last one is padded with weight 0."""
  weights = np.ones(len(labels)) if weights is None else np.asarray(weights)
  filling = -len(labels) % batch_size
  dataset = tf.data.Dataset.from_tensor_slices({
    'image': np.concatenate([logits, np.zeros([filling, logits.shape[1]])]).astype(np.float32),
    'label': np.concatenate([labels, np.zeros(filling)]).astype(np.int32),
    'weight': np.concatenate([weights, np.zeros(filling)]).astype(np.float32)})
  return dataset.batch(batch_size)


def _measure(logits, labels, weights=None, *, batch_size=16, xla=False) -> Measurement:
  logits, labels = np.asarray(logits, np.float32), np.asarray(labels)
  return Evaluator(_network, xla=xla).measure(
    _batches(logits, labels, weights, batch_size=batch_size))


def _random(classes, count=101):
  rng = np.random.default_rng(classes)
  return rng.normal(0, 3, [count, classes]).astype(np.float32), rng.integers(0, classes, count)


def _check(found: Measurement, logits, labels):
  """Compares with scikit-learn."""
  classes = range(logits.shape[1])
  probabilities = np.exp(logits.astype(np.float64))
  probabilities /= probabilities.sum(1, keepdims=True)
  assert found.count == len(labels)
  assert found.k == min(5, len(classes))
  assert found.top_1 == metrics.accuracy_score(labels, logits.argmax(1))
  assert found.loss == pytest.approx(metrics.log_loss(labels, probabilities, labels=classes),
                                     rel=1e-6)
  if found.k < len(classes):
    assert found.top_k == metrics.top_k_accuracy_score(labels, logits, k=found.k, labels=classes)
  else:
    assert found.top_k == 1
  assert found.class_counts == tuple(np.bincount(labels, minlength=len(classes)))
  # Without the classes that have no examples, for which scikit-learn defines no recall.
  expected = metrics.recall_score(labels, logits.argmax(1), labels=classes, average=None,
                                  zero_division=np.nan)
  np.testing.assert_array_equal(found.recalls, expected)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # About classes without examples.
    expected = metrics.balanced_accuracy_score(labels, logits.argmax(1))
  assert found.mean_recall == pytest.approx(expected, rel=1e-12)


# scikit-learn 1.7, the last one for Python 3.10, takes many classes for a regression.
@pytest.mark.filterwarnings('ignore:The number of unique classes:UserWarning')
@pytest.mark.parametrize('batch_size', [1, 7, 100, 101, 128])
@pytest.mark.parametrize('classes', [3, 7, 1001])
def test_equals_scikit_learn(classes, batch_size):
  logits, labels = _random(classes)
  _check(_measure(logits, labels, batch_size=batch_size), logits, labels)


def test_can_stop_between_batches():
  logits, labels = _random(7)
  batches, answers = _batches(logits, labels, batch_size=16), iter([False, False, True])
  assert Evaluator(_network).examine(batches, lambda: next(answers)) is None
  assert next(answers, 'asked three times') == 'asked three times'


@pytest.mark.parametrize('xla', [False, True])
def test_two_classes(xla):
  # For two classes, scikit-learn expects the scores of one.
  logits, labels = _random(2)
  found = _measure(logits, labels, xla=xla)
  assert (found.k, found.top_k) == (2, 1.0)
  assert found.top_1 == metrics.accuracy_score(labels, logits[:, 1] > logits[:, 0])
  margin = (logits[:, 1] - logits[:, 0]).astype(np.float64)
  assert found.loss == pytest.approx(metrics.log_loss(labels, 1 / (1 + np.exp(-margin))), rel=1e-6)


def test_measurements_are_independent():
  evaluator = Evaluator(_network)
  for seed in (7, 8):
    logits, labels = _random(seed)
    _check(evaluator.measure(_batches(logits, labels, batch_size=10)), logits, labels)


def test_examples_of_weight_0_do_not_count():
  logits, labels = _random(7)
  weights = np.random.default_rng(0).integers(0, 2, 101)
  kept = weights > 0
  _check(_measure(logits, labels, weights), logits[kept], labels[kept])


def test_batch_with_only_weight_0():
  logits, labels = _random(7, count=20)
  weights = [0] * 5 + [1] * 15
  _check(_measure(logits, labels, weights, batch_size=5), logits[5:], labels[5:])


@pytest.mark.parametrize(('label', 'top_1', 'top_k'), [
  (0, 1, 1), (1, 0, 1), (4, 0, 1), (5, 0, 0), (6, 0, 0)])
def test_ties_go_to_the_first_class(label, top_1, top_k):
  """With constant logits, a network is right about one class, not about all."""
  found = _measure(np.zeros([3, 7]), [label] * 3)
  assert (found.top_1, found.top_k) == (top_1, top_k)
  assert found.top_1 == (np.argmax(np.zeros(7)) == label)


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize('place', [0, 3])
@pytest.mark.parametrize('classes', [2, 4, 7])
def test_non_finite_logits_count_as_wrong(classes, place, bad):
  logits = np.zeros([4, classes])
  logits[:, 0] = 5
  logits[0, min(place, classes - 1)] = bad  # Only for the first example.
  found = _measure(logits, [0] * 4)
  assert (found.top_1, found.top_k) == (0.75, 0.75)
  assert (found.class_counts[0], found.class_right[0], found.mean_recall) == (4, 3, 0.75)


@pytest.mark.parametrize('weights', [[], [0, 0, 0]])
def test_nothing_to_evaluate(weights):
  count = len(weights)
  with pytest.raises(ValueError, match='Received: none'):
    _measure(np.zeros([count, 3]), np.zeros(count), weights)


def test_sums_of_many_examples_are_exact():
  """A float32 mean, or a mean of batch means, would be inexact."""
  logits = np.zeros([10_001, 2], np.float32)
  logits[:, 0] = np.linspace(0, 8, 10_001)
  labels = np.ones(10_001, np.int64)
  losses = np.logaddexp(0, logits[:, 0].astype(np.float64))
  found = _measure(logits, labels, batch_size=1000)
  assert found.loss == pytest.approx(losses.mean(), rel=1e-7)
  assert found.top_1 == 0


def test_two_replicas_measure_every_example_once():
  logits, labels = _random(7)
  strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
  with strategy.scope():
    evaluator = Evaluator(_network)
  batches = _batches(logits, labels, batch_size=9)  # Twelve of them, six for each replica.
  found = evaluator.measure(strategy.distribute_datasets_from_function(lambda context: batches))
  _check(found, logits, labels)


def test_accuracy_among_the_classes_that_are_present():
  logits, _ = _random(12)
  present = np.array([1, 4, 5, 6, 9, 10, 11])
  labels = np.random.default_rng(0).choice(present, len(logits))
  measure = Evaluator(_network, present=present.tolist()).measure
  found = measure(_batches(logits, labels, batch_size=16))
  _check(found, logits, labels)
  assert found.num_present == 7
  positions = np.searchsorted(present, labels)
  assert found.among_present == (
    metrics.accuracy_score(positions, logits[:, present].argmax(1)),
    metrics.top_k_accuracy_score(positions, logits[:, present], k=5, labels=range(7)))


def test_lines_equal_tf_slims():
  found = Measurement(count=3, loss=0.5, top_1=0.714333333, top_k=1.0, k=5,
                      class_counts=(4, 0, 1), class_right=(2, 0, 1), among_present=(0.8, 1.0))
  assert found.lines() == 'eval/Accuracy[0.714333333]eval/Recall_5[1]'
  assert found.scalars() == {'top_1': 0.714333333, 'top_5': 1.0, 'mean_recall': 0.75,
                             'loss': 0.5}


@pytest.mark.parametrize('kept', [1, 3, 9])
def test_what_the_network_says_of_each_example(kept):
  logits, labels = _random(6, count=40)
  logits[0] = [0, 1, 2, 150, 3, 4]  # All probabilities but one are 0 in float32.
  weights = np.ones(40)
  weights[[5, 17]] = 0
  evaluator = Evaluator(_network, num_kept=kept, top_k=[2, 9])
  found, outcomes = evaluator.examine(_batches(logits, labels, weights, batch_size=16))
  logits, labels = logits[weights > 0].astype(np.float64), labels[weights > 0]
  order = np.argsort(-logits, axis=1, kind='stable')
  probabilities = np.exp(logits - logits.max(1, keepdims=True))
  probabilities /= probabilities.sum(1, keepdims=True)
  assert found.top_1 == metrics.accuracy_score(labels, order[:, 0])
  assert found.more == ((2, (outcomes.ranks < 2).mean()), (9, 1.0))
  np.testing.assert_array_equal(outcomes.labels, labels)
  np.testing.assert_array_equal(outcomes.classes, order[:, :kept])
  np.testing.assert_array_equal(outcomes.ranks, (order == labels[:, np.newaxis]).argmax(1))
  np.testing.assert_allclose(
    outcomes.probabilities, np.take_along_axis(probabilities, order, 1)[:, :kept], rtol=1e-5,
    atol=1e-30)
  right = probabilities[np.arange(len(labels)), labels]
  np.testing.assert_allclose(outcomes.right, right, rtol=1e-5, atol=1e-30)
  assert outcomes.num_classes == 6
