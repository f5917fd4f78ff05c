"""Decodes thousands of damaged images of every format: each must decode, or be one clear error.

    python scripts/mutate_images.py --count=10000

Damages follow from --seed and their numbers: --formats=png --first=1234 --count=1 repeats one. The
exit code is 1 if any file crashed or hung its decoder, or raised anything but the error of a bad
image; such files are kept in --bad_files_dir.
"""

from __future__ import annotations

import collections
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence

from absl import app, flags

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from scripts.fuzzing import image_mutations, image_samples, runs
from scripts.fuzzing.runs import CRASHED, HUNG, LOADED, REFUSED
from slim_zoo.config import option as options

FLAGS = flags.FLAGS
_MOST_SHOWN = 20


def define_flags() -> None:
  """Defines this script's flags."""
  flags.DEFINE_integer('count', 10_000, 'Damaged files of each format.', lower_bound=1)
  flags.DEFINE_integer('first', 0, 'Number of the first damage.', lower_bound=0)
  flags.DEFINE_string('seed', '0', 'Seed of the damages.')
  flags.DEFINE_multi_enum('formats', list(image_samples.FORMATS), list(image_samples.FORMATS),
                          'Formats to damage; may be given several times.')
  flags.DEFINE_integer('seconds', 60, 'After so many, a file counts as one that hangs.',
                       lower_bound=1)
  options.define_path('bad_files_dir', os.path.join(tempfile.gettempdir(), 'mutate_images'),
                         'Directory for files that crash or hang.', is_written=True)


def keep(name: str, result: runs.Result, *, seed: str, folder: pathlib.Path) -> str:
  """Writes the file of a result to a folder; returns a line about it."""
  samples = [*image_samples.samples(name).values()]
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{seed}_{result.number}.{name}'
  path.write_bytes(image_mutations.damaged(name, samples, f'{seed} {result.number}'))
  return f'{path}: {result.outcome}: {result.reason:.300}'


def row(name: str, results: Iterable[runs.Result]) -> tuple[str, list[runs.Result]]:
  """Counts results.

  Returns:
    A line of the table, and the results of files that crashed or hung.
  """
  began, slowest, counts, bad = time.monotonic(), 0.0, collections.Counter(), []
  for result in results:
    counts[result.outcome] += 1
    slowest = max(slowest, result.milliseconds)
    if result.outcome in (CRASHED, HUNG):
      bad.append(result)
  columns = [counts.total(), *(counts[kind] for kind in (LOADED, REFUSED, CRASHED, HUNG))]
  return (f'{name:8}' + ''.join(f'{count:10,}' for count in columns)
          + f'{slowest:12,.1f}{time.monotonic() - began:9.0f}'), bad


def main() -> int:
  """Prints the table; returns the exit code."""
  print(f'{"format":8}{"files":>10}{"decoded":>10}{REFUSED:>10}{CRASHED:>10}{HUNG:>10}'
        f'{"slowest ms":>12}{"seconds":>9}', flush=True)
  failures = []
  for name in FLAGS.formats:
    line, bad = row(name, runs.decode_damaged(name, FLAGS.count, seed=FLAGS.seed,
                                              first=FLAGS.first, seconds=FLAGS.seconds))
    print(line, flush=True)
    failures += [keep(name, result, seed=FLAGS.seed, folder=pathlib.Path(FLAGS.bad_files_dir))
                 for result in bad]
  for line in failures[:_MOST_SHOWN]:
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
