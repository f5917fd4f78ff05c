"""Files that are complete or absent, also after a crash."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
  """Replaces a file at the end of a `with` block, in which another one is written.

  If the block fails, the file stays as it was.

  Args:
    path: the file; its folder exists.

  Yields:
    The path to write to, in the same folder.

  Raises:
    OSError: if the disk fails.
  """
  path = Path(path)
  aside = path.with_name(f'.{path.name}.part')  # Not found by patterns of names.
  try:
    yield aside
    sync(aside)
    os.replace(aside, path)
  finally:
    aside.unlink(missing_ok=True)


def sync(path: str | os.PathLike[str]) -> None:
  """Waits until a file, or the list of a folder's files, is on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
