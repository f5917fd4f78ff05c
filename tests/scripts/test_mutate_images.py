"""Damaged images: the samples, the damage, and that no file crashes a decoder."""

from __future__ import annotations

import io
import pathlib
import signal
import subprocess
import sys

import pytest
from PIL import Image

from scripts.fuzzing import image_mutations, image_parts, image_process, image_samples, runs
from scripts.fuzzing import program as program_of_both

_SCRIPTS = pathlib.Path(__file__).parents[2] / 'scripts'
_REFUSED = {'16 bits', 'RLE, 4 bits', 'RLE, 8 bits'}  # Kinds of BMP that are not read.


@pytest.fixture(scope='module')
def script(program):
  return program('mutate_images')


def test_samples_are_split_and_joined_without_loss():
  assert {*image_samples.FORMATS} == {*image_parts.FORMATS}
  for name, kind, data in image_samples.all_samples():
    Image.open(io.BytesIO(data)).load()
    parts = image_parts.FORMATS[name].split(data)
    assert len(parts) >= 2 - (name == 'webp'), (name, kind)
    assert image_parts.join(name, parts) == data, (name, kind)


def test_samples_can_be_decoded():
  decoders = image_process.decoders()
  for name, kind, data in image_samples.all_samples():
    found = image_process.read(decoders, data)
    refused = name == 'bmp' and kind in _REFUSED
    assert found['outcome'] == (runs.REFUSED if refused else runs.LOADED), (name, kind, found)


@pytest.mark.parametrize('name', image_samples.FORMATS)
def test_damage_is_a_function_of_the_seed(name):
  samples = [*image_samples.samples(name).values()]
  first, second = ([image_mutations.damaged(name, samples, f'0 {i}') for i in range(300)]
                   for _ in range(2))
  assert first == second
  assert first != [image_mutations.damaged(name, samples, f'1 {i}') for i in range(300)]
  assert len({*first} - {*samples}) > 250
  assert sum(data[:2] in {sample[:2] for sample in samples} for data in first) > 200


def _outcomes(decoder):
  return image_process.read((decoder, decoder), b'')


def test_only_the_error_for_a_bad_image_counts_as_refused():
  import tensorflow as tf

  def fail(error):
    def decoder(encoded):
      raise error
    return decoder

  refused = _outcomes(fail(tf.errors.InvalidArgumentError(None, None, 'cut short')))
  assert (refused['outcome'], refused['reason']) == (runs.REFUSED, 'cut short')
  for error in (tf.errors.InternalError(None, None, 'x'),
                UnicodeDecodeError('utf-8', b'x', 0, 1, ''),
                tf.errors.ResourceExhaustedError(None, None, 'x'), KeyError('x')):
    assert _outcomes(fail(error))['outcome'] == runs.CRASHED
  found = image_process.read((tf.identity, fail(KeyError('x'))), [1])
  assert (found['outcome'], found['reason']) == (runs.CRASHED, "KeyError('x')")


_PROGRAM = """
import os, signal, sys, time
assert sys.argv[1:3] == ['png', '7']
for number in range(int(sys.argv[3]), int(sys.argv[4])):
  print(number, flush=True)
  if number == 4:
    os.kill(os.getpid(), signal.SIGSEGV)
  print('{"outcome": "refused", "reason": "", "events": [], "milliseconds": 5, "bytes": 0}')
"""


def test_crashes_are_counted_and_their_files_kept(script, tmp_path):
  results = runs.decode_damaged('png', 5, seed='7', first=2,
                                program=(sys.executable, '-c', _PROGRAM))
  line, bad = program_of_both.row('png', results)
  assert line.split()[:-3] == ['png', '5', '0', '4', '1', '0']
  assert [(result.number, result.reason) for result in bad] == [(4, signal.SIGSEGV.name)]
  told = script.keep('png', bad[0], seed='7', folder=tmp_path / 'bad')
  kept, = (tmp_path / 'bad').iterdir()
  assert told.startswith(str(kept))
  samples = [*image_samples.samples('png').values()]
  assert kept.read_bytes() == image_mutations.damaged('png', samples, '7 4')


@pytest.mark.slow
@pytest.mark.parametrize(('formats', 'count'), [
  # Each format is a process of its own.
  (['png'], 30), pytest.param([*image_samples.FORMATS], 100, marks=pytest.mark.thorough)])
def test_no_damaged_file_crashes_or_hangs(formats, count):
  done = subprocess.run([sys.executable, _SCRIPTS / 'mutate_images.py', f'--count={count}',
                         *(f'--formats={name}' for name in formats)],
                        capture_output=True, text=True, timeout=1200, check=False)
  assert done.returncode == 0, done.stdout + done.stderr
  rows = [line.split() for line in done.stdout.splitlines()[1:]]
  assert [row[0] for row in rows] == formats
  for _, files, decoded, refused, crashed, hung, *_ in rows:
    assert (int(files), int(crashed), int(hung)) == (count, 0, 0)
    assert int(decoded) > count // 20 and int(refused) > count // 5
