"""Decodes thousands of damaged images of every format: each must decode or give one clear error.

    python scripts/mutate_images.py --count=10000

The damage is determined by --seed and the file's number: --formats=png --first=1234 --count=1
repeats one. The exit code is 1 if any file made its decoder crash, hang or raise anything except
the error for a bad image; such files are kept in --bad_files_dir.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from collections.abc import Iterator

from absl import flags

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from scripts.fuzzing import image_mutations, image_samples, program, runs
from slim_zoo.config import option as options

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines this script's flags."""
  program.define_flags(seconds=60)
  flags.DEFINE_multi_enum('formats', list(image_samples.FORMATS), list(image_samples.FORMATS),
                          'Formats to damage; can be repeated.')
  options.define_path('bad_files_dir', os.path.join(tempfile.gettempdir(), 'mutate_images'),
                         'Directory for files that crash or hang.', is_written=True)


def keep(name: str, result: runs.Result, *, seed: str, folder: pathlib.Path) -> str:
  """Saves a result's damaged file to a folder; returns a line that describes it."""
  samples = [*image_samples.samples(name).values()]
  folder.mkdir(parents=True, exist_ok=True)
  path = folder / f'{seed}_{result.number}.{name}'
  path.write_bytes(image_mutations.damaged(name, samples, f'{seed} {result.number}'))
  return f'{path}: {result.outcome}: {result.reason:.300}'


def main() -> int:
  """Prints the table; returns the exit code."""
  def read(name: str) -> Iterator[runs.Result]:
    return runs.decode_damaged(name, FLAGS.count, seed=FLAGS.seed, first=FLAGS.first,
                               seconds=FLAGS.seconds)

  def describe(name: str, result: runs.Result) -> str:
    return keep(name, result, seed=FLAGS.seed, folder=pathlib.Path(FLAGS.bad_files_dir))

  return program.print_table(FLAGS.formats, read, describe)


if __name__ == '__main__':
  define_flags()
  program.run(main)
