"""scikit-learn's linear classifiers, as the weights and biases of one fully connected layer."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import threadpoolctl
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from files import memory
from files.errors import unknown_name

# Images with at most this many channels would be averaged to almost nothing.
_FEW_CHANNELS = 4
# Bytes of features that are scaled at a time.
_CHUNK = 2**24


@dataclasses.dataclass(frozen=True)
class Kind:
  """One kind of classifier.

  Attributes:
    create: makes it from a strength, a seed and scikit-learn's class_weight.
    strengths: the strengths to try. They are scikit-learn's C, the inverse of the regularization,
      for features of variance 1; a thousand features need a small C. A support vector machine with
      a large C takes as long as all others together.
    number_bytes: memory of the solver per number of the features, in addition to the scaled ones.
    output_bytes: its memory per row and class.
    weight_bytes: its memory per feature and class.
  """
  create: Callable[..., LogisticRegression | LinearSVC]
  strengths: tuple[float, ...]
  number_bytes: int = 0
  output_bytes: int = 0
  weight_bytes: int = 0


def _logistic_regression(strength: float, seed: int, class_weight: str | None
                         ) -> LogisticRegression:
  # The search for the next strength's solution begins at that of the last one.
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
  """Result of cross-validation for one strength.

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
    strength: the strength used.
    scores: of all strengths tried; empty if there was only one.
    converged: whether the last fit converged.
  """
  weights: np.ndarray
  biases: np.ndarray
  strength: float
  scores: tuple[Score, ...]
  converged: bool


def parse_strengths(text: str | None) -> list[float]:
  """Parses --regularization_strengths.

  Raises:
    ValueError: if it has anything but numbers above 0, separated by commas.
  """
  try:
    strengths = [float(number) for number in (text or '').split(',') if number.strip()]
  except ValueError as error:
    raise ValueError('--regularization_strengths: expected numbers separated by commas. Received: '
                     f'{text!r}.') from error
  _check_strengths(strengths)
  return strengths


def _check_strengths(strengths: Sequence[float]) -> None:
  if not all(np.isfinite(strength) and strength > 0 for strength in strengths):
    raise ValueError('--regularization_strengths: expected numbers above 0. Received: '
                     f'{", ".join(map(str, strengths))}.')


def default_head(shape: Sequence[int]) -> str:
  """Returns the head that a linear classifier is by default, as `custom_head.parse` takes it.

  Args:
    shape: of the features of one example.
  """
  return 'pool,fc' if len(shape) == 3 and shape[-1] > _FEW_CHANNELS else 'fc'


def rows_of(values: np.ndarray, head: str) -> np.ndarray:
  """Returns what the last layer of a linear head gets, float32 [n, features].

  Args:
    values: features, float32 [n, …].
    head: the head; if it begins with `pool`, maps are averaged.
  """
  return values.mean((1, 2)) if head.startswith('pool') else values.reshape(len(values), -1)


def fit(values: np.ndarray, labels: np.ndarray, *, kind: str, strengths: Sequence[float] = (),
        folds: int = 5, num_parts: int | None = None, seed: int = 0, is_balanced: bool = False,
        show: Callable[[Iterable, int], Iterable] = lambda items, total: items) -> Fitted:
  """Fits a classifier with the strength that does best in cross-validation, on all rows.

  Features are standardized to mean 0 and variance 1 first, in cross-validation with the statistics
  of the training folds. The result takes features that are not standardized.

  Args:
    values: [rows, features].
    labels: int64 [rows], from 0 on; every class up to the largest has rows.
    kind: a name in `KINDS`.
    strengths: values of scikit-learn's C to choose from; by default those of the kind. A single one
      is used without cross-validation.
    folds: number of folds of the cross-validation; fewer if a class has fewer rows.
    num_parts: how many of the folds are left out in turn; by default each of them. With one,
      strengths are compared on a single part of the rows, which takes less time.
    seed: seed of the folds and of the solver.
    is_balanced: whether all classes have the same weight, rather than all rows.
    show: shows the progress: an iterable, given that and its length.

  Raises:
    ValueError: if there is one class only, too few rows for cross-validation, or too little memory.
  """
  if kind not in KINDS:
    raise unknown_name('classifier', kind, KINDS)
  strengths = sorted(set(strengths or KINDS[kind].strengths))
  _check_strengths(strengths)
  counts = np.bincount(labels)
  if len(counts) < 2 or not counts.all():
    raise ValueError('Expected at least two classes, with rows of each. Received no rows of: '
                     f'{", ".join(map(str, np.flatnonzero(counts == 0))) or "a second one"}.')
  create = functools.partial(KINDS[kind].create, seed=seed,
                             class_weight='balanced' if is_balanced else None)
  _check_memory(kind, values, num_classes=len(counts), dtype=_dtype_of(create))
  scores: tuple[Score, ...] = ()
  if len(strengths) > 1:
    scores = _cross_validate(create, balanced_accuracy_score if is_balanced else accuracy_score,
                             values=values, labels=labels, strengths=strengths,
                             folds=min(folds, counts.min()), num_parts=num_parts, seed=seed,
                             show=show)
  # If several are equally good, the strongest regularization.
  best = max(scores, key=lambda score: score.mean).strength if scores else strengths[0]
  rows, model = np.arange(len(values)), create(best)
  scaler = _scaler_of(values, rows)
  converged = _converges(model, _scaled(scaler, values, rows, dtype=_dtype_of(create)), labels)
  weights, biases = _as_layer(model, scaler)
  return Fitted(weights, biases, best, scores, converged)


def _cross_validate(create: Callable, measure: Callable, *, values: np.ndarray,
                    labels: np.ndarray, strengths: Sequence[float], folds: int,
                    num_parts: int | None, seed: int, show: Callable) -> tuple[Score, ...]:
  if folds < 2:
    raise ValueError('--regularization_strengths: expected two rows of each class at least to '
                     'choose a strength by cross-validation. Received one of class '
                     f'{np.bincount(labels).argmin()}. Give a single strength, such as '
                     f'--regularization_strengths={strengths[len(strengths) // 2]:g}, or more '
                     'rows.')
  parts = list(_split(labels, folds=folds, seed=seed))[:num_parts]
  found = [_accuracies(create, measure, values=values, labels=labels, strengths=strengths,
                       fitted=fitted, left_out=left_out)
           for fitted, left_out in show(parts, len(parts))]
  return tuple(Score(strength, accuracies)
               for strength, accuracies in zip(strengths, zip(*found, strict=True), strict=True))


def _split(labels: np.ndarray, *, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
  """Yields, for each fold, the rows outside it and those in it; classes are spread evenly."""
  return StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)


class Predictions(NamedTuple):
  """What cross-validation predicts for each row, by a classifier that was fitted without it.

  Attributes:
    labels: the predicted labels, int64 [rows].
    strengths: the strength that was chosen in each fold.
    num_stopped: number of fits that stopped before they converged.
  """
  labels: np.ndarray
  strengths: tuple[float, ...]
  num_stopped: int


def cross_predict(values: np.ndarray, labels: np.ndarray, *, kind: str,
                  strengths: Sequence[float] = (), folds: int = 5, seed: int = 0,
                  show: Callable[[Iterable, int], Iterable] = lambda items, total: items
                  ) -> Predictions:
  """Predicts each row with a classifier that was fitted to the other folds.

  The strength is chosen for each fold anew, from its training rows alone: on a fifth of them, by
  classifiers that were fitted to the rest.

  Args:
    values, labels, kind, strengths, seed, show: see `fit`.
    folds: number of folds; every class has at least as many rows, and three.

  Raises:
    ValueError: if a class has too few rows; see also `fit`.
  """
  fewest = np.bincount(labels).min()
  if fewest < max(folds, 3):
    raise ValueError(f'Expected at least {max(folds, 3)} rows of each class for {folds} folds. '
                     f'Received: {fewest} of class {np.bincount(labels).argmin()}.')
  found, chosen, num_stopped = np.empty(len(labels), np.int64), [], 0
  for rows, left_out in show(list(_split(labels, folds=folds, seed=seed)), folds):
    fitted = fit(values[rows], labels[rows], kind=kind, strengths=strengths, num_parts=1,
                 seed=seed)
    found[left_out] = (values[left_out] @ fitted.weights + fitted.biases).argmax(axis=1)
    chosen.append(fitted.strength)
    num_stopped += not fitted.converged
  return Predictions(found, tuple(chosen), num_stopped)


def _accuracies(create: Callable, measure: Callable, *, values: np.ndarray, labels: np.ndarray,
                strengths: Sequence[float], fitted: np.ndarray,
                left_out: np.ndarray) -> list[float]:
  """Fits some rows with each strength, and measures the accuracy on those left out.

  GridSearchCV with a pipeline chooses the same strength, but fits each from zero and scales a copy
  of all rows: 1.3 times the time and 1.5 times the memory for 4,000 × 2,048 features (measured).
  """
  scaler, dtype = _scaler_of(values, fitted), _dtype_of(create)
  inputs, held_out = (_scaled(scaler, values, rows, dtype=dtype) for rows in (fitted, left_out))
  model, found = create(strengths[0]), []
  for strength in strengths:
    _converges(model.set_params(C=strength), inputs, labels[fitted])
    found.append(float(measure(labels[left_out], model.predict(held_out))))
  return found


def _dtype_of(create: Callable) -> np.dtype:
  """Returns the type in which scikit-learn computes on float32; other types would be copied.

  Which solvers keep float32 depends on its version.
  """
  model = create(1.0)
  _converges(model, np.array([[0], [1]], np.float32), np.arange(2))
  return model.coef_.dtype


def _check_memory(kind: str, values: np.ndarray, *, num_classes: int, dtype: np.dtype) -> None:
  """Raises a ValueError now if the memory cannot suffice, rather than after hours of work."""
  of, (rows, features), there = KINDS[kind], values.shape, memory.available()
  needed = (values.nbytes + values.size * (dtype.itemsize + of.number_bytes)
            + num_classes * (rows * of.output_bytes + features * of.weight_bytes))
  if needed > there:
    raise ValueError(
        f'{kind}: expected features that fit in the memory, {there / 2**30:,.1f} GiB, '
        f'with what scikit-learn makes of them. Received {rows:,} × {features:,} and {num_classes} '
        f'classes, which take {needed / 2**30:,.1f} GiB at least. Use fewer '
        'images, or train_on_features.py --classifier=softmax, which makes no copy of them.')


def _chunks(values: np.ndarray, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
  """Yields some rows part by part: which ones of `rows`, and their values as float64."""
  size = max(1, _CHUNK // max(1, 8 * values.shape[1]))
  for start in range(0, len(rows), size):
    part = slice(start, start + size)
    yield part, np.asarray(values[rows[part]], np.float64)


def _scaler_of(values: np.ndarray, rows: np.ndarray) -> StandardScaler:
  """Returns the scaling of features to mean 0 and variance 1 over some rows."""
  scaler = StandardScaler()
  for _, chunk in _chunks(values, rows):
    scaler.partial_fit(chunk)
  return scaler


def _scaled(scaler: StandardScaler, values: np.ndarray, rows: np.ndarray, *,
            dtype: np.dtype) -> np.ndarray:
  """Returns some rows scaled, [rows, features], without another copy of them."""
  scaled = np.empty([len(rows), values.shape[1]], dtype)
  for part, chunk in _chunks(values, rows):
    scaled[part] = scaler.transform(chunk)
  return scaled


def _converges(model: LogisticRegression | LinearSVC, values: np.ndarray,
               labels: np.ndarray) -> bool:
  """Fits a model; returns whether it converged within its iterations."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always', ConvergenceWarning)
    # The products are small: on a busy machine, several threads mostly wait for each other.
    with threadpoolctl.threadpool_limits(1):
      model.fit(values, labels)
  return not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _as_layer(model: LogisticRegression | LinearSVC,
              scaler: StandardScaler) -> tuple[np.ndarray, np.ndarray]:
  """Returns weights [features, classes] and biases of features that are not scaled."""
  weights = model.coef_.T / scaler.scale_[:, np.newaxis]
  biases = model.intercept_ - scaler.mean_ @ weights
  if weights.shape[1] == 1:  # Two classes have one column: the logit of the second.
    weights = np.concatenate([-weights / 2, weights / 2], axis=1)
    biases = np.concatenate([-biases / 2, biases / 2])
  return weights.astype(np.float32), biases.astype(np.float32)


def table(scores: Sequence[Score], *, is_balanced: bool = False) -> str:
  """Formats the result of cross-validation, one line per strength; `is_balanced` as in `fit`."""
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
