"""`labels.txt`: the classes of a dataset, one `label:name` per line, as TF-Slim writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from datasets import integer_labels, list_lines

FILENAME = 'labels.txt'


def read(path) -> tuple[str, ...]:
  """Reads the class names; the position is the label.

  If no line has a label, the lines are the names of the labels 0, 1, …; these numbers may be
  written before the names, with a blank or a comma, as Teachable Machine does.

  Args:
    path: the file.

  Returns:
    The class names.

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
  if not lines or sorted(labels) != list(range(len(lines))):
    raise ValueError(f'Expected {path} to name each of the labels 0, 1, … once, one "label:name" '
                     f'per line. Received {len(lines)} lines, {_first_wrong(labels)}.')
  names = {label: pair[2] for label, pair in zip(labels, pairs, strict=True) if pair}
  return tuple(names[label] for label in range(len(names)))


def write(path, class_names: Sequence[str]) -> None:
  """Writes the class names as TF-Slim does.

  Names of folders that are not UTF-8 are written as they are; line breaks are replaced by blanks.
  """
  lines = [f'{label}:{" ".join(name.splitlines())}\n' for label, name in enumerate(class_names)]
  Path(path).write_text(''.join(lines), encoding='utf-8', errors='surrogateescape')


def _without_numbers(lines: Sequence[str]) -> tuple[str, ...]:
  """Removes the numbers 0, 1, … from lines such as `0 cat`; other lines are names as they are."""
  pairs = [re.fullmatch(r'(\d+)[\s,]\s*(.*\S.*)', line) for line in lines]
  numbers = [int(pair[1]) for pair in pairs if pair and len(pair[1]) < 8]
  names = tuple(pair[2] for pair in pairs if pair)
  # Names that differ only in their number, such as `0 years` and `1 years`, keep it.
  is_numbered = numbers == list(range(len(lines))) and len(set(names)) == len(lines) > 1
  return names if is_numbered else tuple(lines)


def _first_wrong(labels: Sequence[int]) -> str:
  """Describes the first label that is missing or repeated."""
  for expected, label in enumerate(sorted(labels)):
    if label != expected:
      return f'twice the label {label}' if label < expected else f'without the label {expected}'
  return 'no label'
