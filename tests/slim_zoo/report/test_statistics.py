"""Statistics of evaluations against scikit-learn, SciPy and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import calibration, metrics

from slim_zoo.evaluation.outcomes import LabelOutcomes, Outcomes
from slim_zoo.report import confusions, statistics


def _outcomes(probabilities, labels, kept=3) -> Outcomes:
  """What a network with these probabilities says; float [n, classes] and int [n]."""
  probabilities, labels = np.asarray(probabilities, float), np.asarray(labels)
  order = np.argsort(-probabilities, axis=1, kind='stable')
  right = probabilities[np.arange(len(labels)), labels]
  return Outcomes(labels, -np.log(right), (order == labels[:, np.newaxis]).argmax(axis=1), right,
                  order[:, :kept], np.take_along_axis(probabilities, order, 1)[:, :kept],
                  probabilities.shape[1])


@pytest.fixture
def random(request):
  """Outcomes of 400 examples of 6 classes, the last of which has none; and all probabilities."""
  rng = np.random.default_rng(3)
  labels = rng.integers(0, 5, 400)
  logits = rng.normal(size=[400, 6])
  logits[np.arange(400), labels] += 1.5
  probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  return _outcomes(probabilities, labels), probabilities


def test_classes(random):
  outcomes, _ = random
  rows = statistics.per_class(outcomes)
  assert [row.label for row in rows] == [*range(6)]
  found = metrics.classification_report(outcomes.labels, outcomes.predicted, output_dict=True,
                                        zero_division=0)
  for row in rows:
    expected = found[str(row.label)]
    assert (row.num_examples, row.num_predicted) == (
      expected['support'], (outcomes.predicted == row.label).sum())
    np.testing.assert_allclose([row.precision, row.recall, row.f1], [
      expected['precision'], expected['recall'], expected['f1-score']])
  assert rows[5].num_predicted and rows[5].interval is None
  low, high = stats.binomtest(round(rows[0].recall * rows[0].num_examples),
                              rows[0].num_examples).proportion_ci(method='wilson')
  assert rows[0].interval == (rows[0].recall, low, high)


@pytest.mark.parametrize(('right', 'count', 'low', 'high'), [
  # Newcombe 1998, table I, method 3.
  (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
  (1, 29, 0.0061, 0.1718)])
def test_interval_of_a_share(right, count, low, high):
  found = statistics.share(right, count)
  assert found.share == right / count
  assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_calibration(random):
  outcomes, _ = random
  found = statistics.calibrate(outcomes.confidences, outcomes.is_right, num_bins=10)
  filled = [one for one in found.bins if one.num_examples]
  accuracy, confidence = calibration.calibration_curve(outcomes.is_right, outcomes.confidences,
                                                       n_bins=10)
  np.testing.assert_allclose([one.accuracy for one in filled], accuracy)
  np.testing.assert_allclose([one.confidence for one in filled], confidence)
  assert sum(one.num_examples for one in found.bins) == 400
  weights = [one.num_examples / 400 for one in filled]
  assert found.error == pytest.approx(np.dot(weights, np.abs(accuracy - confidence)))


@pytest.mark.parametrize(('confidence', 'number'), [(1.0, 14), (0.5, 7), (2 / 15, 1), (0.001, 0)])
def test_bins_have_no_gaps(confidence, number):
  found = statistics.calibrate(np.array([confidence]), np.array([True]))
  counts = [one.num_examples for one in found.bins]
  assert counts == [int(i == number) for i in range(15)]


def test_confusion(random):
  outcomes, _ = random
  whole = confusions.confusion(outcomes, 6)
  np.testing.assert_array_equal(whole.counts, metrics.confusion_matrix(
    outcomes.labels, outcomes.predicted))
  np.testing.assert_allclose(whole.shares[:5], metrics.confusion_matrix(
    outcomes.labels, outcomes.predicted, normalize='true')[:5])
  pairs = confusions.confused_pairs(outcomes)
  assert sum(count for *_, count in pairs) == (~outcomes.is_right).sum()
  assert [count for *_, count in pairs] == sorted((count for *_, count in pairs), reverse=True)
  assert all(whole.counts[label, predicted] == count for label, predicted, count in pairs)
  part = confusions.confusion(outcomes, 3)
  assert 2 <= len(part.labels) <= 3 and {*pairs[0][:2]} <= {*part.labels.tolist()}
  rows = np.ix_(part.labels, part.labels)
  np.testing.assert_array_equal(part.counts, whole.counts[rows])
  np.testing.assert_array_equal(part.shares, whole.shares[rows])


def test_many_classes_without_mistakes():
  outcomes = _outcomes(np.eye(30)[[*range(30), 7, 7, 9]] + 1e-9, [*range(30), 7, 7, 9])
  found = confusions.confusion(outcomes, 2)
  assert found.labels.tolist() == [7, 9] and found.counts.tolist() == [[3, 0], [0, 2]]


def test_one_class_that_is_always_right():
  outcomes = _outcomes([[0.9, 0.1]] * 3, [0] * 3)
  assert confusions.confusion(outcomes, 5).counts.tolist() == [[3]]
  assert confusions.confused_pairs(outcomes) == []
  assert statistics.suspects(outcomes).tolist() == []
  assert [row.recall for row in statistics.per_class(outcomes)] == [1]


def test_suspects_are_those_of_confident_learning(random):
  outcomes, probabilities = random
  thresholds = [probabilities[outcomes.labels == label, label].mean() for label in range(5)]
  expected = {}
  for number, (row, label) in enumerate(zip(probabilities, outcomes.labels, strict=True)):
    above = [value for other, value in enumerate(row[:5])
             if other != label and value >= thresholds[other]]
    if above and max(above) > row[label]:
      expected[number] = row[label] - max(above)
  found = statistics.suspects(outcomes)
  assert len(found) > 5
  assert found.tolist() == sorted(expected, key=expected.get)


def test_swapped_labels_are_suspected():
  rng = np.random.default_rng(0)
  labels = np.repeat([0, 1, 2], 30)
  probabilities = np.eye(3)[labels] * 0.8 + rng.dirichlet([1, 1, 1], 90) * 0.2
  probabilities[[4, 50]] = [[0.98, 0.01, 0.01], [0.01, 0.98, 0.01]]
  given = labels.copy()
  given[[4, 50]] = 2, 0
  assert sorted(statistics.suspects(_outcomes(probabilities, given))) == [4, 50]


def test_comparison():
  first, second = (np.array(right, bool) for right in (
    [1] * 12 + [0] * 3 + [1] * 5, [0] * 12 + [1] * 3 + [1] * 5))
  found = statistics.compare(first, second)
  assert found.gained.tolist() == [*range(12)] and found.lost.tolist() == [12, 13, 14]
  # Twice the lower tail of a binomial distribution.
  assert found.p_value == pytest.approx(2 * stats.binom.cdf(3, 15, 0.5))
  assert statistics.compare(first, first).p_value == 1
  with pytest.raises(ValueError, match='20.*1'):
    statistics.compare(first, np.array([True]))


def test_classes_of_examples_with_several_labels():
  rng = np.random.default_rng(0)
  labels = rng.random([60, 4]) < 0.4
  labels[:, 3] = False
  probabilities = np.clip(labels * 0.4 + rng.random([60, 4]) * 0.6, 0, 1)
  outcomes = LabelOutcomes(np.zeros(60), probabilities, labels)
  found = metrics.classification_report(labels, probabilities > 0.5, output_dict=True,
                                        zero_division=0)
  rows = statistics.per_label(outcomes)
  for row in rows:
    expected = found[str(row.label)]
    assert row.num_examples == expected['support']
    assert row.num_predicted == (probabilities[:, row.label] > 0.5).sum()
    np.testing.assert_allclose([row.precision, row.recall, row.f1], [
      expected['precision'], expected['recall'], expected['f1-score']])
  assert rows[3].num_predicted and rows[3].interval is None
  expected = {}
  for is_label, row in zip(labels, probabilities, strict=True):
    for missed in range(4):
      for wrong in range(4):
        if is_label[missed] and row[missed] <= 0.5 and not is_label[wrong] and row[wrong] > 0.5:
          expected[missed, wrong] = expected.get((missed, wrong), 0) + 1
  pairs = confusions.missed_pairs(outcomes)
  assert {pair[:2]: pair[2] for pair in pairs} == expected and expected
  assert [pair[2] for pair in pairs] == sorted(expected.values(), reverse=True)
  assert outcomes.is_right.mean() == pytest.approx(
    metrics.accuracy_score(labels, probabilities > 0.5))
