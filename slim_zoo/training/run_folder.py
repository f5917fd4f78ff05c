"""The folder of a run, to which one job at a time writes."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import time
from collections.abc import Iterator
from typing import IO

from files import locks

_LOCK = '.lock'
_SECONDS_OF_A_LOOK = 0.2


def required(train_dir: str | None, suggestion: str) -> pathlib.Path:
  """Returns --train_dir as a path.

  Args:
    train_dir: the option.
    suggestion: a name for the run.

  Raises:
    ValueError: if there is none: a run needs a name to be resumed by.
  """
  if not train_dir:
    raise ValueError('--train_dir: expected a directory for the checkpoints and logs of this run, '
                     f'which the same command resumes. Received: none. For example: '
                     f'--train_dir={suggestion}')
  return pathlib.Path(train_dir)


@contextlib.contextmanager
def locked(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Locks the folder of a run for this process; makes the folder if necessary.

  The lock is released when the process ends, however it ends. On a file system without locks a
  warning is printed.

  Raises:
    ValueError: if another process holds the lock; names it and its host.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)

  def warn(error: OSError) -> None:
    print(f'Warning: the file system of {folder} has no locks ({error.strerror}). Make sure that '
          'only one job trains there.')

  with open(folder / _LOCK, 'a+', encoding='utf-8', errors='replace') as lock:
    if not (locks.may_take(lock, warn=warn) or _is_free_now(lock)):
      lock.seek(0)
      raise ValueError(f'Another job is training in {folder} ({lock.read().strip()}). Expected a '
                       'folder for this job alone: use another --train_dir, or stop that job.')
    lock.truncate(0)
    lock.write(f'process {os.getpid()} on {socket.gethostname()}')
    lock.flush()
    yield folder


def is_locked(folder: str | os.PathLike) -> bool | None:
  """Returns whether a process holds the lock of a run's folder; None if that cannot be found out.

  Raises:
    OSError: if the lock's file cannot be read.
  """
  refused: list[OSError] = []
  try:
    with open(pathlib.Path(folder) / _LOCK, 'rb') as lock:
      is_free = locks.may_take(lock, is_shared=True, warn=refused.append)
  except FileNotFoundError:
    return False
  return None if refused else not is_free


def _is_free_now(lock: IO) -> bool:
  """Tries again: whoever looks with `is_locked` holds the lock for a moment."""
  time.sleep(_SECONDS_OF_A_LOOK)
  return locks.may_take(lock)
