"""What a run keeps about its examples, and how it describes a change."""

from __future__ import annotations

import types

import numpy as np
import pytest

from slim_zoo.training import example_names

_BEFORE = {'a/1': 'a', 'a/2': 'a', 'b/1': 'b', 'b/3': 'b', 'b/\udcff,"\n': 'b'}


def _split(classes, name='train'):
  names = sorted(set(classes.values()))
  return types.SimpleNamespace(
      split_name=name, class_names=names, label_name=names.__getitem__,
      examples=types.SimpleNamespace(names=tuple(classes)),
      labels=np.array([names.index(a_class) for a_class in classes.values()]))


@pytest.mark.parametrize(('now', 'text'), [
  ({**_BEFORE, 'a/9': 'a'}, 'Added: a/9.'),
  ({**_BEFORE, **{f'c/{i}': 'c' for i in range(4, 9)}}, 'Added: c/4, c/5, c/6 and 2 more.'),
  ({'a/1': 'a', 'b/3': 'b'}, 'Removed: a/2, b/1, b/\udcff,"\n.'),
  ({**{k: v for k, v in _BEFORE.items() if k != 'b/3'}, 'a/3': 'a'}, 'Moved: b/3 to a/3.'),
  # Two files of this name are gone: either may be the new one.
  ({'a/2': 'a', 'b/3': 'b', 'c/1': 'c', 'b/\udcff,"\n': 'b'}, 'Added: c/1. Removed: a/1, b/1.'),
  ({**_BEFORE, 'b/3': 'a'}, 'In another class: b/3 (a instead of b).'),
])
def test_changes(tmp_path, now, text):
  example_names.write(tmp_path, [_split({'x': 'a'}, 'validation'), _split(_BEFORE)])
  known = example_names.read(tmp_path)
  assert known == {'validation': {'x': 'a'}, 'train': _BEFORE}
  assert example_names.changes(known, [_split(now)]) == text


def test_moved_to_the_other_split(tmp_path):
  """The class that is left in one split may lose another example to it, which nobody touched."""
  example_names.write(tmp_path, [_split(_BEFORE), _split({'b/7': 'b', 'b/8': 'b'}, 'validation')])
  train = {name: a_class for name, a_class in _BEFORE.items() if name != 'a/2'} | {'b/8': 'b'}
  text = example_names.changes(example_names.read(tmp_path), [
    _split(train), _split({'b/7': 'b', 'b/2': 'b'}, 'validation')])
  assert text == 'Moved: a/2 to b/2.'


def test_order(tmp_path):
  example_names.write(tmp_path, [_split(_BEFORE)])
  now = _split(dict(reversed(_BEFORE.items())))
  assert 'order' in example_names.changes(example_names.read(tmp_path), [now])


@pytest.mark.parametrize('content', [None, b'', b'no archive', b'\x1f\x8b\x08'])
def test_missing_or_damaged_file(tmp_path, content):
  if content is not None:
    (tmp_path / example_names.FILE).write_bytes(content)
  text = example_names.changes(example_names.read(tmp_path), [_split(_BEFORE)])
  assert 'added' in text and 'removed' in text


def test_damage_at_any_byte_is_no_error(tmp_path):
  example_names.write(tmp_path, [_split(_BEFORE)])
  whole = (tmp_path / example_names.FILE).read_bytes()
  for position in range(len(whole)):
    damaged = bytearray(whole)
    damaged[position] ^= 0xff
    for content in (bytes(damaged), whole[:position]):
      (tmp_path / example_names.FILE).write_bytes(content)
      example_names.read(tmp_path)
