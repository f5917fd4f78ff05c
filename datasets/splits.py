"""Which splits a source has, and the validation split where it has none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# The spellings of splits that sources use; 'val' is another name of 'validation'.
KNOWN = ('train', 'validation', 'val', 'test')
_ALIASES = {'val': 'validation', 'validation': 'val'}


class UnknownSplitError(ValueError):
  """A source has no such split, and none was to be made."""


def choose(split_name: str, native: Sequence[str], validation_fraction: float, source: str
           ) -> tuple[str, str | None]:
  """Says where a split comes from.

  Args:
    split_name: the split asked for.
    native: the splits that the source itself has.
    validation_fraction: share of 'train' that makes 'validation' if the source has none; with 0
      there is none then.
    source: the source in words, for messages.

  Returns:
    (the source's split to read, None if it is used whole, or else the part of it: 'train' or
    'validation').

  Raises:
    UnknownSplitError: if there is no such split.
  """
  if not 0 <= validation_fraction < 1:
    raise ValueError('Expected validation_fraction in [0, 1). '
                     f'Received: {validation_fraction}.')
  can_make = 'train' in native and not {'validation', 'val'} & set(native)
  if can_make and split_name in ('train', 'validation', 'val') and validation_fraction:
    return 'train', 'train' if split_name == 'train' else 'validation'
  if split_name in native:
    return split_name, None
  if _ALIASES.get(split_name) in native:
    return _ALIASES[split_name], None
  if split_name == 'all' and len(native) == 1:
    return native[0], None
  if can_make and split_name in ('validation', 'val'):
    raise UnknownSplitError(
        f'Expected a split of {source}. Received {split_name!r}, which it does not have, and '
        'validation_fraction is 0: set --validation_fraction, such as 0.1, to make one of train.')
  made = ['validation (made of train)'] if can_make and validation_fraction else []
  whole = ['all'] if len(native) == 1 else []
  listed = ', '.join([*native, *made, *whole]) or 'none'
  raise UnknownSplitError(
      f'Expected a split of {source}. Received {split_name!r}. Available: {listed}.')


def part_of(examples, class_names: Sequence[str], part: str, validation_fraction: float
            ) -> np.ndarray:
  """Divides examples into train and validation by a hash of their names.

  An example's side depends on its name alone, so added files move no other example; except that
  a class of which no hash falls into validation gives its smallest one, and a class of which all
  do keeps its largest one for training.

  Args:
    examples: a `dataset.Examples`.
    class_names: the classes, for messages.
    part: 'train' or 'validation'.
    validation_fraction: share of the hashes that fall into validation, in (0, 1).

  Returns:
    bool [num_examples], true for the examples of `part`.

  Raises:
    ValueError: if a class has a single example, which cannot be on both sides.
  """
  hashes = np.array([_hash(name) for name in examples.names], np.float64)
  validation = hashes < validation_fraction
  for label in np.unique(examples.labels):
    members = np.flatnonzero(examples.labels == label)
    if len(members) == 1:
      raise ValueError(
          'Expected at least two examples a class, one to train on and one to validate with. '
          f'Received one of class {class_names[label]!r}: {examples.names[members[0]]}. '
          'Add images, or use --validation_fraction=0, which makes no validation split.')
    if not validation[members].any():
      validation[members[np.argmin(hashes[members])]] = True
    elif validation[members].all():
      validation[members[np.argmax(hashes[members])]] = False
  return validation if part == 'validation' else ~validation


def _hash(name: str) -> float:
  """The name's sha256 as a number in [0, 1)."""
  digest = hashlib.sha256(name.encode('utf-8', 'surrogateescape')).digest()
  return int.from_bytes(digest[:8], 'big') / 2**64
