"""From a program's config class to flags, and from flags to a frozen config."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from absl import flags

from slim_zoo.config.option import Option, options_of_topic

Config = TypeVar('Config')


@dataclasses.dataclass(frozen=True)
class Parsed(Generic[Config]):
  """A command line.

  Attributes:
    config: the options, defaults included.
    given: names of the options that the user gave, even if with their defaults.
  """
  config: Config
  given: frozenset[str] = frozenset()

  def with_given(self, **values: Any) -> Parsed[Config]:
    """Returns the command line with other options given as well."""
    return Parsed(replace(self.config, **values), self.given | set(values))

  def without(self, *names: str) -> Parsed[Config]:
    """Returns the command line as if these options had not been given."""
    defaults = values_of(type(self.config)())
    return Parsed(replace(self.config, **{name: defaults[name] for name in names}),
                  self.given - set(names))


def topics_of(config_class: Any) -> Iterator[tuple[str, type, dict[str, Option]]]:
  """Yields (field, dataclass, options) of each topic, with the defaults of this program."""
  instance = config_class()
  for field in dataclasses.fields(config_class):
    topic = getattr(instance, field.name)
    yield field.name, topic.__class__, {
        name: dataclasses.replace(option, default=getattr(topic, name))
        for name, option in options_of_topic(topic.__class__).items()}


def options_of(config_class: type) -> dict[str, Option]:
  """Returns all options of a program by name."""
  return {name: option for _, _, options in topics_of(config_class)
          for name, option in options.items()}


def values_of(config: Any) -> dict[str, Any]:
  """Returns the values of all options by name."""
  return {name: value for field in dataclasses.fields(config)
          for name, value in vars(getattr(config, field.name)).items()}


def kept_of(config: Any) -> dict[str, Any]:
  """Returns the values that checkpoints keep, by name."""
  values = values_of(config)
  return {name: values[name] for name, option in options_of(type(config)).items() if option.is_kept}


def replace(config: Config, **values: Any) -> Config:
  """Returns a config with other values, given by the names of their options."""
  topics, left = {}, dict(values)
  for field, topic, _ in topics_of(type(config)):
    own = {name: left.pop(name) for name in [*left] if name in options_of_topic(topic)}
    if own:
      topics[field] = dataclasses.replace(getattr(config, field), **own)
  if left:
    raise TypeError(f'Expected options of {type(config).__name__}. Received: {", ".join(left)}.')
  return dataclasses.replace(config, **topics)  # type: ignore[type-var]


def define(config_class: type, values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines the flags of a program."""
  for option in options_of(config_class).values():
    option.define(values)


def read(config_class: type[Config], values: flags.FlagValues = flags.FLAGS) -> Parsed[Config]:
  """Reads the flags of a program, once they are parsed."""
  known = options_of(config_class)
  return Parsed(replace(config_class(), **{name: values[name].value for name in known}),
                frozenset(name for name in known if values[name].present))


def parse(config_class: type[Config], arguments: list[str],
          values: flags.FlagValues | None = None) -> tuple[Parsed[Config], list[str]]:
  """Parses arguments apart from the flags of the process.

  Args:
    config_class: the program's options.
    arguments: without the program's name.
    values: flags that are accepted as well; gains those of the options.

  Returns:
    The command line, and the arguments that are not flags.

  Raises:
    ValueError: if a flag is unknown or cannot have its value.
  """
  values = flags.FlagValues() if values is None else values
  values.set_gnu_getopt(True)
  define(config_class, values)
  try:
    rest = values(['program', *arguments])[1:]
  except flags.Error as error:
    raise ValueError(str(error)) from error
  return read(config_class, values), rest
