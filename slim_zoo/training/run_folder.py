"""The folder of a run: one job at a time writes to it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
from collections.abc import Iterator

# What file systems of clusters answer that are mounted without locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Holds a run's folder, which is made if need be, for this process alone.

  The lock goes with the process, however it ends. On a file system without locks there is none,
  which is printed.

  Raises:
    ValueError: if another process holds it.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  with open(folder / '.lock', 'a+', encoding='utf-8', errors='replace') as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      lock.seek(0)
      raise ValueError(f'Another job is training in {folder} ({lock.read().strip()}). Expected a '
                       'folder for this job alone: give another --train_dir, or stop that job.'
                       ) from error
    except OSError as error:
      if error.errno not in _NO_LOCKS:
        raise
      print(f'Warning: the file system of {folder} has no locks ({error.strerror}). See to it that '
            'one job alone trains there.')
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {socket.gethostname()}')
    lock.flush()
    yield folder
