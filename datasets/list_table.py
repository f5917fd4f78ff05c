"""A list of images as a table: its lines and the names of the columns."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import list_lines, list_names
from files import cache

# Number of lines in which paths of files are looked for.
LOOKED_AT = 20
_LISTED = 8
_WINDOWS = 'cp1252'


class Table(NamedTuple):
  """A list of images.

  Attributes:
    path: the file.
    folder: the folder that relative paths of images start from.
    header: the names of the columns; None if there is no header.
    lines: the lines below the header.
    width: number of columns.
    encoding: the encoding, if it is not Unicode; else ''.
  """
  path: Path
  folder: Path
  header: list[str] | None
  lines: list[list_lines.Line]
  width: int
  encoding: str = ''

  def values(self, column: int) -> Iterator[str]:
    """Yields the values of a column; '' if a line is too short."""
    return (line.cells[column] if column < len(line.cells) else '' for line in self.lines)

  def name(self, column: int) -> str:
    """A column's name in the header, '' if it has none."""
    return self.header[column] if self.header else ''

  def title(self, column: int) -> str:
    """A column's name or number, for messages."""
    return f'column {self.name(column)!r}' if self.name(column) else f'column {column + 1}'

  def listed(self, columns: Sequence[int]) -> str:
    """Lists columns by name, or by number from 1."""
    names = [self.name(column) or str(column + 1) for column in columns]
    return ', '.join(names[:_LISTED]) + (f', … ({len(names)})' if len(names) > _LISTED else '')


def open_table(path: Path, folder: Path) -> Table:
  """Reads a list and finds its header.

  A list that is not UTF-8 is read as Windows-1252, which Excel writes, unless it names files by
  their bytes.

  Args:
    path: the list.
    folder: the folder that relative paths of images start from.

  Raises:
    ValueError: if it is empty or not a text file, or a line is wrong; the message names the line.
  """
  lines, encoding = list_lines.read(path), ''
  if _is_windows(lines, folder):
    with contextlib.suppress(UnicodeDecodeError):
      lines, encoding = list_lines.read(path, encoding=_WINDOWS), _WINDOWS
  header = lines[0].cells if lines and _is_header(lines, folder) else None
  rows = lines[1:] if header else lines
  if not rows:
    raise ValueError(f'Expected a list of images and labels. Received {path}, which is empty.')
  width = len(header or rows[0].cells)
  for line in rows:
    if header and any(line.cells[width:]):
      raise ValueError(f'Expected {width} columns, as in the header, in {path}, line '
                       f'{line.number}. Received: {shown(line)}. Put cells that contain a '
                       'separator into double quotes.')
  return Table(path, folder, header, rows, width, encoding)


def is_file(path) -> bool:
  """Whether a path is an existing file; False for invalid paths."""
  return os.path.isfile(path)


def _is_windows(lines: Sequence[list_lines.Line], folder: Path) -> bool:
  """Whether there are invalid bytes, and none in the path of a file."""
  cells = [cell for line in lines for cell in line.cells if not cell.isascii()
           and re.search('[\udc80-\udcff]', cell)]
  return bool(cells) and not any(is_file(folder / cell) for cell in cells[:LOOKED_AT])


def _is_header(lines: Sequence[list_lines.Line], folder: Path) -> bool:
  """Whether the first line is a header."""
  first = lines[0].cells
  if is_file(folder / first[0]):
    return False
  if list_names.is_path(first[0]):
    return True
  if any(map(list_names.is_path, first)) and any(
      list_names.is_label(cell) or list_names.may_be_label(cell) or list_names.is_split(cell)
      for cell in first):
    return True
  # Unknown names are a header if they are above paths of files and not paths themselves.
  return any(column < len(first) and not Path(first[column]).suffix
             and is_file(folder / cell) and not is_file(folder / first[column])
             for line in lines[1:1 + LOOKED_AT] for column, cell in enumerate(line.cells))


def shown(line: list_lines.Line) -> str:
  """A line as text, for messages."""
  return cache.printable(' | '.join(line.cells)[:200])
