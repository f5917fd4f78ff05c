"""Shared by the programs that read damaged files: flags, table of results and exit code."""

from __future__ import annotations

import collections
import math
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent import futures

from absl import app, flags

from scripts.fuzzing.runs import CRASHED, HUNG, LOADED, REFUSED, Result

FLAGS = flags.FLAGS
_OUTCOMES = (LOADED, REFUSED, CRASHED, HUNG)
_MOST_SHOWN = 20
_WIDTH = 28
HEADER = (f'{"format":{_WIDTH}}{"files":>8}' + ''.join(f'{kind:>9}' for kind in _OUTCOMES)
          + f'{"slowest ms":>12}{"peak MiB":>10}{"seconds":>9}')


def define_flags(*, seconds: int) -> None:
  """Defines the flags of both programs; `seconds` is the default of --seconds."""
  flags.DEFINE_integer('count', 10_000, 'Number of damaged files per format.', lower_bound=1)
  flags.DEFINE_integer('first', 0, 'Number of the first damaged file.', lower_bound=0)
  flags.DEFINE_string('seed', '0', 'Seed of the damage.')
  flags.DEFINE_integer('seconds', seconds, 'Seconds after which a file counts as hanging.',
                       lower_bound=1)
  flags.adopt_module_key_flags(sys.modules[__name__])


def row(name: str, results: Iterable[Result], *,
        most_mebibytes: float = math.inf) -> tuple[str, list[Result]]:
  """Counts results.

  Args:
    name: name of the format.
    results: one for each file.
    most_mebibytes: memory allowed per file, in MiB.

  Returns:
    A line of the table, and the results of files that failed.
  """
  began, counts, bad = time.monotonic(), collections.Counter[str](), []
  slowest = largest = 0.0
  for result in results:
    counts[result.outcome] += 1
    slowest, largest = max(slowest, result.milliseconds), max(largest, result.mebibytes)
    if (result.outcome in (CRASHED, HUNG) or result.events
        or result.mebibytes > most_mebibytes):
      bad.append(result)
  columns = ''.join(f'{counts[kind]:9,}' for kind in _OUTCOMES)
  return (f'{name:{_WIDTH}}{counts.total():8,}{columns}'
          f'{slowest:12,.1f}{largest:10,.1f}{time.monotonic() - began:9.0f}'), bad


def print_table(names: Sequence[str], read: Callable[[str], Iterable[Result]],
                describe: Callable[[str, Result], str], *, processes: int = 1,
                most_mebibytes: float = math.inf) -> int:
  """Reads the damaged files of every format and prints the table.

  Args:
    names: the formats.
    read: `read(name)` yields the results of a format.
    describe: `describe(name, result)` describes what a file did wrong.
    processes: number of formats to read in parallel.
    most_mebibytes: memory allowed per file, in MiB.

  Returns:
    The exit code: 1 if any file failed.
  """
  print(HEADER, flush=True)
  failures = []
  with futures.ThreadPoolExecutor(processes) as pool:
    rows = pool.map(lambda name: row(name, read(name), most_mebibytes=most_mebibytes), names)
    for name, (line, bad) in zip(names, rows, strict=True):
      print(line, flush=True)
      failures += [describe(name, result) for result in bad]
  for line in failures[:_MOST_SHOWN]:
    print(line)
  return 1 if failures else 0


def run(main: Callable[[], int]) -> None:
  """Parses the flags and runs `main`; a user error is one message and exit code 1."""
  def guarded(arguments: Sequence[str]) -> int:
    try:
      if len(arguments) > 1:
        raise ValueError(f'Expected flags of the form --name=value. Received: {arguments[1]!r}.')
      return main()
    except (ValueError, OSError) as error:
      print(f'Error: {error}', file=sys.stderr)
      return 1

  app.run(guarded)
