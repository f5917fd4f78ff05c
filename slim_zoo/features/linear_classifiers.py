"""scikit-learn's linear classifiers, as the weights and biases of one fully connected layer."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from files import memory
from files.errors import unknown_name

# Bytes of features that are scaled at a time.
_CHUNK = 2**24


@dataclasses.dataclass(frozen=True)
class Kind:
  """One kind of classifier.

  Attributes:
    create: makes it from a strength, a seed, and how classes count, scikit-learn's class_weight.
    strengths: the strengths to try. They are scikit-learn's C, the inverse of the regularization,
      for features of variance 1; a thousand of those want little of it. A support vector machine
      with much of it takes as long as all others together.
    number_bytes: what the solver keeps of each number of the features, besides the scaled ones.
    output_bytes: what it keeps of each row and class.
    weight_bytes: what it keeps of each feature and class.
  """
  create: Callable[[float, int, str | None], LogisticRegression | LinearSVC]
  strengths: tuple[float, ...]
  number_bytes: int = 0
  output_bytes: int = 0
  weight_bytes: int = 0


def _logistic_regression(strength: float, seed: int, class_weight: str | None
                         ) -> LogisticRegression:
  # One strength's solution is where the search for the next begins.
  return LogisticRegression(C=strength, max_iter=2000, warm_start=True, random_state=seed,
                            class_weight=class_weight)


def _linear_svm(strength: float, seed: int, class_weight: str | None) -> LinearSVC:
  return LinearSVC(C=strength, dual='auto', max_iter=5000, random_state=seed,
                   class_weight=class_weight)


KINDS = {
    # LIBLINEAR makes a pair of an index and a float64 of each number.
    'linear_svm': Kind(_linear_svm, (1e-5, 1e-4, 1e-3, 1e-2), number_bytes=16),
    # Logits and their gradients; and of L-BFGS 25 float64, most of them its last ten steps.
    'logistic_regression': Kind(_logistic_regression, (1e-4, 1e-3, 1e-2, 1e-1, 1.0),
                                output_bytes=8, weight_bytes=200),
}


@dataclasses.dataclass(frozen=True)
class Score:
  """What cross-validation found for one strength.

  Attributes:
    strength: scikit-learn's C.
    accuracies: of the rows left out of each fold, in [0, 1]; mean recalls where all classes count
      alike.
  """
  strength: float
  accuracies: tuple[float, ...]

  @property
  def mean(self) -> float:
    """The mean accuracy."""
    return float(np.mean(self.accuracies))


@dataclasses.dataclass(frozen=True)
class Fitted:
  """A classifier: logits are values @ weights + biases.

  Attributes:
    weights: float32 [features, classes].
    biases: float32 [classes].
    strength: the one that was used.
    scores: of all that were tried; empty if there was one only.
    converged: whether the last fit came to its end.
  """
  weights: np.ndarray
  biases: np.ndarray
  strength: float
  scores: tuple[Score, ...]
  converged: bool


def fit(values: np.ndarray, labels: np.ndarray, *, kind: str, strengths: Sequence[float] = (),
        folds: int = 5, seed: int = 0, is_balanced: bool = False,
        show: Callable[[Iterable, int], Iterable] = lambda items, total: items) -> Fitted:
  """Fits a classifier with the strength that does best in cross-validation, on all rows.

  Features are brought to mean 0 and variance 1 first, in cross-validation by the rows that are
  fitted alone; the result takes them as they were.

  Args:
    values: [rows, features].
    labels: int64 [rows], from 0 on; every class up to the largest has rows.
    kind: a name in `KINDS`.
    strengths: to choose from, scikit-learn's C; by default the kind's. A single one is used as it
      is.
    folds: of the cross-validation; fewer where a class has fewer rows.
    seed: what the folds, and what is random in a fit, depend on.
    is_balanced: whether all classes count alike, rather than by their rows.
    show: shows the progress: an iterable, given that and its length.

  Raises:
    ValueError: if there is nothing to choose between, too few rows to choose by, or too little
      memory for them.
  """
  if kind not in KINDS:
    raise unknown_name('classifier', kind, KINDS)
  strengths = sorted(set(strengths or KINDS[kind].strengths))
  if not all(np.isfinite(strength) and strength > 0 for strength in strengths):
    raise ValueError('--regularization_strengths: expected numbers above 0. Received: '
                     f'{", ".join(map(str, strengths))}.')
  counts = np.bincount(labels)
  if len(counts) < 2 or not counts.all():
    raise ValueError('Expected rows of every class, of two at least. Received none of: '
                     f'{", ".join(map(str, np.flatnonzero(counts == 0))) or "a second one"}.')
  create = functools.partial(KINDS[kind].create, seed=seed,
                             class_weight='balanced' if is_balanced else None)
  _check_memory(kind, values, len(counts), _dtype_of(create))
  scores = ()
  if len(strengths) > 1:
    scores = _cross_validate(create, balanced_accuracy_score if is_balanced else accuracy_score,
                             values, labels, strengths, min(folds, counts.min()), seed, show)
  # Of equals the strongest regularization.
  best = max(scores, key=lambda score: score.mean).strength if scores else strengths[0]
  rows, model = np.arange(len(values)), create(best)
  scaler = _scaler_of(values, rows)
  converged = _converges(model, _scaled(scaler, values, rows, _dtype_of(create)), labels)
  weights, biases = _as_layer(model, scaler)
  return Fitted(weights, biases, best, scores, converged)


def _cross_validate(create: Callable, measure: Callable, values: np.ndarray, labels: np.ndarray,
                    strengths: Sequence[float], folds: int, seed: int,
                    show: Callable) -> tuple[Score, ...]:
  if folds < 2:
    raise ValueError('--regularization_strengths: expected two rows of each class at least to '
                     'choose a strength by cross-validation. Received one of class '
                     f'{np.bincount(labels).argmin()}. Give a single strength, such as '
                     f'--regularization_strengths={strengths[len(strengths) // 2]:g}, or more '
                     'rows.')
  parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(values, labels)
  found = [_accuracies(create, measure, values, labels, strengths, *part)
           for part in show(list(parts), folds)]
  return tuple(Score(strength, accuracies)
               for strength, accuracies in zip(strengths, zip(*found, strict=True), strict=True))


def _accuracies(create: Callable, measure: Callable, values: np.ndarray, labels: np.ndarray,
                strengths: Sequence[float], fitted: np.ndarray,
                left_out: np.ndarray) -> list[float]:
  """Measures the rows left out, for each strength, the others fitted."""
  scaler, dtype = _scaler_of(values, fitted), _dtype_of(create)
  inputs, held_out = (_scaled(scaler, values, rows, dtype) for rows in (fitted, left_out))
  model, found = create(strengths[0]), []
  for strength in strengths:
    _converges(model.set_params(C=strength), inputs, labels[fitted])
    found.append(float(measure(labels[left_out], model.predict(held_out))))
  return found


def _dtype_of(create: Callable) -> np.dtype:
  """Returns what scikit-learn computes in, given float32; it would copy numbers of another type.

  Which of its solvers keep float32 depends on its version.
  """
  model = create(1.0)
  _converges(model, np.array([[0], [1]], np.float32), np.arange(2))
  return model.coef_.dtype


def _check_memory(kind: str, values: np.ndarray, num_classes: int, dtype: np.dtype) -> None:
  """Stops before hours of work that can only end for want of memory."""
  of, (rows, features), there = KINDS[kind], values.shape, memory.available()
  needed = (values.nbytes + values.size * (dtype.itemsize + of.number_bytes)
            + num_classes * (rows * of.output_bytes + features * of.weight_bytes))
  if needed > there:
    raise ValueError(
        f'--classifier={kind}: expected features that fit in the memory, {there / 2**30:,.1f} GiB, '
        f'with what scikit-learn makes of them. Received {rows:,} × {features:,} and {num_classes} '
        f'classes, which take {needed / 2**30:,.1f} GiB at least. Use --classifier=softmax, which '
        'makes no copy of them, or fewer rows.')


def _chunks(values: np.ndarray, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields some rows part by part: which ones of `rows`, and their values as float64."""
  size = max(1, _CHUNK // max(1, 8 * values.shape[1]))
  for start in range(0, len(rows), size):
    part = slice(start, start + size)
    yield part, np.asarray(values[rows[part]], np.float64)


def _scaler_of(values: np.ndarray, rows: np.ndarray) -> StandardScaler:
  """Returns what brings features to mean 0 and variance 1 over some rows."""
  scaler = StandardScaler()
  for _, chunk in _chunks(values, rows):
    scaler.partial_fit(chunk)
  return scaler


def _scaled(scaler: StandardScaler, values: np.ndarray, rows: np.ndarray,
            dtype: np.dtype) -> np.ndarray:
  """Returns some rows as a scaler makes them, [rows, features]; no other copy is made of them."""
  scaled = np.empty([len(rows), values.shape[1]], dtype)
  for part, chunk in _chunks(values, rows):
    scaled[part] = scaler.transform(chunk)
  return scaled


def _converges(model: LogisticRegression | LinearSVC, values: np.ndarray,
               labels: np.ndarray) -> bool:
  """Fits a model; returns whether it came to its end within the iterations that it has."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always', ConvergenceWarning)
    model.fit(values, labels)
  return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _as_layer(model: LogisticRegression | LinearSVC,
              scaler: StandardScaler) -> tuple[np.ndarray, np.ndarray]:
  """Returns weights [features, classes] and biases of features that are not scaled."""
  weights = model.coef_.T / scaler.scale_[:, np.newaxis]
  biases = model.intercept_ - scaler.mean_ @ weights
  if weights.shape[1] == 1:  # One column for two classes: how much more the second is likely.
    weights = np.concatenate([-weights / 2, weights / 2], axis=1)
    biases = np.concatenate([-biases / 2, biases / 2])
  return weights.astype(np.float32), biases.astype(np.float32)


def table(scores: Sequence[Score], *, is_balanced: bool = False) -> str:
  """Formats what cross-validation found, a line for each strength; `is_balanced` as in `fit`."""
  best = max(scores, key=lambda score: score.mean)
  lines = [f'{len(scores[0].accuracies)}-fold cross-validation of the training rows:',
           f'      C  {"mean recall" if is_balanced else "accuracy":>11}    ±']
  lines += [f'{score.strength:7g}  {score.mean:11.4f}  {np.std(score.accuracies):6.4f}'
            + ('  chosen' if score is best else '') for score in scores]
  if len(scores) > 2 and best in (scores[0], scores[-1]):
    side = 'smaller' if best is scores[0] else 'larger'
    lines.append(f'The best is at the end of the list: {side} ones may be better still; see '
                 '--regularization_strengths.')
  return '\n'.join(lines)
