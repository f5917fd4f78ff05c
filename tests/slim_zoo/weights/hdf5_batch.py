"""Reads many files in forks of one process, each with the limits of the child program.

Usage: hdf5_batch.py FOLDER SECONDS, with the repository's root in PYTHONPATH. It prints the results
as JSON: {file: outcome}. Starting Python only once saves a fifth of a second per file.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import time

from slim_zoo.weights import hdf5_child, hdf5_files


def fork(arguments, seconds):
  """Like `hdf5_files.run_child`; a wall clock limits waiting without computing."""
  path, folder, _, *limits = arguments
  pid = os.fork()
  if not pid:
    code = 99
    try:
      os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
      code = hdf5_child.main(path, folder, sys.argv[2], *limits)
    finally:
      os._exit(code)
  end = time.monotonic() + 20
  while time.monotonic() < end:
    found, status = os.waitpid(pid, os.WNOHANG)
    if found:
      return os.waitstatus_to_exitcode(status)
    time.sleep(0.001)
  os.kill(pid, 9)
  os.waitpid(pid, 0)
  raise subprocess.TimeoutExpired('', seconds)


def _read(path):
  zipped = path.read_bytes()[:2] == b'PK' or path.suffix == '.keras'
  try:
    arrays = (hdf5_files.read_keras if zipped else hdf5_files.read_hdf5)(path, run=fork)
    return f'loaded {len(arrays)}'
  except ValueError as error:
    return f'refused {error}' if type(error) is ValueError else f'crashed {error!r}'
  except BaseException as error:  # Any other error makes the test fail and is shown.
    return f'crashed {error!r}'


print(json.dumps({path.name: _read(path) for path in sorted(pathlib.Path(sys.argv[1]).iterdir())}))
