"""Classes of labels that are integers: what a class is called is its integer as text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

LARGEST = 2**63 - 1
# How many classes more than are seen a largest label may stand for.
_MOST_PER_CLASS, _MOST_EMPTY = 10, 1000
_SHOWN = 3
_MOST_DIGITS = len(str(LARGEST))


class Classes(NamedTuple):
  """The classes that integers stand for.

  Attributes:
    names: one a class.
    values: int64 [classes], the label of each class, ascending; None where label i is class i.
  """
  names: tuple[str, ...]
  values: np.ndarray | None

  def of(self, labels: np.ndarray) -> np.ndarray:
    """The class of each label, int64; all labels must be among the values."""
    return labels if self.values is None else np.searchsorted(self.values, labels)

  @property
  def notes(self) -> tuple[str, ...]:
    """What to tell the user: nothing where label i is class i."""
    if self.values is None:
      return ()
    count = len(self.names)
    return (f'labels {_ends(self.names)} → '
            + (f'classes {_ends(list(map(str, range(count))))}' if count > 1 else 'class 0'),)


def value(text: str) -> int:
  """Reads an integer; Python refuses some with too many digits, all of which are LARGEST + 1."""
  digits = text.lstrip('-').lstrip('0') or '0'
  found = int(digits) if len(digits) <= _MOST_DIGITS else LARGEST + 1
  return -found if text.startswith('-') else found


def of_values(labels: Iterable[np.ndarray]) -> Classes:
  """Makes one class of each label that there is, in ascending order.

  Args:
    labels: arrays of integers in [0, 2**63).
  """
  values = _distinct(labels)
  names = tuple(map(str, values.tolist()))
  return Classes(names, None if _is_range(values) else values)


def up_to_largest(labels: Sequence[np.ndarray],
                  every_split: Callable[[], Sequence[np.ndarray]]) -> Classes:
  """Makes a class of every integer up to the largest label, as TF-Slim does.

  Labels that are far apart are something else, such as keys of a database; they become the classes
  of `of_values`, over all splits.

  Args:
    labels: those of the split, arrays of integers in [0, 2**63).
    every_split: gives the labels of all splits; called only if those of the split are far apart.
  """
  if is_sparse(labels):
    labels = every_split()
    if is_sparse(labels):
      return of_values(labels)
  return Classes(tuple(map(str, range(_largest(labels) + 1))), None)


def is_sparse(labels: Iterable[np.ndarray]) -> bool:
  """Whether a class for every integer up to the largest label would be mostly empty classes."""
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
