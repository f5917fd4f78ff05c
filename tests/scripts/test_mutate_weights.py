"""Damaged weights: the damage, the samples, and that a reader's crash is detected."""

from __future__ import annotations

import contextlib
import pathlib
import random
import subprocess
import sys

import pytest

from scripts.fuzzing import mutations, reader_process, runs
from scripts.fuzzing import program as program_of_both
from scripts.fuzzing.samples import SAMPLES
from scripts.fuzzing.writers import masked_crc32c
from slim_zoo.weights import formats
from slim_zoo.weights.wire_format import varint

_SCRIPTS = pathlib.Path(__file__).parents[2] / 'scripts'


@pytest.fixture(scope='module')
def script(program):
  return program('mutate_weights')


def test_damage_is_a_function_of_the_seed():
  data = bytes(range(200))
  first, second = ([*mutations.mutations(data, 300, seed)] for seed in (1, 1))
  assert first == second
  assert first != [*mutations.mutations(data, 300, 2)]
  assert len(set(first)) > 290 and {len(d) for d in first} > {199, 200, 201}
  assert [*mutations.mutations(b'', 3, 0)] == [b''] * 3


def _has_right_checksum(data):
  """Checks the index block."""
  footer, at, numbers = memoryview(data)[-48:], 0, []
  for _ in range(4):
    number, at = varint(footer, at)
    numbers.append(number)
  end = sum(numbers[2:]) + 1
  return masked_crc32c(data[numbers[2]:end]) == int.from_bytes(data[end:end + 4], 'little')


def test_damaged_tables_have_correct_checksums():
  sample = SAMPLES['checkpoint V1']
  whole = sample.make()[sample.path]
  assert _has_right_checksum(whole)
  damaged = [mutations.damage_table(whole, random.Random(seed)) for seed in range(200)]
  assert sum(data != whole for data in damaged) > 150
  right = 0
  for data in damaged:
    with contextlib.suppress(ValueError):
      right += _has_right_checksum(data)
  assert 120 < right < 200


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')  # Keras' own.
def test_every_format_has_a_sample(tmp_path):
  found = set()
  for name, sample in SAMPLES.items():
    for file, data in sample.make().items():
      (tmp_path / file).write_bytes(data)
    path = str(tmp_path / sample.path)
    assert reader_process.read_all(path) >= 2, name
    found.add(formats.recognize(path))
    for file in tmp_path.iterdir():
      file.unlink()
  assert found == {*formats.FORMATS, None}  # None is a checkpoint.


_PROGRAM = """
import os, signal, sys, time
for number in range(int(sys.argv[4]), int(sys.argv[5])):
  print(number, flush=True)
  if number == 1:
    os.kill(os.getpid(), signal.SIGSEGV)
  if number == 3:
    signal.alarm(1)
    time.sleep(60)
  if number == 5:
    sys.exit(3)
  print('{"outcome": "loaded", "reason": "", "events": [], "milliseconds": 5, "bytes": 1048576}')
"""


def test_crashed_readers_are_detected():
  results = [*runs.read_damaged('npy', 8, program=(sys.executable, '-c', _PROGRAM))]
  assert [r.number for r in results] == [*range(8)]
  assert [(r.outcome, r.reason) for r in results if r.outcome != runs.LOADED] == [
    (runs.CRASHED, 'SIGSEGV'), (runs.HUNG, 'SIGALRM'), (runs.CRASHED, 'exit code 3')]


@pytest.mark.parametrize('code', ['import sys; sys.exit("no such thing")',
                                  'open("canary", "w"); ' + _PROGRAM])
def test_programs_that_fail_or_write_are_errors(code):
  with pytest.raises(ChildProcessError, match='no such thing|files were written: canary'):
    for _ in runs.read_damaged('npy', 1, program=(sys.executable, '-c', code)):
      pass


def test_row_of_a_format(script):
  results = [runs.Result(0, runs.LOADED, '', milliseconds=3), runs.Result(1, runs.REFUSED, 'no'),
             runs.Result(2, runs.REFUSED, 'no', mebibytes=300),
             runs.Result(3, runs.LOADED, '', events=('os.system',)),
             runs.Result(4, runs.CRASHED, 'SIGSEGV'), runs.Result(5, runs.HUNG, 'SIGALRM')]
  line, bad = program_of_both.row('npy', results, most_mebibytes=256)
  assert line.split()[:-1] == ['npy', '6', '2', '2', '1', '1', '3.0', '300.0']
  assert [result.number for result in bad] == [2, 3, 4, 5]
  assert 'os.system' in script.describe('npy', bad[1])


def test_choice_of_formats(script):
  assert script.chosen([]) == [*SAMPLES]
  assert script.chosen(['npy', 'torch']) == ['npy', 'torch', 'torch, old']
  with pytest.raises(ValueError, match="Received: 'jpg'"):
    script.chosen(['jpg'])


@pytest.mark.thorough
def test_program():
  done = subprocess.run(
    [sys.executable, _SCRIPTS / 'mutate_weights.py', '--formats=npy', '--count=30'],
    capture_output=True, text=True, timeout=300, check=False)
  assert done.returncode == 0, done.stderr
  lines = done.stdout.splitlines()
  assert [line.split()[0] for line in lines] == ['format', 'npy']
  for line in lines[1:]:
    loaded, refused, crashed, hung = map(int, line.split()[2:6])
    assert loaded + refused == 30 and crashed == hung == 0
