"""Small results that are slow to compute, kept as JSON in the user's cache folder.

The cache only saves time: an entry that cannot be read or written counts as missing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable

from files.folders import cache_folder


def stamp(path) -> list:
  """A value that changes with the file: [absolute path, size, mtime, ctime]; -1s if missing.

  The modification time alone is not enough: `cp -p`, `rsync` and archives set it.
  """
  path = os.path.abspath(path)
  try:
    status = os.stat(path)
  except OSError:
    return [printable(path), -1, -1, -1]
  return [printable(path), status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def digest_of_stamps(paths: Iterable) -> str:
  """A digest that changes with any of the files, or their order; hexadecimal."""
  found = hashlib.sha256()
  for path in paths:
    found.update(json.dumps(stamp(path)).encode())
  return found.hexdigest()


def printable(path) -> str:
  """A path as printable text, even if its bytes are not UTF-8."""
  return os.fsencode(path).decode('utf-8', 'backslashreplace')


def key_of(*parts) -> str:
  """The key of the entry for `parts`, which may be anything that JSON can represent."""
  return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def load(key: str):
  """Returns the entry, or None if there is none."""
  try:
    return json.loads((cache_folder() / f'{key}.json').read_text())
  except (OSError, RecursionError, ValueError):
    return None


def store(key: str, value) -> None:
  """Stores an entry atomically."""
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
