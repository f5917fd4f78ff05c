"""Locks between processes.

`filelock` cannot replace them: if a file system has no `flock` (ENOSYS), it falls back on a marker
file, which a killed process leaves behind, and it raises on ENOLCK and EOPNOTSUPP.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

# Errors of file systems that are mounted without locks, as on some clusters.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
# Errors for an open file that another process, on this machine or another, has removed.
_GONE = (errno.ENOENT, errno.ESTALE)


@contextlib.contextmanager
def locked(path) -> Iterator[None]:
  """Makes other processes wait that want to make `path`; these print a message.

  The lock is on a file beside it, `<path>.lock`, which is removed at the end. It is released when
  the process ends, however it ends. On a file system without locks nothing is locked.

  Args:
    path: the file or folder to make; its parent folder exists.

  Raises:
    OSError: if the folder cannot be written to.
  """
  name = Path(f'{path}.lock')
  may_wait = False
  while True:
    with open(name, 'ab') as file:
      try:
        taken = may_take(file, wait=may_wait)
        if taken and not _is_at(file, name):
          continue
      except OSError as error:
        if error.errno not in _GONE:
          raise
        continue  # The process that held it has removed it.
      if not taken:
        print(f'Waiting for another process that is making {path}.')
        may_wait = True
        continue
      try:
        yield
      finally:
        with contextlib.suppress(OSError):
          name.unlink()
      return


def may_take(file: IO, *, wait: bool = False, is_shared: bool = False,
             warn: Callable[[OSError], None] = lambda error: None) -> bool:
  """Locks an open file.

  Args:
    file: the file.
    wait: whether to wait for a process that holds the lock.
    is_shared: whether others may have a shared lock at the same time.
    warn: called with the error if the file system has no locks.

  Returns:
    Whether the caller may continue: it holds the lock, or there are no locks.
  """
  try:
    fcntl.flock(file, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
                | (0 if wait else fcntl.LOCK_NB))
  except BlockingIOError:
    return False
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
    warn(error)
  return True


def _is_at(file: IO, name: Path) -> bool:
  """Returns whether an open file still has that name; another process may have replaced it."""
  return os.path.samestat(os.fstat(file.fileno()), os.stat(name))
