"""Locks between processes that make the same file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

# What file systems of clusters answer that are mounted without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path) -> Iterator[None]:
  """Keeps other processes that would make `path` waiting; says so in those that wait.

  The lock is on a file beside it, `<path>.lock`, which is removed at the end. It goes with the
  process, however that ends. On a file system without locks there is none.

  Args:
    path: the file or folder that is made; its folder exists.

  Raises:
    OSError: if the folder cannot be written to.
  """
  name = Path(f'{path}.lock')
  may_wait = False
  while True:
    with open(name, 'ab') as file:
      if not _take(file, wait=may_wait):
        print(f'Waiting for another process that makes {path}.')
        may_wait = True
        continue
      if not _is_at(file, name):  # Whoever held it has removed it.
        continue
      try:
        yield
      finally:
        with contextlib.suppress(OSError):
          name.unlink()
      return


def _take(file: IO, *, wait: bool) -> bool:
  """Locks a file; returns whether that went without waiting, or by waiting if it may."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
  return True


def _is_at(file: IO, name: Path) -> bool:
  try:
    return os.path.samestat(os.fstat(file.fileno()), os.stat(name))
  except FileNotFoundError:
    return False
