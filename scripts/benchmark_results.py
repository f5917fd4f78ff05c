"""What the benchmarks share: rows of results, the commit they are of, and how mistakes end them."""

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
  """Defines the flag for the file of results, which is called after the program."""
  path = ROOT / 'results' / f'{pathlib.Path(program).stem}.csv'
  options.define_path('results', str(path), 'The file that gets the rows; empty for none.',
                         is_written=True)


def append(path: pathlib.Path, new: Sequence[Mapping[str, object]]) -> None:
  """Adds rows to a CSV file, which is made with its header if it does not exist.

  Raises:
    ValueError: if the file has other columns.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('a+', newline='', encoding='utf-8') as file:
    file.seek(0)
    header, columns = next(csv.reader(file), None), list(new[0])
    if header not in (None, columns):
      raise ValueError(f'{path}: expected the columns {columns}. Received: {header}. Move the file '
                       'away, or name another with --results.')
    file.seek(0, os.SEEK_END)
    writer = csv.DictWriter(file, columns, lineterminator='\n')
    if header is None:
      writer.writeheader()
    writer.writerows(new)


def commit() -> str:
  """Returns the commit that is measured, with '-dirty' if files differ from it; '' without git."""
  with contextlib.suppress(OSError):
    return subprocess.run(['git', 'describe', '--always', '--dirty', '--abbrev=12', '--exclude=*'],
                          cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
  return ''


def processor() -> str:
  """Returns the name of the processor, '' where it is not told."""
  with contextlib.suppress(OSError, TypeError):
    text = pathlib.Path('/proc/cpuinfo').read_text(encoding='utf-8')
    return re.search(r'^model name\s*: (.*)$', text, re.MULTILINE)[1]
  return platform.processor()


def run(main: Callable[[], None]) -> None:
  """Runs a program once its flags are defined.

  A user's mistake ends it with one message and exit code 1.
  """
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
