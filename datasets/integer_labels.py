"""Classes for integer labels: the name of a class is its integer as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

LARGEST = 2**63 - 1
# Labels are sparse if the largest is at least 10 times the number of distinct labels plus 1000.
_MOST_PER_CLASS, _MOST_EMPTY = 10, 1000
_SHOWN = 3
_MOST_DIGITS = len(str(LARGEST))


class Classes(NamedTuple):
  """The classes of integer labels.

  Attributes:
    names: one name per class.
    values: int64 [classes], the label of each class, ascending; None if label i is class i.
  """
  names: tuple[str, ...]
  values: np.ndarray | None

  def of(self, labels: np.ndarray) -> np.ndarray:
    """The class of each label, int64; every label must be one of `values`."""
    return labels if self.values is None else np.searchsorted(self.values, labels)

  @property
  def notes(self) -> tuple[str, ...]:
    """Notes for the user; none if label i is class i."""
    if self.values is None:
      return ()
    count = len(self.names)
    return (f'labels {_ends(self.names)} → '
            + (f'classes {_ends(list(map(str, range(count))))}' if count > 1 else 'class 0'),)


def value(text: str) -> int:
  """Parses an integer. More digits than `LARGEST` has give LARGEST + 1: Python limits them."""
  digits = text.lstrip('-').lstrip('0') or '0'
  found = int(digits) if len(digits) <= _MOST_DIGITS else LARGEST + 1
  return -found if text.startswith('-') else found


def of_values(labels: Iterable[np.ndarray]) -> Classes:
  """Makes one class of each distinct label, in ascending order.

  Args:
    labels: arrays of integers in [0, 2**63).
  """
  values = _distinct(labels)
  names = tuple(map(str, values.tolist()))
  return Classes(names, None if _is_range(values) else values)


def up_to_largest(labels: Sequence[np.ndarray],
                  every_split: Callable[[], Sequence[np.ndarray]]) -> Classes:
  """Makes a class of every integer up to the largest label, as TF-Slim does.

  Sparse labels are not class numbers but, for example, database keys; then each distinct label of
  all splits becomes a class, as in `of_values`.

  Args:
    labels: the split's labels, arrays of integers in [0, 2**63).
    every_split: returns the labels of all splits; called only if those of the split are sparse.
  """
  if is_sparse(labels):
    labels = every_split()
    if is_sparse(labels):
      return of_values(labels)
  return Classes(tuple(map(str, range(_largest(labels) + 1))), None)


def is_sparse(labels: Iterable[np.ndarray]) -> bool:
  """Whether most integers up to the largest label would be classes without examples."""
  labels = list(labels)
  return _largest(labels) >= _MOST_PER_CLASS * len(_distinct(labels)) + _MOST_EMPTY


def _distinct(labels: Iterable[np.ndarray]) -> np.ndarray:
  return np.unique(np.concatenate([np.zeros(0, np.int64), *map(np.unique, labels)]))


def _largest(labels: Iterable[np.ndarray]) -> int:
  return max((int(found.max()) for found in labels if len(found)), default=-1)


def _is_range(values: np.ndarray) -> bool:
  return not len(values) or (values[0] == 0 and values[-1] == len(values) - 1)


def _ends(texts: Sequence[str]) -> str:
  if len(texts) <= 2 * _SHOWN:
    return ', '.join(texts)
  return ', '.join([*texts[:_SHOWN], '…', *texts[-_SHOWN:]])
