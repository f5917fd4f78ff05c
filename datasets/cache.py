"""Small results that are slow to find again, kept as JSON in the user's cache folder.

A cache only saves time: an entry that cannot be read or written is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile

from files.folders import cache_folder


def stamp(path) -> list:
  """What changes when a file does: [absolute path, size, mtime, ctime]; -1s for a missing one.

  The time of the last write alone can be set, and is, by `cp -p`, `rsync` and archives.
  """
  path = os.path.abspath(path)
  try:
    status = os.stat(path)
  except OSError:
    return [printable(path), -1, -1, -1]
  return [printable(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def printable(path) -> str:
  """A path as text, also where its bytes are no UTF-8."""
  return os.fsencode(path).decode('utf-8', 'backslashreplace')


def key_of(*parts) -> str:
  """The name of the entry for `parts`, which are anything that JSON holds."""
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def load(key: str):
  """Returns the entry `key`, or None."""
  try:
    return json.loads((cache_folder() / f'{key}.json').read_text())
  except (OSError, RecursionError, ValueError):
    return None


def store(key: str, value) -> None:
  """Keeps `value` as the entry `key`; a reader sees all of it or nothing."""
  try:
    cache_folder().mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=cache_folder(), suffix='.part')
  except OSError:
    return
  try:
    with os.fdopen(handle, 'w') as file:
      json.dump(value, file)
    os.replace(aside, cache_folder() / f'{key}.json')
  except OSError:
    with contextlib.suppress(OSError):
      os.unlink(aside)
