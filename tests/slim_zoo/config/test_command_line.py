"""Starting programs: output of failures."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

from slim_zoo.config import command_line

_ROOT = pathlib.Path(__file__).parents[3]


@pytest.mark.parametrize(('given', 'is_refused'), [(['--task=0'], False), (['--task=1'], True)])
def test_retired_flags(given, is_refused):
  values = flags.FlagValues()
  flags.DEFINE_integer('task', 0, 'Task.', flag_values=values)
  values(['program', *given])
  retired = {'task': (0, 'use --num_clones')}
  if not is_refused:
    command_line.refuse_retired(retired, values)
    return
  with pytest.raises(ValueError, match='--task.*--num_clones.* 0.* 1'):
    command_line.refuse_retired(retired, values)


# For absl each case is a separate program, but they share one import of TensorFlow.
_PROGRAM = """
import sys
from slim_zoo.config import command_line
from absl import flags

flags.DEFINE_string('end', '', 'How to end.')

def main():
  import tensorflow as tf
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
from slim_zoo.config import command_line
command_line.run(lambda: print('a name: \udcff'))
"""


def test_names_that_are_not_utf8_are_printed():
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
  'stray': "Error: Expected: flags of the form --name=value. Received: 'stray'.\nended with 1",
  # Not a user error, so the stack trace is shown. Python must not wait for batches that are still
  # being computed, which would take forever.
  '--end=bug': '<trace>AttributeError: a bug\nended with 1',
  '--end=value --verbosity=1': '<trace>ValueError: The value is wrong.\nended with 1',
}


def test_user_errors_give_one_message_and_exit_code_1():
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
  assert "'ned'" in misspelled[0] and 'end' in misspelled[0].split("'ned'")[1]
  assert misspelled[-1] == 'ended with 1'
  assert len(misspelled) < 5


@pytest.mark.parametrize('content', [b'--end=3\n\xff', b'\x80\x03'])
def test_flag_file_that_is_not_text_is_named(tmp_path, content):
  (tmp_path / 'x.flags').write_bytes(content)
  program = subprocess.run(
    [sys.executable, '-c', _ODD, f'--flagfile={tmp_path}/x.flags'], cwd=_ROOT, capture_output=True,
    text=True, check=False)
  assert program.returncode == 1
  assert f'Error: --flagfile={tmp_path}/x.flags' in program.stderr
  assert 'Traceback' not in program.stderr
