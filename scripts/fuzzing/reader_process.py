"""Reads damaged copies of a file in a separate process and records the events each causes.

Usage: python -m scripts.fuzzing.reader_process NAME FOLDER SEED FIRST LAST SECONDS MEMORY

NAME is one of `samples.SAMPLES`, whose files the parent wrote to FOLDER. The damaged copies FIRST
to LAST (exclusive) are created and read there one by one. For output and limits see
`child.read_all`.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import pathlib
import random
import sys
import time

from scripts.fuzzing import child
from scripts.fuzzing.samples import SAMPLES

_HARMLESS = ('builtins.id', 'object.', 'sys._getframe', 'gc.', 'array.', 'cpython.', 'mmap.',
             'time.sleep', 'os.fspath')
_LONGEST_MESSAGE = 1500
_events: list[str] = []
_state = {'armed': False, 'allowed': (), 'folder': ''}


def _audit(event: str, arguments: tuple) -> None:
  if not _state['armed'] or event.startswith(_HARMLESS) or event.startswith(_state['allowed']):
    return
  if event == 'open' and arguments[1] in ('r', 'rb') and (
      str(arguments[0]).startswith(_state['folder'])):
    return
  _events.append(f'{event} {arguments!r:.100}')


def read_all(path: str) -> int:
  """Opens weights as the programs do and reads every array; returns their number."""
  from slim_zoo.weights import sources

  source = sources.open_weights(path).source
  for name in source.shapes:
    source.read(name)
  return len(source.shapes)


def _resident_peak() -> int:
  """Returns the peak memory of this process since `_forget_peak`, in bytes."""
  for line in pathlib.Path('/proc/self/status').read_text(encoding='ascii').splitlines():
    if line.startswith('VmHWM'):
      return int(line.split()[1]) * 1024
  return 0


def _forget_peak() -> int:
  """Resets the peak of `_resident_peak` if the system allows it; returns the current peak."""
  with contextlib.suppress(OSError):
    pathlib.Path('/proc/self/clear_refs').write_text('5', encoding='ascii')
  return _resident_peak()


def _read(path: str) -> dict:
  """Reads one file; returns what `runs.Result` is made of."""
  _events.clear()
  before = _forget_peak()
  began = time.perf_counter()
  _state['armed'] = True
  try:
    count = read_all(path)
    outcome, reason = 'loaded', f'{count} arrays'
  except ValueError as error:
    reason = str(error)
    good = reason.replace('\n', '').isprintable() and len(reason) <= _LONGEST_MESSAGE
    outcome = 'refused' if good else 'crashed'
  except BaseException as error:  # Anything else is a crash.
    outcome, reason = 'crashed', repr(error)
  _state['armed'] = False
  return {'outcome': outcome, 'reason': reason[:500], 'events': _events[:5],
          'milliseconds': 1000 * (time.perf_counter() - began),
          'bytes': _resident_peak() - before}


def main() -> None:
  """Reads the copies given by the arguments."""
  sample, folder, seed = SAMPLES[sys.argv[1]], pathlib.Path(sys.argv[2]), sys.argv[3]
  files = folder.resolve()
  whole = (files / sample.damaged).read_bytes()
  path = str(files / sample.path)
  for name in ('unicode_escape', 'raw_unicode_escape', 'latin1', 'cp437', 'utf-8', 'ascii'):
    codecs.lookup(name)  # Imports the codec, which Python does on first use.
  read_all(path)  # Triggers late imports before recording starts.
  for data in (b'', b'x' * 100):
    (files / sample.damaged).write_bytes(data)
    _read(path)
  _state.update(allowed=sample.events, folder=str(files))
  sys.addaudithook(_audit)

  def make(number: int) -> str:
    damaged = sample.damage(whole, random.Random(f'{seed} {number}'))
    (files / sample.damaged).write_bytes(damaged)
    return path

  child.read_all(sys.argv[4:], make, _read)


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  main()
