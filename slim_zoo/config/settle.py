"""Settling options: a given flag counts first, then what a checkpoint keeps, then the default."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from slim_zoo.config.flag_values import Config, Parsed, options_of, replace, values_of
from slim_zoo.config.option import Option


def settle(parsed: Parsed[Config], saved: Mapping[str, Any], *, source: str,
           names: Collection[str], may_change: Collection[str] = (),
           checked: Collection[str] | None = None,
           resolve: Mapping[str, Callable[[Any], Any]] | None = None) -> Config:
  """Settles options with what a checkpoint keeps of them.

  Args:
    parsed: the command line.
    saved: what the checkpoint keeps, by name; may lack options, or have others.
    source: where it is, for messages.
    names: the options to settle; others stay as they are.
    may_change: options that may differ from what is saved; a difference is printed.
    checked: the given options that must have an effect; by default all that are given.
    resolve: `{name: function}` from a value to what it means, as checkpoints keep it, in place of
      `Option.resolve`; None leaves the choice open, as if the flag were not given.

  Returns:
    The config with settled values; None where nobody chose an option with an `open_value`.

  Raises:
    ValueError: if a given flag contradicts what is saved or another flag, or has no effect beside
      them, or if what is saved is not a value that the flag can have.
  """
  known = options_of(type(parsed.config))
  saved = _without_overridden(parsed, saved, known)
  values, settled, differences = values_of(parsed.config), {}, []
  for name in names:
    option = known[name]
    if name in saved:
      _check_saved(option, saved[name], source)
    value = (resolve or {}).get(name, option.resolve)(values[name])
    is_given = name in parsed.given and value is not None
    settled[name] = value if is_given or name not in saved else saved[name]
    if is_given and name in saved and value != saved[name]:
      if name in may_change:
        print(f'--{name}: {saved[name]} -> {value}')
      else:
        differences.append(f'  --{name}={values[name]}, but it was {saved[name]}')
  if differences:
    raise ValueError('\n'.join([f'These flags contradict {source}:', *differences,
                                'Leave them out, or use another directory or checkpoint.']))
  config = replace(parsed.config, **settled)
  _check_needs(config, parsed.given if checked is None else checked)
  return config


def _check_needs(config: Any, given: Collection[str]) -> None:
  """Stops at a given option that has no effect without a value of another.

  Options of TF-Slim are only named.

  Raises:
    ValueError: names both.
  """
  values = values_of(config)
  for name, option in options_of(type(config)).items():
    if name not in given or option.needs is None or values[name] == option.default:
      continue
    other, wanted = option.needs
    if not (values[other] in wanted if wanted else values[other]):
      where = ' or '.join(f'--{other}={one}' for one in wanted) or f'--{other}'
      if option.is_of_tf_slim:
        print(f'Not used: --{name}={values[name]}, which has an effect with {where} only.')
        continue
      raise ValueError(f'--{name}: expected with {where} only. Received: --{other}='
                       f'{values[other]}. Leave it out, or change that.')


def _without_overridden(parsed: Parsed, saved: Mapping[str, Any],
                        known: Mapping[str, Option]) -> dict[str, Any]:
  """Returns what is saved, with None for what a given flag overrides.

  Raises:
    ValueError: if two flags are given that say the same thing.
  """
  saved = dict(saved)
  for name, option in known.items():
    if option.instead_of:
      pair = {name, option.instead_of}
      if pair <= parsed.given:
        raise ValueError(f'--{name} and --{option.instead_of} exclude each other. Expected: one '
                         'of them. Received: both.')
      if pair & parsed.given:
        saved |= dict.fromkeys(pair - parsed.given)
  return saved


def _check_saved(option: Option, value: Any, source: str) -> None:
  """Stops at a value that the flag cannot have: the metadata were damaged or edited."""
  try:
    is_good = option.is_optional if value is None else option.parser().parse(value) == value
  except (TypeError, ValueError):
    is_good = False
  if not is_good:
    raise ValueError(f'The metadata of {source} are damaged. Expected: a value that '
                     f'--{option.name} can have. Received: {value!r:.80}. Restore the .json file '
                     'next to the checkpoint.')
