"""Reads files in a separate process that records the events each of them causes.

Usage: guarded_reader.py MODULE FUNCTION FOLDER, with the repository's root in PYTHONPATH. It reads
every file in the folder and prints the results as JSON: {file: [outcome, peak memory, events]}.
"""

from __future__ import annotations

import codecs
import importlib
import json
import os
import pathlib
import resource
import sys
import tracemalloc

_HARMLESS = ('builtins.id', 'object.', 'sys._getframe', 'gc.', 'array.', 'cpython.', 'tracemalloc')
_events: list[str] = []
_armed = False


def _audit(event, arguments):
  if not _armed or event.startswith(_HARMLESS):
    return
  if event == 'open' and arguments[1] in ('r', 'rb') and str(arguments[0]).startswith(sys.argv[3]):
    return
  _events.append(f'{event} {arguments!r:.100}')


def _read(function, path):
  global _armed
  _events.clear()
  tracemalloc.reset_peak()
  before = tracemalloc.get_traced_memory()[0]
  _armed = True
  try:
    result = function(path)
    outcome = f'loaded {type(result).__name__}'
  except ValueError as error:
    outcome = f'refused {error}' if type(error) is ValueError else f'crashed {error!r}'
  except BaseException as error:  # Any other error makes the test fail and is shown.
    outcome = f'crashed {error!r}'
  _armed = False
  return [outcome, tracemalloc.get_traced_memory()[1] - before, _events[:5]]


def run_python(path):
  """Executes a file, to test this guard."""
  exec(compile(path.read_bytes(), path, 'exec'), {})


def main():
  function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
  for name in ('unicode_escape', 'raw_unicode_escape', 'latin1', 'cp437', 'utf-8', 'ascii'):
    codecs.lookup(name)  # Imports the codec, which Python does on first use.
  resource.setrlimit(resource.RLIMIT_AS, (8 * 2 ** 30, 8 * 2 ** 30))
  resource.setrlimit(resource.RLIMIT_CPU, (300, 300))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  sys.addaudithook(_audit)
  tracemalloc.start()
  paths = sorted(pathlib.Path(sys.argv[3]).iterdir())
  os.chdir(sys.argv[3])
  print(json.dumps({path.name: _read(function, path) for path in paths}))


if __name__ == '__main__':
  main()
