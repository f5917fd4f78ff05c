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
# What they answer of a file that is open and that another process, here or elsewhere, has removed.
_GONE = (errno.ENOENT, errno.ESTALE)


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
      try:
        taken = _take(file, wait=may_wait)
        if taken and not _is_at(file, name):
          continue
      except OSError as error:
        if error.errno not in _GONE:
          raise
        continue  # Whoever held it has removed it.
      if not taken:
        print(f'Waiting for another process that makes {path}.')
        may_wait = True
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
  """Whether a file still is what has that name; another process may have made it anew."""
  return os.path.samestat(os.fstat(file.fileno()), os.stat(name))
