"""The help of a program: its options by topic, in lines of 80 columns."""

from __future__ import annotations

import textwrap

from slim_zoo.config.flag_values import topics_of
from slim_zoo.config.option import Option

_WIDTH = 80
_COLUMN = 30  # Where descriptions begin.


def render(config_class: type, description: str, *, is_full: bool) -> str:
  """Returns the help of a program.

  Args:
    config_class: the program's options.
    description: what stands above them; its lines are not broken again.
    is_full: whether all options are shown with all of their description, or only the common ones
      with its first sentence.
  """
  lines, left_out = [description.strip()], 0
  for _, topic, options in topics_of(config_class):
    shown = [option for option in options.values() if is_full or option.is_common]
    left_out += len(options) - len(shown)
    if shown:
      title = (topic.__doc__ or '').splitlines()[0].rstrip('.')
      lines += ['', f'{title}:', *(line for option in shown for line in _describe(option, is_full))]
  if left_out:
    lines += ['', f'--helpfull describes these and {left_out} more options.']
  elif is_full:
    lines += ['', 'Of every program:', '  --flagfile=FILE             Read flags from a file.',
              '  --verbosity=1               Show where an error came from.']
  return '\n'.join(lines)


def _describe(option: Option, is_full: bool) -> list[str]:
  """Describes one option; the description begins on the same line if there is room."""
  flag = f'  {_spell(option)}'
  text = option.help if is_full else _first_sentence(option.help)
  if is_full and option.choices and option.kind is not bool:
    text += f' One of: {", ".join(option.choices)}.'
  lines = textwrap.wrap(text, _WIDTH - _COLUMN, break_long_words=False, break_on_hyphens=False)
  if len(flag) + 2 <= _COLUMN:
    return [f'{flag:<{_COLUMN}}{lines[0]}', *(f'{"":<{_COLUMN}}{line}' for line in lines[1:])]
  return [flag, *(f'{"":<{_COLUMN}}{line}' for line in lines)]


def _spell(option: Option) -> str:
  """Spells a flag with its default, or with what kind of value it takes."""
  if option.kind is bool:
    return f'--{"no" if option.default else ""}{option.name}'
  if option.default in (None, ''):
    kind = 'PATH' if option.path else {int: 'N', float: 'X'}.get(option.kind, 'TEXT')
    choices = '|'.join(option.choices)
    return f'--{option.name}={choices if 0 < len(choices) < _WIDTH - _COLUMN else kind}'
  default = f'{option.default:g}' if option.kind is float else option.default
  return f'--{option.name}={default}'


def _first_sentence(text: str) -> str:
  end = text.find('. ')
  return text if end < 0 else text[:end + 1]
