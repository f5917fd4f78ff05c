"""How much memory this process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS = 'sys/fs/cgroup'


def available(root: str | os.PathLike = '/') -> int:
  """Returns the memory that this process may use in total, in bytes.

  That is the memory of the machine, or less if a control group limits it, as in containers and
  cluster jobs.

  Args:
    root: the directory that contains `proc` and `sys`.
  """
  machine = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  return min([machine, *_limits(Path(root))])


def _limits(root: Path) -> Iterator[int]:
  """Yields the limits of the control groups that contain the process, outer ones included."""
  try:
    lines = (root / 'proc/self/cgroup').read_text().splitlines()
  except OSError:  # Not on Linux.
    return
  for line in lines:
    _, controllers, path = line.split(':', 2)
    if not controllers:  # Version 2 has a single tree.
      top, name = root / _GROUPS, 'memory.max'
    elif 'memory' in controllers.split(','):
      top, name = root / _GROUPS / 'memory', 'memory.limit_in_bytes'
    else:
      continue
    # In a container, the top may be its own group although the line has the machine's path of it.
    group = PurePosixPath(path.lstrip('/'))
    for part in (group, *group.parents):
      with contextlib.suppress(OSError, ValueError):  # ValueError: 'max', for no limit.
        yield int((top / part / name).read_text())
