"""An option: one field of one frozen dataclass.

    @dataclasses.dataclass(frozen=True)
    class Optimization:
      '''Optimization.'''
      learning_rate: float = option(0.01, 'Initial learning rate.', rule=Rule.FREE, lower=0)

Everything else follows from the field: the flag with its type (from the annotation), its bounds and
its help; what a checkpoint keeps of it; and whether a resumed run may change it.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import os
import types
import typing
from collections.abc import Sequence
from typing import Any

from absl import flags

flags.disclaim_key_flags()  # The flags belong to the programs.

_KEY = 'option'


class Rule(enum.Enum):
  """What the metadata of a checkpoint mean for an option."""
  FIXED = 'kept with the run; a resumed run must have the same value'
  INHERITED = 'like FIXED, and a warm start takes over the value of the checkpoint'
  FREE = 'kept with the run; a resumed run may change it'
  COMMAND = 'of one call of a program; not kept'


class Path(enum.Enum):
  """What a program does with a path."""
  READ = 'read'
  WRITTEN = 'written'


@dataclasses.dataclass(frozen=True)
class Option:
  """One option of a program.

  Attributes:
    name: the field's and the flag's name.
    kind: bool, int, float or str.
    default: the value of the flag if it is not given.
    is_optional: whether None is a value.
    help: the text of the flag.
    rule: what the metadata of a checkpoint mean for it.
    choices: the values that it can have; () for any.
    lower, upper: bounds of a number, both included.
    path: whether it is a path, and of what kind.
    open_value: a value that leaves the choice to the checkpoint, or to the program.
    instead_of: another option that says the same thing; only one of them may be given.
    needs: another option, and the values of it with which this one has an effect; no values stand
      for any but None and 0.
    is_of_tf_slim: whether a run goes on without what it needs, and says so: TF-Slim's command lines
      have flags without effect.
    is_common: whether --help shows it; --helpfull shows all.
  """
  name: str
  kind: type
  default: Any
  is_optional: bool
  help: str
  rule: Rule = Rule.COMMAND
  choices: tuple[str, ...] = ()
  lower: Any = None
  upper: Any = None
  path: Path | None = None
  open_value: str | None = None
  instead_of: str | None = None
  needs: tuple[str, tuple[str, ...]] | None = None
  is_of_tf_slim: bool = False
  is_common: bool = False

  @property
  def is_kept(self) -> bool:
    """Whether a checkpoint keeps the value."""
    return self.rule is not Rule.COMMAND

  def parser(self) -> flags.ArgumentParser:
    """Returns absl's parser of the flag."""
    if self.path:
      return PathParser(is_written=self.path is Path.WRITTEN)
    if self.choices:
      return flags.EnumParser(list(self.choices))
    if self.kind is bool:
      return flags.BooleanParser()
    if self.kind is int:
      return flags.IntegerParser(self.lower, self.upper)
    if self.kind is float:
      return flags.FloatParser(self.lower, self.upper)
    return flags.ArgumentParser()

  def define(self, values: flags.FlagValues) -> None:
    """Defines the flag."""
    if self.kind is bool:
      flags.DEFINE_boolean(self.name, self.default, self.help, flag_values=values)
    else:
      flags.DEFINE_flag(flags.Flag(self.parser(), flags.ArgumentSerializer(), self.name,
                                   self.default, self.help), values)

  def resolve(self, value: Any) -> Any:
    """Returns what a value means, as checkpoints keep it; None leaves the choice open."""
    if value == self.open_value:
      return None
    return absolute(value) if self.path else value


def option(default: Any, text: str, *, rule: Rule = Rule.COMMAND, choices: Sequence[str] = (),
           lower: float | None = None, upper: float | None = None, path: Path | None = None,
           open_value: str | None = None, instead_of: str | None = None,
           needs: tuple[str, tuple[str, ...]] | None = None, of_tf_slim: bool = False,
           common: bool = False) -> Any:
  """Makes the field of an option; see `Option` for the arguments."""
  return dataclasses.field(default=default, metadata={_KEY: {
      'help': text, 'rule': rule, 'choices': tuple(choices), 'lower': lower, 'upper': upper,
      'path': path, 'open_value': open_value, 'instead_of': instead_of, 'needs': needs,
      'is_of_tf_slim': of_tf_slim, 'is_common': common}})


@functools.cache
def options_of_topic(topic: Any) -> dict[str, Option]:
  """Returns the options of one dataclass by name."""
  hints = typing.get_type_hints(topic)
  return {field.name: _make(field, hints[field.name]) for field in dataclasses.fields(topic)}


def _make(field: dataclasses.Field, hint: Any) -> Option:
  """Makes the option of a field, whose annotation is such as `int` or `int | None`."""
  is_optional = isinstance(hint, types.UnionType)
  kinds = typing.get_args(hint) if is_optional else (hint,)
  return Option(field.name, kinds[0], field.default, is_optional, **field.metadata[_KEY])


class PathParser(flags.ArgumentParser):
  """Parses a path, in which `~` and `~user` are expanded.

  Shells expand `~` only at the beginning of a word, and not in `--train_dir=~/run`.

  Attributes:
    is_written: whether the program writes there.
  """

  def __init__(self, *, is_written: bool):
    self.is_written = is_written
    super().__init__()

  def parse(self, argument: Any) -> str:
    """Expands a path.

    Raises:
      ValueError: if it is a URL and the program writes there: that would make a local directory
        called `gs:`, in which nobody would find the results.
    """
    path = expand(super().parse(argument))
    if self.is_written and '://' in path:
      raise ValueError('expected a directory on this machine, or one that is mounted')
    return path


def define_path(name: str, default: str | None, text: str, *, is_written: bool = False) -> None:
  """Defines a flag that is a path, for a script that has no config.

  Args:
    name: of the flag.
    default: its default.
    text: its help.
    is_written: whether the script writes there, so that a URL such as gs://bucket/run is refused.
  """
  flags.DEFINE_flag(flags.Flag(PathParser(is_written=is_written), flags.ArgumentSerializer(),
                               name, default, text))


def expand(path: Any) -> str:
  """Expands `~` and `~user` at the beginning of a path, if there is such a user."""
  return os.path.expanduser(path)


def absolute(path: Any) -> Any:
  """Makes a local path absolute, so that other programs and later runs find it too."""
  if not path or '://' in path or path.startswith('zoo:'):  # The name of published weights.
    return path
  return os.path.abspath(expand(path))
