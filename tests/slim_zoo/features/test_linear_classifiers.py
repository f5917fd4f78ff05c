"""scikit-learn's classifiers as layers decide like scikit-learn's own pipelines."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.special
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
  GridSearchCV,
  StratifiedKFold,
  cross_val_predict,
  cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from files import memory
from slim_zoo.features import linear_classifiers

_MAKE = {'logistic_regression': lambda c: LogisticRegression(C=c, max_iter=2000),
         'linear_svm': lambda c: LinearSVC(C=c, dual='auto', max_iter=5000, random_state=0)}


def _digits(num_classes: int, count: int = 300):
  """Pixels; one is constant, and some are far from 0 or small."""
  values, labels = load_digits(return_X_y=True)
  keep = np.flatnonzero(labels < num_classes)[:count]
  values = values[keep].astype(np.float32)
  values[:, 20:30] += 100
  values[:, 30:40] *= 1e-3
  return values, labels[keep]


@pytest.mark.parametrize('num_classes', [2, 3])
@pytest.mark.parametrize('kind', sorted(linear_classifiers.KINDS))
def test_logits_equal_scikit_learn(kind, num_classes):
  values, labels = _digits(num_classes)
  found = linear_classifiers.fit(values, labels, kind=kind, strengths=[0.01])
  expected = make_pipeline(StandardScaler(), _MAKE[kind](0.01)).fit(values.astype(float), labels)
  logits = values @ found.weights + found.biases
  decisions = expected.decision_function(values)
  if num_classes == 2:
    assert logits[:, 1] - logits[:, 0] == pytest.approx(decisions, abs=1e-3)
  elif kind == 'linear_svm':
    assert logits == pytest.approx(decisions, abs=1e-3)
  if kind == 'logistic_regression':
    assert scipy.special.softmax(logits, 1) == pytest.approx(
        expected.predict_proba(values), abs=1e-3)
  assert (logits.argmax(1) == expected.predict(values)).all()
  assert (found.weights.dtype, found.biases.dtype) == (np.float32, np.float32)
  assert (found.scores, found.strength, found.converged) == ((), 0.01, True)


@pytest.mark.parametrize('kind', sorted(linear_classifiers.KINDS))
def test_strength_equals_scikit_learns_choice(kind):
  values, labels = _digits(3, 90)
  labels = np.where(np.arange(90) % 9, labels, (labels + 1) % 3)  # Some wrong labels.
  strengths = [0.1, 1e-4, 0.01]
  found = linear_classifiers.fit(values, labels, kind=kind, strengths=strengths, folds=4, seed=3)
  expected = {c: cross_val_score(make_pipeline(StandardScaler(), _MAKE[kind](c)), values, labels,
                                 cv=StratifiedKFold(4, shuffle=True, random_state=3))
              for c in sorted(strengths)}
  assert [score.strength for score in found.scores] == list(expected)
  for score in found.scores:
    assert score.accuracies == pytest.approx(expected[score.strength], abs=0.05)
  assert found.strength == max(found.scores, key=lambda score: score.mean).strength
  lines = linear_classifiers.table(found.scores).splitlines()
  assert lines[0].startswith('4-fold')
  assert [line.split()[0] for line in lines if 'chosen' in line] == [f'{found.strength:g}']


@pytest.mark.parametrize('kind', sorted(linear_classifiers.KINDS))
def test_balanced_classes_equal_scikit_learn(kind):
  values, labels = _digits(3)
  keep = (labels > 0) | (np.arange(len(labels)) % 10 == 0)  # Few zeros.
  values, labels = values[keep], labels[keep]
  strengths = [1e-4, 1e-3]
  found = linear_classifiers.fit(values, labels, kind=kind, strengths=strengths, is_balanced=True)

  def pipeline(strength):
    model = _MAKE[kind](strength).set_params(class_weight='balanced')
    return make_pipeline(StandardScaler(), model)

  for score in found.scores:
    assert score.accuracies == pytest.approx(cross_val_score(
        pipeline(score.strength), values, labels, scoring='balanced_accuracy',
        cv=StratifiedKFold(5, shuffle=True, random_state=0)), abs=0.02)
  assert 'mean recall' in linear_classifiers.table(found.scores, is_balanced=True)
  expected = pipeline(found.strength).fit(values.astype(float), labels)
  logits, decisions = values @ found.weights + found.biases, expected.decision_function(values)
  if kind == 'logistic_regression':  # A constant added to all logits of an example has no effect.
    logits, decisions = (x - x.mean(1, keepdims=True) for x in (logits, decisions))
  assert logits == pytest.approx(decisions, abs=2e-3)
  other = linear_classifiers.fit(values, labels, kind=kind, strengths=[found.strength])
  assert np.abs(other.biases - found.biases).max() > 0.01


def test_smallest_of_equal_strengths_is_chosen():
  values, labels = np.eye(2).repeat(5, axis=0), np.arange(2).repeat(5)
  found = linear_classifiers.fit(values, labels, kind='linear_svm', strengths=[1, 0.1, 10])
  assert found.strength == 0.1
  assert 'smaller ones may be better' in linear_classifiers.table(found.scores)


def test_small_classes_have_fewer_folds():
  values, labels = _digits(2, 20)
  labels[:] = 0
  labels[[3, 8]] = 1
  found = linear_classifiers.fit(values, labels, kind='logistic_regression')
  assert {len(score.accuracies) for score in found.scores} == {2}
  labels[8] = 0
  with pytest.raises(ValueError, match='class 1.* --regularization_strengths='):
    linear_classifiers.fit(values, labels, kind='logistic_regression')
  assert linear_classifiers.fit(values, labels, kind='linear_svm', strengths=[1]).scores == ()


def test_warning_if_the_fit_does_not_converge(monkeypatch):
  values, labels = _digits(3)
  monkeypatch.setitem(linear_classifiers.KINDS, 'linear_svm', linear_classifiers.Kind(
      lambda strength, seed, class_weight: LinearSVC(
          C=strength, max_iter=1, dual=True, random_state=seed, class_weight=class_weight), ()))
  assert not linear_classifiers.fit(values, labels, kind='linear_svm', strengths=[1]).converged


@pytest.mark.parametrize('kind', sorted(linear_classifiers.KINDS))
def test_scaling_in_parts(kind, monkeypatch):
  values, labels = _digits(3, 100)
  arguments = {'kind': kind, 'strengths': [0.01, 1e-3], 'folds': 2}
  whole = linear_classifiers.fit(values, labels, **arguments)
  monkeypatch.setattr(linear_classifiers, '_CHUNK', 7 * 8 * values.shape[1])
  parts = linear_classifiers.fit(values, labels, **arguments)
  assert parts.scores == whole.scores
  assert values @ parts.weights + parts.biases == pytest.approx(
    values @ whole.weights + whole.biases, abs=1e-4)


def test_features_are_copied_once(monkeypatch):
  values = np.random.default_rng(0).normal(size=[3000, 300]).astype(np.float32)
  labels = (values[:, 0] > 0).astype(np.int64)
  monkeypatch.setattr(linear_classifiers, '_CHUNK', 2**16)
  dtypes, fit = set(), LogisticRegression.fit

  def note(model, inputs, *arguments):
    dtypes.add(inputs.dtype)
    return fit(model, inputs, *arguments)

  monkeypatch.setattr(LogisticRegression, 'fit', note)
  tracemalloc.start()
  try:
    linear_classifiers.fit(values, labels, kind='logistic_regression', strengths=[1e-4, 1e-3],
                           folds=2)
    most = tracemalloc.get_traced_memory()[1]
  finally:
    tracemalloc.stop()
  # Two rows of float32 show the type it computes in; the rest is passed in that type.
  used = max(dtypes, key=lambda dtype: dtype.itemsize)
  assert values.size * used.itemsize < most < 1.3 * values.size * used.itemsize


@pytest.mark.parametrize(('kind', 'factor'), [('linear_svm', 4 + 8 + 16),
                                              ('logistic_regression', 4 + 4 + 8 * 2 / 50)])
def test_too_large_features_are_rejected(kind, factor, monkeypatch):
  values, labels = np.ones([5000, 50], np.float32), np.arange(5000) % 2
  monkeypatch.setattr(memory, 'available', lambda: int(values.size * factor) - 1)
  with pytest.raises(ValueError, match=f'{kind}: .*5,000 × 50 .*--classifier=softmax'):
    linear_classifiers.fit(values, labels, kind=kind)


@pytest.mark.parametrize(('arguments', 'message'), [
  ({'kind': 'svm'}, "'svm'.* linear_svm, logistic_regression"),
  ({'strengths': [0.1, 0]}, '--regularization_strengths: .*Received: 0'),
  ({'strengths': [float('nan')]}, '--regularization_strengths: .*nan'),
  ({'labels': [0, 0, 2, 2]}, 'class.*: 1\\.$'),
  ({'labels': [0, 0, 0, 0]}, 'class.*second'),
])
def test_errors(arguments, message):
  labels = np.array(arguments.pop('labels', [0, 0, 1, 1]))
  with pytest.raises(ValueError, match=message):
    linear_classifiers.fit(np.ones([4, 2]), labels, **{'kind': 'linear_svm', **arguments})


class _FirstPart:
  """The first split of a stratified cross-validation, as a `cv` of scikit-learn."""

  def __init__(self, seed):
    self._parts = StratifiedKFold(5, shuffle=True, random_state=seed)

  def split(self, values, labels, groups=None):
    return list(self._parts.split(values, labels))[:1]

  def get_n_splits(self, *unused, **unused_too):
    return 1


@pytest.mark.parametrize('strengths', [[0.01], [1e-4, 0.01, 1.0]])
def test_cross_predictions_equal_scikit_learn(strengths):
  values, labels = _digits(3, 120)
  labels = np.where(np.arange(120) % 7, labels, (labels + 1) % 3)  # Some wrong labels.
  found = linear_classifiers.cross_predict(values, labels, kind='logistic_regression',
                                           strengths=strengths, folds=4, seed=3)
  model = GridSearchCV(
      make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
      {'logisticregression__C': strengths}, cv=_FirstPart(3))
  expected = cross_val_predict(model, values.astype(float), labels,
                               cv=StratifiedKFold(4, shuffle=True, random_state=3))
  assert (found.labels == expected).mean() > 0.99  # float32 and float64.
  assert 0.5 < (found.labels == labels).mean() < 0.99
  assert len(found.strengths) == 4 and set(found.strengths) <= set(strengths)
  assert found.num_stopped == 0


def test_strength_is_chosen_without_the_rows_that_are_predicted():
  values, labels = _digits(2, 40)
  calls = []
  fit = linear_classifiers.fit

  def spy(rows, of_rows, **arguments):
    calls.append(len(rows))
    return fit(rows, of_rows, **arguments)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(linear_classifiers, 'fit', spy)
    linear_classifiers.cross_predict(values, labels, kind='logistic_regression', folds=5)
  assert calls == [len(labels) * 4 // 5] * 5


def test_too_few_rows_for_the_folds():
  with pytest.raises(ValueError, match='4 of class 1'):
    linear_classifiers.cross_predict(np.ones([14, 2], np.float32), np.array([0] * 10 + [1] * 4),
                                     kind='logistic_regression')
