"""The lines of a text file as cells: separated by comma, semicolon or tab, or else by blanks."""

from __future__ import annotations

import csv
import itertools
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import cache

_DELIMITERS = '\t;,'
# No text begins with more than this before its first NUL, if it has any.
_START_BYTES = 2**16


class Line(NamedTuple):
  """A line that is not blank: its number, from 1, and its cells without the blanks around them."""
  number: int
  cells: list[str]


def read(path: Path, *, delimiter: str | None = None) -> list[Line]:
  """Reads a file in UTF-8; bytes that are none are kept as they are.

  Cells may be in double quotes, where a doubled quote stands for one. A cell ends on the line that
  it begins on.

  Args:
    path: the file.
    delimiter: what separates the cells; None finds it in the first line. Without a comma,
      semicolon or tab there, a line is a path and, after its last blank, a label.

  Raises:
    ValueError: if it is no text, or a quote is not closed; with the line.
    OSError: if it cannot be read.
  """
  lines = read_text(path).splitlines(keepends=True)
  delimiter = delimiter or _delimiter(lines)
  cells = _delimited(path, lines, delimiter) if delimiter else _blank_separated(path, lines)
  return [Line(number, [cell.strip() for cell in found])
          for number, found in enumerate(cells, start=1) if any(found)]


def read_text(path: Path) -> str:
  """Reads a file in UTF-8; bytes that are none are kept as they are.

  Raises:
    ValueError: if it is no text.
    OSError: if it cannot be read.
  """
  with open(path, 'rb') as file:
    content = file.read(_START_BYTES)
    if b'\0' not in content:
      content += file.read()
  if b'\0' in content:
    line = content[:content.index(b'\0')].count(b'\n') + 1
    raise ValueError(
        f'Expected a text file in UTF-8. Received {cache.printable(path)}, which has zero bytes '
        f'from line {line} on: it is no text, or in UTF-16, which some programs call Unicode text. '
        'Save it as UTF-8.')
  return content.decode('utf-8-sig', 'surrogateescape')


def _delimiter(lines: Sequence[str]) -> str | None:
  """The character that separates columns, from the first line; None for blanks."""
  first = next((line for line in lines if line.strip()), '')
  outside = ''.join(first.split('"')[::2])
  counts = {delimiter: outside.count(delimiter) for delimiter in _DELIMITERS}
  best = max(counts, key=counts.get)
  return best if counts[best] else None


def _delimited(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
  """Yields the cells of each line."""
  # After the last line comes an empty one, into which a quote runs that is still open there.
  reader = csv.reader(itertools.chain(lines, ['']), delimiter=delimiter, skipinitialspace=True)
  for number in range(1, len(lines) + 1):
    try:
      cells = next(reader)
    except csv.Error as error:
      if reader.line_num == number:
        raise ValueError(f'Expected a list of images and labels. Received '
                         f'{cache.printable(path)}, of which line {number} cannot be read: '
                         f'{error}.') from error
    if reader.line_num > number:
      raise _open_quote(path, number)
    yield cells


def _blank_separated(path: Path, lines: Sequence[str]) -> Iterator[list[str]]:
  """Yields [path, label] of each line; quotes around either are dropped."""
  for number, line in enumerate(lines, start=1):
    line = line.strip()
    if '"' not in line:
      yield line.rsplit(None, 1)
      continue
    words = shlex.shlex(line, posix=True)
    words.whitespace_split, words.commenters, words.quotes, words.escape = True, '', '"', ''
    try:
      cells = list(words)
    except ValueError:
      raise _open_quote(path, number) from None
    yield [' '.join(cells[:-1]), cells[-1]] if len(cells) > 1 else cells


def _open_quote(path: Path, number: int) -> ValueError:
  return ValueError(f'Expected every quote to be closed on its line. Received '
                    f'{cache.printable(path)}, where one opens in line {number} and is not: close '
                    'it or remove it; a quote inside of quotes is written twice.')
