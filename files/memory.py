"""How much memory this process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_GROUPS = 'sys/fs/cgroup'


def available(root: str | os.PathLike = '/') -> int:
  """Returns the bytes of memory that there are for this process, used or not.

  They are the machine's, or fewer where a control group has a limit, as containers and the jobs of
  clusters do.

  Args:
    root: the folder with `proc` and `sys`.
  """
  machine = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  return min([machine, *_limits(Path(root))])


def _limits(root: Path) -> Iterator[int]:
  """Yields the limits of the control groups that the process is in, the outer ones included."""
  try:
    lines = (root / 'proc/self/cgroup').read_text().splitlines()
  except OSError:  # Not on Linux.
    return
  for line in lines:
    _, controllers, path = line.split(':', 2)
    if not controllers:  # Version 2 has one tree for all.
      top, name = root / _GROUPS, 'memory.max'
    elif 'memory' in controllers.split(','):
      top, name = root / _GROUPS / 'memory', 'memory.limit_in_bytes'
    else:
      continue
    # A container may see its own group as the top, and the machine's name of it in the line.
    group = PurePosixPath(path.lstrip('/'))
    for part in (group, *group.parents):
      with contextlib.suppress(OSError, ValueError):  # ValueError: 'max', for no limit.
        yield int((top / part / name).read_text())
