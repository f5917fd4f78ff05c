"""`labels.txt`: the classes of a dataset, one `label:name` per line, as TF-Slim writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import integer_labels, list_lines

FILENAME = 'labels.txt'


class Names(NamedTuple):
  """The names of classes.

  Attributes:
    names: one per class.
    first: the label of the first class, 0 or 1; None if the file has no numbers.
  """
  names: tuple[str, ...]
  first: int | None = None


def first_note(first: int) -> tuple[str, ...]:
  """Notes for the user that labels do not start from 0."""
  return (f'Labels start from {first}: label {first} is class 0.',) if first else ()


def first_advice(first: int, label: int, num_classes: int) -> str:
  """What to do about a label that is out of range because labels start from 1; else ''."""
  return '' if first or label != num_classes else (
      f' If labels start from 1, write them before the names in {FILENAME}: 1:daisy, 2:rose ….')


def read(path) -> Names:
  """Reads class names.

  If no line has a label, the lines are the names of the labels 0, 1, …; these numbers may be
  written before the names, with a blank or a comma, as Teachable Machine does. Numbers may start
  from 1.

  Args:
    path: the file.

  Raises:
    ValueError: if it is not a text file, a label is missing or repeated, or only some lines have
      labels.
  """
  lines = list_lines.read_text(Path(path)).splitlines()
  lines = [line.strip() for line in lines if line.strip()]
  pairs = [re.fullmatch(r'(\d+)\s*:\s*(.+)', line) for line in lines]
  if any(pairs) and not all(pairs):
    raise ValueError(f'Expected every line of {path} to be "label:name", like the other lines. '
                     f'Received: {lines[pairs.index(None)]!r}.')
  if lines and not any(pairs):
    return _without_numbers(lines)
  labels = [integer_labels.value(pair[1]) for pair in pairs if pair]
  first = _first_of(sorted(labels))
  if first is None:
    raise ValueError(f'Expected {path} to name each of the labels 0, 1, … (or 1, 2, …) once, one '
                     f'"label:name" per line. Received {len(lines)} lines, {_wrong(labels)}.')
  names = {label: pair[2] for label, pair in zip(labels, pairs, strict=True) if pair}
  return Names(tuple(names[label] for label in sorted(names)), first)


def write(path, class_names: Sequence[str]) -> None:
  """Writes the class names as TF-Slim does.

  Names of folders that are not UTF-8 are written as they are; line breaks are replaced by blanks.
  """
  lines = [f'{label}:{" ".join(name.splitlines())}\n' for label, name in enumerate(class_names)]
  Path(path).write_text(''.join(lines), encoding='utf-8', errors='surrogateescape')


def _without_numbers(lines: Sequence[str]) -> Names:
  """Removes the numbers from lines such as `0 cat`; other lines are names as they are."""
  pairs = [re.fullmatch(r'(\d+)[\s,]\s*(.*\S.*)', line) for line in lines]
  numbers = [int(pair[1]) for pair in pairs if pair and len(pair[1]) < 8]
  names = tuple(pair[2] for pair in pairs if pair)
  first = _first_of(numbers)
  # Names that differ only in their number, such as `0 years` and `1 years`, keep it.
  if first is not None and len(numbers) == len(set(names)) == len(lines) > 1:
    return Names(names, first)
  return Names(tuple(lines))


def _first_of(labels: Sequence[int]) -> int | None:
  """The first of consecutive labels that start from 0 or 1; None for others."""
  for first in (0, 1):
    if labels and list(labels) == list(range(first, first + len(labels))):
      return first
  return None


def _wrong(labels: Sequence[int]) -> str:
  """Describes the first label that is missing or repeated."""
  for expected, label in enumerate(sorted(labels), int(min(labels, default=0) == 1)):
    if label != expected:
      return f'twice the label {label}' if label < expected else f'without the label {expected}'
  return 'no label'
