"""Reading a text file's lines as cells, separated by comma, semicolon or tab, or by blanks."""

from __future__ import annotations

import codecs
import csv
import itertools
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from files import cache

_DELIMITERS = '\t;,'
# If these first bytes contain a NUL, the file is not text, and the rest is not read.
_START_BYTES = 2**16


class Line(NamedTuple):
  """A line that is not blank: its number, from 1, and its stripped cells."""
  number: int
  cells: list[str]


def read(path: Path, *, delimiter: str | None = None, encoding: str = '') -> list[Line]:
  """Reads a text file; see `read_text`.

  Cells may be in double quotes; inside them, a quote is doubled. Cells cannot span lines.

  Args:
    path: the file.
    delimiter: separator of the cells; None finds it in the first line. If that has no comma,
      semicolon or tab, a line is a path and, after its last blank, a label.
    encoding: see `read_text`.

  Raises:
    ValueError: if it is not a text file, or a quote is not closed; the message names the line.
    OSError: if it cannot be read.
  """
  lines = read_text(path, encoding).splitlines(keepends=True)
  delimiter = delimiter or _delimiter(lines)
  cells = _delimited(path, lines, delimiter) if delimiter else _blank_separated(path, lines)
  return [Line(number, [cell.strip() for cell in found])
          for number, found in enumerate(cells, start=1) if any(found)]


def read_text(path: Path, encoding: str = '') -> str:
  """Reads a file in UTF-8 or UTF-16; bytes that are invalid in UTF-8 are kept as surrogates.

  Args:
    path: the file.
    encoding: an encoding to use in place of UTF-8.

  Raises:
    ValueError: if it is not a text file (a UnicodeDecodeError if it is not in `encoding`).
    OSError: if it cannot be read.
  """
  with open(path, 'rb') as file:
    content = file.read(_START_BYTES)
    wide = _utf16(content)
    if wide or b'\0' not in content:
      content += file.read()
  if wide:
    return _decoded(path, content, wide)
  if b'\0' in content:
    line = content[:content.index(b'\0')].count(b'\n') + 1
    raise ValueError(
        f'Expected a text file in UTF-8 or UTF-16. Received {cache.printable(path)}, which has a '
        f'zero byte in line {line}. Save it as UTF-8.')
  if encoding:
    return content.decode(encoding)
  return content.decode('utf-8-sig', 'surrogateescape')


def _utf16(start: bytes) -> str | None:
  """Recognizes UTF-16, called Unicode text by some programs, by its mark or its zero bytes."""
  if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
    return 'utf-16'
  head = start[:len(start) // 2 * 2]
  high, low = head[1::2], head[::2]
  if head and b'\0' not in low and high.count(0) > len(high) * 0.7:
    return 'utf-16-le'
  if head and b'\0' not in high and low.count(0) > len(low) * 0.7:
    return 'utf-16-be'
  return None


def _decoded(path: Path, content: bytes, encoding: str) -> str:
  try:
    return content.decode(encoding)
  except UnicodeDecodeError as error:
    raise ValueError(f'Expected a text file in UTF-8 or UTF-16. Received '
                     f'{cache.printable(path)}, which begins like UTF-16 but has invalid '
                     f'characters ({error.reason}). Save it as UTF-8.') from error


def _delimiter(lines: Sequence[str]) -> str | None:
  """Finds the separator of columns in the first line; None for blanks."""
  first = next((line for line in lines if line.strip()), '')
  outside = ''.join(first.split('"')[::2])
  best = max(_DELIMITERS, key=outside.count)
  return best if best in outside else None


def _delimited(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
  """Yields the cells of each line."""
  # The empty line at the end shows whether a quote is still open in the last line.
  reader = csv.reader(itertools.chain(lines, ['']), delimiter=delimiter, skipinitialspace=True)
  for number in range(1, len(lines) + 1):
    try:
      cells = next(reader)
    except csv.Error as error:
      if reader.line_num == number:
        raise ValueError(f'Expected a list of images and labels. Received '
                         f'{cache.printable(path)}, whose line {number} cannot be read: '
                         f'{error}.') from error
    if reader.line_num > number:
      raise _open_quote(path, number)
    yield cells


def _blank_separated(path: Path, lines: Sequence[str]) -> Iterator[list[str]]:
  """Yields [path, label] of each line, without quotes."""
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
  return ValueError('Expected every quote to be closed on its line. Received '
                    f'{cache.printable(path)}, with an open quote in line {number}. Close it or '
                    'remove it; inside quotes, write a quote twice.')
