"""Reads thousands of damaged weights of every format: each must load, or be one clear error.

    python scripts/mutate_weights.py --count=10000

Damages follow from --seed and their numbers: --formats=npy --first=1234 --count=1 repeats one. The
exit code is 1 if any file crashed or hung its reader, raised anything but one ValueError, did
anything but read, or took more memory than --most_mebibytes.
"""

from __future__ import annotations

import collections
import os
import pathlib
import sys
from collections.abc import Iterable, Sequence
from concurrent import futures

from absl import app, flags, logging

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from scripts.fuzzing import runs
from scripts.fuzzing.runs import CRASHED, HUNG, LOADED, REFUSED
from scripts.fuzzing.samples import SAMPLES

FLAGS = flags.FLAGS
_MOST_SHOWN = 5


def define_flags() -> None:
  """Defines this script's flags."""
  flags.DEFINE_integer('count', 10_000, 'Damaged files of each format.', lower_bound=1)
  flags.DEFINE_integer('first', 0, 'Number of the first damage.', lower_bound=0)
  flags.DEFINE_string('seed', '0', 'Seed of the damages.')
  flags.DEFINE_list('formats', [], 'Formats to damage; by default all: ' + '; '.join(SAMPLES)
                    + '. A name with a comma is chosen by its beginning.')
  flags.DEFINE_integer('seconds', 120, 'After so many, a file counts as one that hangs.',
                       lower_bound=1)
  flags.DEFINE_float('most_mebibytes', 256, 'How much memory a file may take.')
  flags.DEFINE_integer('processes', 2, 'How many formats are read at a time.', lower_bound=1)


def chosen(names: Sequence[str]) -> list[str]:
  """Lists the samples whose names begin with one of these; all if there are none.

  Raises:
    ValueError: if a name is the beginning of none.
  """
  for name in names:
    if not any(known.startswith(name) for known in SAMPLES):
      raise ValueError(f'--formats: expected some of {"; ".join(SAMPLES)}. Received: {name!r}.')
  return [known for known in SAMPLES if not names or known.startswith(tuple(names))]


def is_bad(result: runs.Result, most_mebibytes: float) -> bool:
  """Tells whether a file did what none may."""
  return (result.outcome in (CRASHED, HUNG) or bool(result.events)
          or result.mebibytes > most_mebibytes)


def row(name: str, results: Iterable[runs.Result], most_mebibytes: float) -> tuple[str, list[str]]:
  """Counts results.

  Returns:
    A line of the table, and descriptions of the files that did what none may.
  """
  counts, bad, slowest, largest = collections.Counter(), [], 0.0, 0.0
  for result in results:
    counts[result.outcome] += 1
    slowest, largest = max(slowest, result.milliseconds), max(largest, result.mebibytes)
    if is_bad(result, most_mebibytes):
      bad.append(f'{name}, damage {result.number}: {result.outcome}, {result.mebibytes:.0f} MiB, '
                 f'{result.reason:.200} {" ".join(result.events):.300}')
  return (f'{name:30}' + ''.join(f'{counts[kind]:9,}' for kind in (LOADED, REFUSED, CRASHED, HUNG))
          + f'{slowest:12,.1f}{largest:10,.1f}'), bad


def main() -> int:
  """Prints the table; returns the exit code."""
  def read(name: str) -> tuple[str, list[str]]:
    results = runs.read_damaged(name, FLAGS.count, seed=FLAGS.seed, first=FLAGS.first,
                                seconds=FLAGS.seconds)
    return row(name, results, FLAGS.most_mebibytes)

  names = chosen(FLAGS.formats)
  logging.set_verbosity(logging.ERROR)  # The writers of the samples talk.
  print(f'{"format":30}{LOADED:>9}{REFUSED:>9}{CRASHED:>9}{HUNG:>9}{"slowest ms":>12}'
        f'{"peak MiB":>10}', flush=True)
  failures = []
  with futures.ThreadPoolExecutor(FLAGS.processes) as pool:
    for line, bad in pool.map(read, names):
      print(line, flush=True)
      failures += bad
  for line in failures[:_MOST_SHOWN * len(names)]:
    print(line)
  return 1 if failures else 0


def _guarded(arguments: Sequence[str]) -> int:
  """Runs `main`; a user's mistake ends it with one message and exit code 1."""
  try:
    if len(arguments) > 1:
      raise ValueError(f'Expected flags of the form --name=value. Received: {arguments[1]!r}.')
    return main()
  except (ValueError, OSError) as error:
    print(f'Error: {error}', file=sys.stderr)
    return 1


if __name__ == '__main__':
  define_flags()
  app.run(_guarded)
