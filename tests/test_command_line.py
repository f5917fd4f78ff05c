"""What the scripts share: settled flags, and errors of one message."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import types

import numpy as np
import pytest
from absl import flags

import command_line

_ROOT = pathlib.Path(command_line.__file__).parent


@pytest.fixture
def parse(monkeypatch):
  """`parse('--name=value', …)` sets flags of some types, apart from those of the process."""
  def function(*arguments):
    values = flags.FlagValues()
    flags.DEFINE_string('text', 'default', 'Text.', flag_values=values)
    flags.DEFINE_integer('number', 1, 'Number.', flag_values=values)
    flags.DEFINE_float('share', 0.1, 'Share.', flag_values=values)
    flags.DEFINE_list('scopes', None, 'Scopes.', flag_values=values)
    flags.DEFINE_bool('switch', False, 'Switch.', flag_values=values)
    flags.DEFINE_enum('on_bad_image', 'error', ['error', 'skip'], 'Images.', flag_values=values)
    values(['program', *arguments])
    monkeypatch.setattr(command_line, 'FLAGS', values)
  return function


_DEFAULTS = {'text': 'default', 'number': 1, 'share': 0.1, 'scopes': None, 'switch': False}


@pytest.mark.parametrize(('arguments', 'saved', 'expected'), [
  ([], {}, {}),
  (['--number=2', '--scopes=a,b'], {}, {'number': 2, 'scopes': ['a', 'b']}),
  ([], {'number': 3, 'text': None, 'scopes': ['a']},
   {'number': 3, 'text': None, 'scopes': ['a']}),
  # Set to what is saved already, as after JSON.
  (['--share=0.3', '--scopes=a', '--switch'], {'share': 0.3, 'scopes': ['a'], 'switch': True},
   {'share': 0.3, 'scopes': ['a'], 'switch': True}),
  (['--number=2'], {'switch': True}, {'number': 2, 'switch': True}),
  ([], {'unknown': 5}, {}),
])
def test_settle(parse, capsys, arguments, saved, expected):
  parse(*arguments)
  assert command_line.settle(_DEFAULTS, saved, source='run') == {**_DEFAULTS, **expected}
  assert not capsys.readouterr().out


@pytest.mark.parametrize(('arguments', 'saved'), [
  (['--number=2'], {'number': 3}),
  (['--number=1'], {'number': 3}),  # Set to its default is set.
  (['--noswitch'], {'switch': True}),
  (['--scopes=a,b'], {'scopes': ['a']}),
  (['--scopes=a'], {'scopes': None}),
  (['--text=x'], {'text': 'X'}),
])
def test_contradictions(parse, capsys, arguments, saved):
  parse(*arguments)
  (name, old), = saved.items()
  new = command_line.FLAGS[name].value
  with pytest.raises(ValueError, match='These flags contradict run/model.ckpt-1:') as error:
    command_line.settle(_DEFAULTS, saved, source='run/model.ckpt-1')
  assert f'  --{name}={new}, but it was {old}' in str(error.value).splitlines()
  assert command_line.settle(_DEFAULTS, saved, source='', may_change={name})[name] == new
  assert capsys.readouterr().out == f'--{name}: {old} -> {new}\n'


_RESOLVE = {'text': lambda text: None if text == 'auto' else text.lower()}


@pytest.mark.parametrize(('arguments', 'saved', 'expected'), [
  (['--text=ON'], {'text': 'on'}, 'on'),  # Another word for what is saved.
  (['--text=auto'], {'text': 'on'}, 'on'),  # The same command as at the start, set or not.
  ([], {'text': 'on'}, 'on'),
  (['--text=auto'], {}, None),
  (['--text=OFF'], {}, 'off'),
])
def test_values_that_stand_for_others(parse, capsys, arguments, saved, expected):
  parse(*arguments)
  settled = command_line.settle(['text'], saved, source='run', resolve=_RESOLVE)
  assert settled == {'text': expected}
  assert not capsys.readouterr().out


def test_values_that_stand_for_others_may_contradict(parse):
  parse('--text=OFF')
  with pytest.raises(ValueError, match='--text=OFF, but it was on'):
    command_line.settle(['text'], {'text': 'on'}, source='run', resolve=_RESOLVE)


@pytest.mark.parametrize(('name', 'value'), [
  ('number', 'x'), ('number', 1.5), ('number', [1]), ('share', 'x'), ('share', '0.5'),
  ('switch', 'maybe'), ('switch', 5), ('text', 3), ('scopes', 3), ('on_bad_image', 'ignore')])
def test_what_is_saved_must_be_a_value_of_the_flag(parse, name, value):
  parse()
  with pytest.raises(ValueError, match=f'metadata of run are damaged: .*--{name}') as error:
    command_line.settle([name], {name: value}, source='run')
  assert repr(value) in str(error.value)


def test_all_contradictions_are_listed(parse):
  parse('--number=2', '--text=x', '--share=0.1')
  saved = {'number': 3, 'text': 'y', 'share': 0.1}
  with pytest.raises(ValueError, match='contradict') as error:
    command_line.settle(_DEFAULTS, saved, source='run')
  assert str(error.value).splitlines()[1:] == [
    '  --text=x, but it was y', '  --number=2, but it was 3',
    'Leave them out, or use another folder or checkpoint.']


def test_only_the_flags_that_are_named_count(parse):
  parse('--number=2')
  assert command_line.settle(['text'], {'number': 3}, source='') == {'text': 'default'}


def test_retired_flags(parse):
  retired = {'number': (1, 'use --text')}
  parse('--number=1')
  command_line.refuse_retired(retired)
  parse('--number=2')
  with pytest.raises(ValueError, match='--number cannot act any more: use --text. Expected: 1, its '
                     'default. Received: 2'):
    command_line.refuse_retired(retired)


def test_bad_images(capsys):
  def settle(*names, choice='skip', known=None):
    images = [types.SimpleNamespace(name=name, reason='it is cut short') for name in names]
    split = types.SimpleNamespace(
        split_name='train', find_bad_images=lambda decode: images, num_classes=1,
        labels=np.zeros(3, int), class_names=['a'], class_counts=np.array([3]),
        examples=types.SimpleNamespace(names=['a/a.jpg', 'a/b.jpg', 'a/c.jpg']))
    return command_line.settle_bad_images(split, None, choice, known)

  assert settle(choice='error') == ()
  with pytest.raises(ValueError, match=r'a/b.jpg(.*\n)*.*--on_bad_image=skip'):
    settle('a/b.jpg', choice='error')
  # It was decided before.
  assert settle('a/b.jpg', choice='error', known={'train': ['c.jpg']}) == ('c.jpg',)
  assert settle() == ()
  assert not capsys.readouterr().out
  assert settle('a/b.jpg', known={'validation': ['c.jpg']}) == ('a/b.jpg',)
  assert "Skipping, of the split 'train'" in (shown := capsys.readouterr().out)
  assert 'a/b.jpg' in shown


# Each case is a program of its own to absl, but they share one import of TensorFlow.
_PROGRAM = """
import sys
import command_line
import tensorflow as tf
from absl import flags

flags.DEFINE_string('end', '', 'How to end.')

def main():
  end = flags.FLAGS.end
  if end == 'value':
    raise ValueError('The value is wrong.')
  if end == 'file':
    open('/no/such/file')
  if end == 'tensorflow':
    tf.io.read_file('/no/such/file')
  if end == 'memory':
    raise tf.errors.ResourceExhaustedError(None, None, 'OOM when allocating')
  if end == 'disk':
    raise tf.errors.ResourceExhaustedError(None, None, 'run/events; No space left on device')
  if end == 'array':
    raise MemoryError('Unable to allocate 7.28 TiB for an array with shape (1000000000000,)')
  if end == 'nothing':
    raise MemoryError
  if end == 'interrupt':
    raise KeyboardInterrupt
  if end == 'bug':
    raise AttributeError('a bug')
  return int(end) if end else None

for arguments in (case.split() for case in sys.argv[1:]):
  sys.argv = ['program.py', *arguments]
  flags.FLAGS.unparse_flags()
  flags.FLAGS['end'].unparse()
  try:
    command_line.run(main)
  except SystemExit as end:
    code = end.code
  print(f'ended with {code}', file=sys.stderr)
"""
_ODD = r"""
import command_line
command_line.run(lambda: print('a name: \udcff'))
"""


def test_names_that_are_no_utf8_are_shown():
  program = subprocess.run(
    [sys.executable, '-c', _ODD], cwd=_ROOT, capture_output=True, check=False,
    env={**os.environ, 'PYTHONIOENCODING': 'utf-8:strict'})
  assert (program.returncode, program.stdout) == (0, b'a name: \\udcff\n'), program.stderr


_CASES = {
  '': 'ended with 0',
  '--end=3': 'ended with 3',
  '--end=value': 'Error: The value is wrong.\nended with 1',
  '--end=file': "Error: [Errno 2] No such file or directory: '/no/such/file'\nended with 1",
  '--end=memory': 'Error: Out of memory: OOM when allocating. Lower --batch_size, or the image '
                  'size.\nended with 1',
  '--end=disk': 'Error: run/events; No space left on device\nended with 1',
  '--end=tensorflow': 'Error: /no/such/file; No such file or directory\nended with 1',
  '--end=array': 'Error: Out of memory: Unable to allocate 7.28 TiB for an array with shape '
                 '(1000000000000,). This process may use <n> GiB. Lower --batch_size or the image '
                 'size, or use less data at a time.\nended with 1',
  '--end=nothing': 'Error: Out of memory: more was needed. This process may use <n> GiB. Lower '
                   '--batch_size or the image size, or use less data at a time.\nended with 1',
  '--end=interrupt': 'Interrupted.\nended with 130',
  'stray': "Error: Expected flags of the form --name=value. Received: 'stray'.\nended with 1",
  # Not the user's mistake: where it happened is shown. It does not end Python by itself, which
  # would keep batches that are being made, and wait for them forever.
  '--end=bug': '<trace>AttributeError: a bug\nended with 1',
  '--end=value --verbosity=1': '<trace>ValueError: The value is wrong.\nended with 1',
}


def test_errors_of_users_are_one_message_and_exit_code_1():
  program = subprocess.run(
    [sys.executable, '-c', _PROGRAM, *_CASES, '--ned=3'], cwd=_ROOT, capture_output=True,
    text=True, check=False)
  assert program.returncode == 0, program.stderr
  assert not program.stdout
  # TensorFlow's own line about a machine without GPUs, where the tests hide them.
  shown = re.sub(r'(?m)^E0000 .* cuda_\w+\.cc.*\n', '', program.stderr)
  shown = re.sub(r'may use [\d.]+ GiB', 'may use <n> GiB', shown)
  shown = re.sub(r'(?m)^Traceback .*\n(?: .*\n)+', '<trace>', shown)
  for case, expected in _CASES.items():
    assert shown.startswith(expected + '\n'), f'{case}: {shown}'
    shown = shown[len(expected) + 1:]
  misspelled = shown.splitlines()
  assert misspelled[0] == ("FATAL Flags parsing error: Unknown command line flag 'ned'. "
                           'Did you mean: end ?')
  assert misspelled[-1] == 'ended with 1'
  assert len(misspelled) < 5


@pytest.mark.parametrize('content', [b'--end=3\n\xff', b'\x80\x03'])
def test_flag_files_that_are_no_text_are_named(tmp_path, content):
  (tmp_path / 'x.flags').write_bytes(content)
  program = subprocess.run(
    [sys.executable, '-c', _ODD, f'--flagfile={tmp_path}/x.flags'], cwd=_ROOT, capture_output=True,
    text=True, check=False)
  assert program.returncode == 1
  assert f'Error: --flagfile={tmp_path}/x.flags: expected a text file' in program.stderr
  assert 'Traceback' not in program.stderr
