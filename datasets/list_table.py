"""A list of images as a table: its lines, and what the first one calls their columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import cache, list_lines, list_names

# How many lines are looked at to see where there are files.
LOOKED_AT = 20
_LISTED = 8


class Table(NamedTuple):
  """A list's lines.

  Attributes:
    path: the list.
    header: the names of the columns; None if it has none.
    lines: the lines below the header.
    width: how many columns there are.
  """
  path: Path
  header: list[str] | None
  lines: list[list_lines.Line]
  width: int

  def values(self, column: int) -> Iterator[str]:
    """Yields what is in a column; '' where a line is too short."""
    return (line.cells[column] if column < len(line.cells) else '' for line in self.lines)

  def name(self, column: int) -> str:
    """A column's name in the header, '' if it has none."""
    return self.header[column] if self.header else ''

  def title(self, column: int) -> str:
    """What a column is called in messages."""
    return f'column {self.name(column)!r}' if self.name(column) else f'column {column + 1}'

  def listed(self, columns: Sequence[int]) -> str:
    """Several columns in words, by name or by number from 1."""
    names = [self.name(column) or str(column + 1) for column in columns]
    return ', '.join(names[:_LISTED]) + (f', … ({len(names)})' if len(names) > _LISTED else '')


def open_table(path: Path) -> Table:
  """Reads a list's lines and tells a header from them.

  Raises:
    ValueError: if it is empty, no text, or one of its lines is wrong; with the line.
  """
  lines = list_lines.read(path)
  header = lines[0].cells if lines and _is_header(lines, path.parent) else None
  rows = lines[1:] if header else lines
  if not rows:
    raise ValueError(f'Expected a list of images and labels. Received {path}, which is empty.')
  width = len(header or rows[0].cells)
  for line in rows:
    if header and any(line.cells[width:]):
      raise ValueError(f'Expected {width} columns, as in the header, in {path}, line '
                       f'{line.number}. Received: {shown(line)}. Put a cell that contains a '
                       'separator in double quotes.')
  return Table(path, header, rows, width)


def is_file(path) -> bool:
  """Whether a file is there; a path that cannot be one is none."""
  return os.path.isfile(path)


def _is_header(lines: Sequence[list_lines.Line], folder: Path) -> bool:
  """Whether the first line names the columns."""
  first = lines[0].cells
  if is_file(folder / first[0]):
    return False
  if list_names.is_path(first[0]):
    return True
  if any(map(list_names.is_path, first)) and any(
      list_names.is_label(cell) or list_names.may_be_label(cell) or list_names.is_split(cell)
      for cell in first):
    return True
  # Other names than these stand above files and are none.
  return any(column < len(first) and not Path(first[column]).suffix
             and is_file(folder / cell) and not is_file(folder / first[column])
             for line in lines[1:1 + LOOKED_AT] for column, cell in enumerate(line.cells))


def shown(line: list_lines.Line) -> str:
  """A line for messages."""
  return cache.printable(' | '.join(line.cells)[:200])
