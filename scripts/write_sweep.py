r"""Prints the flags of training runs, one run per line: a sweep over several values of flags.

    python scripts/write_sweep.py --model_name=lenet --model_name=cifarnet \
      --learning_rate=0.01 --learning_rate=0.1 > sweep.txt

Takes the flags of train_image_classifier.py. One that is given several times has all of these
values, combined with those of the others: here there are four runs. Commas belong to a value. Each
run gets its own --train_dir in --runs_dir, named after the values that differ. The lines are for
scripts/slurm/sweep.sbatch and xargs.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import os
import pathlib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from slim_zoo.config import command_line, flag_values, programs
from slim_zoo.config import option as options

FLAGS = flags.FLAGS

_MOST_BYTES = 200  # Of a directory's name; file systems allow 255.


class _Checked(flags.ArgumentParser):
  """Checks a value as the training program does, and keeps it as it was written."""

  def __init__(self, option: options.Option):
    self._parser = option.parser()
    super().__init__()

  def parse(self, argument: Any) -> tuple[str, Any]:
    """Returns a value as it was written, and what it means.

    Raises:
      ValueError: if the training program would refuse it.
    """
    text = str(argument)
    if '\n' in text:
      raise ValueError('expected a value on one line')
    return text, self._parser.parse(argument)


class _Repeated(flags.MultiFlag):
  """A flag that may be given several times; `--name` and `--noname` if it is a boolean."""

  def __init__(self, option: options.Option):
    super().__init__(_Checked(option), None, option.name, None, option.help)
    self.boolean = option.kind is bool


def define_flags() -> None:
  """Defines the flags of this program, and those of the training program."""
  options.define_path('runs_dir', 'runs', 'Directory for the directories of the runs.',
                      is_written=True)
  for option in flag_values.options_of(programs.Train).values():
    flags.DEFINE_flag(_Repeated(option))


def lines(given: Mapping[str, Sequence[str]], runs_dir: str) -> list[str]:
  """Makes the lines of a sweep.

  Args:
    given: the values of each flag, by its name.
    runs_dir: directory for the runs.

  Returns:
    One line per combination of the values, quoted as in a shell; the last flag varies fastest.
  """
  several = [name for name, values in given.items() if len(values) > 1]
  found = []
  for values in itertools.product(*given.values()):
    run = dict(zip(given, values, strict=True))
    name = directory(','.join(f'{flag}={run[flag]}' for flag in several))
    words = [f'--train_dir={os.path.join(runs_dir, name)}',
             *(f'--{flag}={value}' for flag, value in run.items())]
    found.append(shlex.join(words))
  return found


def directory(name: str) -> str:
  """Returns a name for a directory; other characters and what is cut are replaced by a hash."""
  plain = re.sub(r'[^\w.,=+-]+', '_', name)
  if plain == name and len(os.fsencode(name)) <= _MOST_BYTES:
    return name
  digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
  return f'{plain.encode()[:_MOST_BYTES].decode(errors="ignore")}-{digest}'


def main() -> None:
  """Prints the lines."""
  if '\n' in FLAGS.runs_dir:
    raise ValueError(f'--runs_dir: expected a path on one line. Received: {FLAGS.runs_dir!r}.')
  if FLAGS['train_dir'].present:
    raise ValueError('--train_dir: expected --runs_dir, in which each run gets a directory of its '
                     f'own. Received: --train_dir={FLAGS.train_dir[0][0]}. Leave it out.')
  known = flag_values.options_of(programs.Train)
  # In the order of the options, so that a directory's name does not depend on the command line.
  given = {name: FLAGS[name].value for name in known if FLAGS[name].present}
  for name, values in given.items():
    value, count = collections.Counter(meaning for _, meaning in values).most_common(1)[0]
    if count > 1:
      raise ValueError(f'--{name}: expected a different value each time. Received: {value} {count} '
                       'times.')
  if all(len(values) == 1 for values in given.values()):
    raise ValueError('Expected: at least one flag several times with different values, such as '
                     '--learning_rate=0.01 --learning_rate=0.1. Received: '
                     f'{", ".join(f"--{name}" for name in given) or "no flag"}, once each.')
  texts = {name: [text for text, _ in values] for name, values in given.items()}
  sys.stdout.flush()
  # Paths need not be UTF-8.
  sys.stdout.buffer.write(os.fsencode(''.join(f'{line}\n' for line in
                                              lines(texts, FLAGS.runs_dir))))


if __name__ == '__main__':
  define_flags()
  command_line.run(main, uses_tensorflow=False)
