"""Reads thousands of damaged weight files of every format: each must load or give one clear error.

    python scripts/mutate_weights.py --count=10000

The damage is determined by --seed and the file's number: --formats=npy --first=1234 --count=1
repeats one. The exit code is 1 if any file made its reader crash, hang, raise anything except one
ValueError, do anything besides reading, or use more memory than --most_mebibytes.
"""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Iterator, Sequence

from absl import flags, logging

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from scripts.fuzzing import program, runs
from scripts.fuzzing.samples import SAMPLES

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines this script's flags."""
  program.define_flags(seconds=120)
  flags.DEFINE_list('formats', [], 'Formats to damage; by default all: ' + '; '.join(SAMPLES)
                    + '. A prefix selects all names that start with it.')
  flags.DEFINE_float('most_mebibytes', 256, 'Memory allowed per file, in MiB.')
  flags.DEFINE_integer('processes', 2, 'Number of formats to read in parallel.', lower_bound=1)


def chosen(names: Sequence[str]) -> list[str]:
  """Lists the samples whose names start with one of the given prefixes; all without prefixes.

  Raises:
    ValueError: if a prefix matches no sample.
  """
  for name in names:
    if not any(known.startswith(name) for known in SAMPLES):
      raise ValueError(f'--formats: expected some of {"; ".join(SAMPLES)}. Received: {name!r}.')
  return [known for known in SAMPLES if not names or known.startswith(tuple(names))]


def describe(name: str, result: runs.Result) -> str:
  """Describes what a file did wrong."""
  return (f'{name}, damage {result.number}: {result.outcome}, {result.mebibytes:.0f} MiB, '
          f'{result.reason:.200} {" ".join(result.events):.300}')


def main() -> int:
  """Prints the table; returns the exit code."""
  def read(name: str) -> Iterator[runs.Result]:
    return runs.read_damaged(name, FLAGS.count, seed=FLAGS.seed, first=FLAGS.first,
                             seconds=FLAGS.seconds)

  names = chosen(FLAGS.formats)
  logging.set_verbosity(logging.ERROR)  # The libraries that write the samples log a lot.
  return program.print_table(names, read, describe, processes=FLAGS.processes,
                             most_mebibytes=FLAGS.most_mebibytes)


if __name__ == '__main__':
  define_flags()
  program.run(main)
