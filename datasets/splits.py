"""Choosing a source's split, and making a validation split if the source has none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# The usual names of splits in sources; 'val' means 'validation'.
KNOWN = ('train', 'validation', 'val', 'test')
_ALIASES = {'val': 'validation', 'validation': 'val'}


class UnknownSplitError(ValueError):
  """The source has no such split, and it cannot be made."""


class UnlabelledSplitError(ValueError):
  """The images of the split have no classes."""


def choose(split_name: str, native: Sequence[str], *, validation_fraction: float, source: str
           ) -> tuple[str, str | None]:
  """Chooses the source's split to read.

  Args:
    split_name: the requested split.
    native: the splits of the source.
    validation_fraction: fraction of 'train' used as 'validation' if the source has none; 0 makes
      none.
    source: description of the source, for messages.

  Returns:
    (the source's split to read, the part of it to use: 'train', 'validation', or None for all).

  Raises:
    UnknownSplitError: if there is no such split.
  """
  if not 0 <= validation_fraction < 1:
    raise ValueError(f'Expected --validation_fraction in [0, 1). Received: {validation_fraction}.')
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
        f'Expected a split of {source}. Received: {split_name!r}, which does not exist. To make it '
        'from the training split, set for example --validation_fraction=0.1.')
  made = ['validation (made from train)'] if can_make and validation_fraction else []
  whole = ['all'] if len(native) == 1 else []
  listed = ', '.join([*native, *made, *whole]) or 'none'
  raise UnknownSplitError(
      f'Expected a split of {source}. Received: {split_name!r}. Available: {listed}.')


def part_of(examples, class_names: Sequence[str], part: str, *, validation_fraction: float,
            images: Sequence[str] | None = None,
            label_sets: Sequence[Sequence[int]] | None = None) -> np.ndarray:
  """Divides examples into training and validation by a hash of their names.

  An example's part depends only on its name, so that adding files moves no other example. There are
  three exceptions: if no example of a class falls into validation, the one with the smallest hash
  is moved there; if all do, the one with the largest hash is kept for training; and so is the only
  one of a class.

  Args:
    examples: a `dataset.Examples`.
    class_names: the classes, for messages.
    part: 'train' or 'validation'.
    validation_fraction: fraction of the range of hashes that is validation, in (0, 1).
    images: names of the images, if several examples may have the same one: they stay together.
    label_sets: the classes of each label, if examples may have several; then the first exception
      is for all examples together, and each class keeps an example for training.

  Returns:
    bool [num_examples], true for the examples of `part`.

  Raises:
    ValueError: if every class has a single image, so that there is nothing to validate on.
  """
  hashes = np.array([_hash(name) for name in images or examples.names], np.float64)
  validation = hashes < validation_fraction
  labels = examples.labels if label_sets is None else np.zeros_like(examples.labels)
  for label in np.unique(labels):
    members = np.flatnonzero(labels == label)
    of_class = hashes[members]
    if of_class.min() == of_class.max():
      validation[members] = False
    elif not validation[members].any():
      validation[members[of_class == of_class.min()]] = True
    elif validation[members].all():
      validation[members[of_class == of_class.max()]] = False
  for a_class in sorted({a_class for classes in label_sets or () for a_class in classes}):
    has_class = np.array([a_class in classes for classes in label_sets or ()])
    members = np.flatnonzero(has_class[examples.labels])
    if len(members) and validation[members].all():
      of_class = hashes[members]
      validation[members[of_class == of_class.max()]] = False
  if len(validation) and not validation.any():
    raise ValueError(
        'Expected at least two images of some class, one for training and one for validation. '
        f'Received one of each: {examples.names[0]} of the class '
        f'{class_names[labels[0]]!r}, and so on. Add images, or set '
        '--validation_fraction=0 to make no validation split.')
  return validation if part == 'validation' else ~validation


def _hash(name: str) -> float:
  """The name's sha256 as a number in [0, 1)."""
  digest = hashlib.sha256(name.encode('utf-8', 'surrogateescape')).digest()
  return int.from_bytes(digest[:8], 'big') / 2**64
