"""Resolving options from flags, values in a checkpoint, and defaults."""

from __future__ import annotations

import dataclasses

import pytest

from slim_zoo.config import flag_values, settle
from slim_zoo.config.option import Path, Rule, option


@dataclasses.dataclass(frozen=True)
class Topic:
  """Topic."""
  text: str | None = option('default', 'Text.', rule=Rule.FIXED)
  number: int = option(1, 'Number.', rule=Rule.FIXED)
  share: float = option(0.1, 'Share.', rule=Rule.FREE, lower=0, upper=1)
  switch: bool = option(False, 'Switch.', rule=Rule.FIXED)
  choice: str = option('auto', 'Choice.', rule=Rule.FIXED, choices=['auto', 'on', 'off'],
                       open_value='auto')
  place: str | None = option(None, 'Place.', rule=Rule.FREE, path=Path.READ)
  epochs: float | None = option(2.0, 'Epochs.', rule=Rule.FREE)
  steps: int | None = option(None, 'Steps.', rule=Rule.FREE, instead_of='epochs')
  strength: float = option(0.5, 'Strength.', rule=Rule.FREE, needs=('choice', ('on', 'off')))
  interval: int = option(1, 'Interval.', rule=Rule.FREE, needs=('place', ()))
  decay: float = option(0.5, 'Decay.', rule=Rule.FREE, needs=('choice', ('on',)), of_tf_slim=True)


@dataclasses.dataclass(frozen=True)
class Config:
  topic: Topic = Topic()


_DEFAULTS = flag_values.values_of(Config())


def _settle(arguments, saved, **more):
  parsed, _ = flag_values.parse(Config, arguments)
  config = settle.settle(parsed, saved, **{'source': 'run', 'names': list(_DEFAULTS), **more})
  return flag_values.values_of(config)


@pytest.mark.parametrize(('arguments', 'saved', 'expected'), [
  ([], {}, {}),
  (['--number=2', '--text=a'], {}, {'number': 2, 'text': 'a'}),
  ([], {'number': 3, 'text': None}, {'number': 3, 'text': None}),
  (['--share=0.3', '--switch'], {'share': 0.3, 'switch': True}, {'share': 0.3, 'switch': True}),
  (['--number=2'], {'switch': True}, {'number': 2, 'switch': True}),
  ([], {'unknown': 5}, {}),
  ([], {'choice': 'on'}, {'choice': 'on'}),
  (['--choice=auto'], {'choice': 'on'}, {'choice': 'on'}),  # The same command as at the start.
  (['--choice=off'], {}, {'choice': 'off'}),
  (['--place=/a'], {'place': '/a'}, {'place': '/a'}),
  # A flag overrides its alternative.
  (['--steps=5'], {'epochs': 3.0, 'steps': None}, {'steps': 5, 'epochs': None}),
  (['--epochs=5'], {'epochs': None, 'steps': 7}, {'steps': None, 'epochs': 5.0}),
  ([], {'epochs': None, 'steps': 7}, {'steps': 7, 'epochs': None}),
])
def test_settle(capsys, arguments, saved, expected):
  open_choice = {'choice': None, **_DEFAULTS} | {'choice': None}
  found = _settle(arguments, saved, may_change={'epochs', 'steps'})
  assert found == {**open_choice, **expected}
  assert set(capsys.readouterr().out.split()) <= {'--steps:', '--epochs:', 'None', '->', '5', '5.0'}


@pytest.mark.parametrize(('arguments', 'saved'), [
  (['--number=2'], {'number': 3}),
  (['--number=1'], {'number': 3}),  # A flag given with its default counts as given.
  (['--noswitch'], {'switch': True}),
  (['--text=x'], {'text': 'X'}),
  (['--choice=off'], {'choice': 'on'}),
])
def test_contradictions(capsys, arguments, saved):
  (name, old), = saved.items()
  new = flag_values.values_of(flag_values.parse(Config, arguments)[0].config)[name]
  with pytest.raises(ValueError, match='run/model.ckpt-1') as error:
    _settle(arguments, saved, source='run/model.ckpt-1')
  line, = [line for line in str(error.value).splitlines() if f'--{name}=' in line]
  assert f'--{name}={new}' in line and str(old) in line
  assert _settle(arguments, saved, may_change={name})[name] == new
  assert capsys.readouterr().out == f'--{name}: {old} -> {new}\n'


def test_all_contradictions_are_listed():
  with pytest.raises(ValueError, match='run') as error:
    _settle(['--number=2', '--text=x', '--share=0.1'], {'number': 3, 'text': 'y', 'share': 0.1})
  assert [line.split('=')[0].strip() for line in str(error.value).splitlines()[1:-1]] == [
    '--text', '--number']


def test_values_are_resolved_before_comparison():
  resolve = {'text': lambda text: text and text.lower()}
  assert _settle(['--text=ON'], {'text': 'on'}, resolve=resolve)['text'] == 'on'
  with pytest.raises(ValueError, match='--text=OFF'):
    _settle(['--text=OFF'], {'text': 'on'}, resolve=resolve)


@pytest.mark.parametrize(('name', 'value'), [
  ('number', 'x'), ('number', 1.5), ('number', [1]), ('number', None), ('share', 'x'),
  ('share', '0.5'), ('share', 2.0), ('switch', 'maybe'), ('switch', 5), ('switch', None),
  ('text', 3), ('choice', 'maybe'), ('choice', None), ('place', 3)])
def test_saved_value_must_be_valid_for_the_flag(name, value):
  with pytest.raises(ValueError, match=f'run.*--{name}') as error:
    _settle([], {name: value})
  assert repr(value) in str(error.value)


def test_conflicting_alternative_flags():
  with pytest.raises(ValueError, match='--steps.*--epochs'):
    _settle(['--steps=1', '--epochs=1'], {})


def test_only_the_named_options_are_settled():
  assert _settle(['--number=2'], {'number': 3, 'text': 'x'}, names=['text']) == {
    **_DEFAULTS, 'number': 2, 'text': 'x'}


@pytest.mark.parametrize(('arguments', 'saved', 'names'), [
  (['--strength=0.7'], {}, '--strength.*--choice=on or --choice=off'),
  (['--interval=3'], {}, '--interval.*--place'),
  (['--strength=0.7', '--choice=off'], {}, None), (['--strength=0.7'], {'choice': 'on'}, None),
  (['--interval=3', '--place=/x'], {}, None), (['--interval=3'], {'place': '/x'}, None),
  (['--strength=0.5'], {}, None), ([], {'strength': 0.7}, None)])
def test_options_without_effect_are_refused(arguments, saved, names):
  if names is None:
    _settle(arguments, saved)
    return
  with pytest.raises(ValueError, match=names):
    _settle(arguments, saved)


@pytest.mark.parametrize(('arguments', 'is_noted'), [
  (['--decay=0.7'], True), (['--decay=0.5'], False), (['--decay=0.7', '--choice=on'], False)])
def test_options_of_tf_slim_without_effect_are_noted(capsys, arguments, is_noted):
  _settle(arguments, {})
  assert ('--decay=0.7' in capsys.readouterr().out) == is_noted
