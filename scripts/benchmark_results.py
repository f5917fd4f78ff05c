"""Shared by the benchmarks: rows of results, the measured commit, and handling of user errors."""

from __future__ import annotations

import contextlib
import csv
import os
import pathlib
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from absl import app

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from slim_zoo.config import option as options

ROOT = pathlib.Path(__file__).resolve().parents[1]


def define_flags(program: str) -> None:
  """Defines --results, a file named after the program by default."""
  path = ROOT / 'results' / f'{pathlib.Path(program).stem}.csv'
  options.define_path('results', str(path), 'CSV file to append the rows to; empty for none.',
                         is_written=True)


def append(path: pathlib.Path, new: Sequence[Mapping[str, object]], *,
           flag: str = '--results') -> None:
  """Appends rows to a CSV file, creating it with a header if it does not exist.

  Args:
    path: the file.
    new: the rows, all with the same columns.
    flag: the one that names the file, for the message.

  Raises:
    ValueError: if the file has other columns.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('a+', newline='', encoding='utf-8') as file:
    file.seek(0)
    header, columns = next(csv.reader(file), None), list(new[0])
    if header not in (None, columns):
      raise ValueError(f'{path}: expected the columns {columns}. Received: {header}. Move the file '
                       f'away, or choose another with {flag}.')
    file.seek(0, os.SEEK_END)
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    if header is None:
      writer.writeheader()
    writer.writerows(new)


def commit() -> str:
  """Returns the measured commit; '' without git.

  '-dirty' is added if files other than results differ from it.
  """
  def git(*arguments: str) -> str:
    return subprocess.run(['git', *arguments], cwd=ROOT, capture_output=True, text=True,
                          check=False).stdout.strip()

  with contextlib.suppress(OSError):
    changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!results')
    return git('describe', '--always', '--abbrev=12', '--exclude=*') + ('-dirty' if changed else '')
  return ''


def processor() -> str:
  """Returns the name of the processor, '' if unknown."""
  with contextlib.suppress(OSError, TypeError):
    text = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8')
    return re.search(r'^model name\s*: (.*)$', text, re.MULTILINE)[1]
  return platform.processor()


def run(main: Callable[[], None]) -> None:
  """Runs a program whose flags are defined; a user error is one message and exit code 1."""
  def guarded(arguments: Sequence[str]) -> int:
    try:
      if len(arguments) > 1:
        raise ValueError(f'Expected flags of the form --name=value. Received: {arguments[1]!r}.')
      main()
    except (ValueError, OSError) as error:
      print(f'Error: {error}', file=sys.stderr)
      return 1
    return 0

  app.run(guarded)
