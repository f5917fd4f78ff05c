"""The names of a run's examples, kept so that a resumed run can say which of them have changed."""

from __future__ import annotations

import collections
import csv
import gzip
import pathlib
import posixpath
import zlib
from collections.abc import Mapping, Sequence

from datasets.dataset import Dataset
from files.replacing import replacing

FILE = 'examples.csv.gz'

_COLUMNS = ('split', 'name', 'class')
# How many examples a message lists of each kind.
_LISTED = 3

# Names and classes of the examples of each split.
Known = Mapping[str, Mapping[str, str]]


def write(folder: pathlib.Path, splits: Sequence[Dataset]) -> None:
  """Writes the name and the class of every example to a run's folder.

  Args:
    folder: of the run.
    splits: what it trains on and, if it has one, what it validates on.
  """
  with replacing(folder / FILE) as aside, \
      gzip.open(aside, 'wt', newline='', encoding='utf-8', errors='surrogateescape') as file:
    rows = csv.writer(file)
    rows.writerow(_COLUMNS)
    for split in splits:
      rows.writerows((split.split_name, name, a_class) for name, a_class in _classes(split).items())


def read(folder: pathlib.Path) -> Known:
  """Reads what `write` wrote.

  Returns:
    The names; none if the file is missing or damaged, because only a message needs them.
  """
  found: dict[str, dict[str, str]] = collections.defaultdict(dict)
  try:
    with gzip.open(folder / FILE, 'rt', newline='', encoding='utf-8',
                   errors='surrogateescape') as file:
      for row in csv.DictReader(file):
        found[row['split']][row['name']] = row['class']
  except (OSError, EOFError, KeyError, ValueError, zlib.error, csv.Error):
    return {}
  return found


def changes(before: Known, splits: Sequence[Dataset]) -> str:
  """Describes how splits differ from what a run has kept of them.

  A split that is made by hashing names changes with the names, so that all are compared at once.

  Returns:
    Sentences with the first examples that were added, removed, moved to another folder, or given
    another class.
  """
  if any(split.split_name not in before for split in splits):  # A run of an earlier version.
    return 'Some examples were added, removed, renamed or moved to another class.'
  old = _together({split.split_name: before[split.split_name] for split in splits})
  new = _together({split.split_name: _classes(split) for split in splits})
  added, removed = ([name for name in one if name not in other]
                    for one, other in ((new, old), (old, new)))
  targets = _by_file(added)
  moved = {name: targets[file] for file, name in _by_file(removed).items() if file in targets}
  arrived = set(moved.values())
  sentences = {
      'Added': [name for name in added if name not in arrived],
      'Removed': [name for name in removed if name not in moved],
      'Moved': [f'{name} to {target}' for name, target in moved.items()],
      'In another class': [f'{name} ({new[name]} instead of {a_class})'
                           for name, a_class in old.items() if new.get(name, a_class) != a_class]}
  text = ' '.join(f'{what}: {_listed(names)}.' for what, names in sentences.items() if names)
  return text or ('The examples are the same, but in another order or in other splits, or the '
                  'classes have changed.')


def _together(splits: Known) -> dict[str, str]:
  """Returns the examples of all splits, with the split in a name that several of them have."""
  counts = collections.Counter(name for names in splits.values() for name in names)
  return {name if counts[name] == 1 else f'{name} of {split}': a_class
          for split, names in splits.items() for name, a_class in names.items()}


def _classes(split: Dataset) -> dict[str, str]:
  return {name: split.label_name(label)
          for name, label in zip(split.examples.names, split.labels.tolist(), strict=True)}


def _by_file(names: Sequence[str]) -> dict[str, str]:
  """Returns the names by their last part, without those that share it."""
  files = [posixpath.basename(name) for name in names]
  counts = collections.Counter(files)
  return {file: name for file, name in zip(files, names, strict=True) if counts[file] == 1}


def _listed(names: Sequence[str]) -> str:
  left = len(names) - _LISTED
  return ', '.join(names[:_LISTED]) + (f' and {left} more' if left > 0 else '')
