"""Flags and arguments that are paths: `~` is the user's home in them, as in a shell.

Shells expand `~` only where a word begins with it, and not in `--train_dir=~/run`.
"""

from __future__ import annotations

import os
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # They belong to the programs, whose --help shows them.


class _PathParser(flags.ArgumentParser):
  """Parses a path.

  Attributes:
    is_written: whether the program writes there.
  """

  def __init__(self, *, is_written: bool):
    self.is_written = is_written
    super().__init__()

  def parse(self, argument: Any) -> str:
    """Expands a path; see `define_path`.

    Raises:
      ValueError: if it is a URL and the program writes there: a folder called `gs:` would be filled
        and never found.
    """
    path = expand(super().parse(argument))
    if self.is_written and '://' in path:
      raise ValueError('expected a folder of this machine, or one that is mounted')
    return path


def define_path(name: str, default: str | None, text: str, *, is_written: bool = False) -> None:
  """Defines a flag that is a path, whose value has `~` and `~user` expanded.

  Args:
    name: of the flag.
    default: its default.
    text: its help.
    is_written: whether the program writes there, so that it must be no URL such as gs://bucket/run.
  """
  flags.DEFINE_flag(flags.Flag(_PathParser(is_written=is_written), flags.ArgumentSerializer(),
                               name, default, text))


def is_path(flag: flags.Flag) -> bool:
  """Tells whether a flag was defined by `define_path`."""
  return isinstance(flag.parser, _PathParser)


def expand(path: str) -> str:
  """Expands `~` and `~user` at the beginning of a path; what is no user's name stays as it is."""
  return os.path.expanduser(path)
