"""`labels.txt`: the classes of a dataset, one `label:name` a line, as TF-Slim writes it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from datasets import integer_labels, list_lines

FILENAME = 'labels.txt'


def read(path) -> tuple[str, ...]:
  """Reads the class names; the position is the label.

  Where no line has a label, they are taken as the names of the labels 0, 1, ….

  Args:
    path: the file.

  Returns:
    The class names.

  Raises:
    ValueError: if it is no text, a label is missing or there twice, or some lines have labels and
      others not.
  """
  lines = list_lines.read_text(Path(path)).splitlines()
  lines = [line.strip() for line in lines if line.strip()]
  pairs = [re.fullmatch(r'(\d+)\s*:\s*(.+)', line) for line in lines]
  if any(pairs) and not all(pairs):
    raise ValueError(f'Expected every line of {path} to be "label:name", as others of it are. '
                     f'Received: {lines[pairs.index(None)]!r}.')
  if not any(pairs):
    pairs = None
    names = dict(enumerate(lines))
  else:
    names = {integer_labels.value(pair[1]): pair[2] for pair in pairs}
  if not lines or sorted(names) != list(range(len(lines))):
    raise ValueError(f'Expected {path} to name the labels 0, 1, … once each, one "label:name" a '
                     f'line. Received {len(lines)} lines, {_first_wrong(pairs)}.')
  return tuple(names[label] for label in range(len(names)))


def write(path, class_names: Sequence[str]) -> None:
  """Writes the class names as TF-Slim does.

  They may be names of folders that are not UTF-8; of line breaks in them a blank is left.
  """
  lines = [f'{label}:{" ".join(name.splitlines())}\n' for label, name in enumerate(class_names)]
  Path(path).write_text(''.join(lines), encoding='utf-8', errors='surrogateescape')


def _first_wrong(pairs) -> str:
  labels = sorted(integer_labels.value(pair[1]) for pair in pairs or ())
  for expected, label in enumerate(labels):
    if label != expected:
      return f'{label} twice' if label < expected else f'without label {expected}'
  return 'no label'
