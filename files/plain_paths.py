r"""Links to paths that TensorFlow would misread.

Its checkpoint readers treat a path as a pattern: `run[1]` means `run1` to them, and a backslash is
dropped. Some of its functions do not accept paths that are not UTF-8. They are given the path of a
symbolic link without such characters.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

_PATTERN = re.compile(r'[\[\]*?\\]')
# Alternatives to the temporary directory, which a scheduler may have called `job[12]`.
_FOLDERS = ('/tmp', '/var/tmp', '/dev/shm')
_NAME = 'link'


def is_plain(path: str | os.PathLike[str]) -> bool:
  """Returns whether all of TensorFlow's functions read a path as it is."""
  text = os.fspath(path)
  return not _PATTERN.search(text) and text.isprintable()


@contextlib.contextmanager
def plain(path: str | os.PathLike[str]) -> Iterator[str]:
  """Provides a plain path to the content of a path, for the duration of a `with` block.

  Args:
    path: a file, a directory, or the prefix of the files of a checkpoint.

  Yields:
    The path itself if it is plain; otherwise that of a link to the file or directory, next to links
    to all files whose names begin with the path and a dot.

  Raises:
    OSError: if no link can be made.
  """
  text = os.fspath(path)
  if is_plain(text):
    yield text
    return
  with tempfile.TemporaryDirectory(prefix='slim-zoo-', dir=_folder()) as folder:
    where, name = os.path.split(os.path.abspath(text))
    for found in os.listdir(where):
      if found == name or found.startswith(f'{name}.'):
        os.symlink(os.path.join(where, found), os.path.join(folder, _NAME + found[len(name):]))
    yield os.path.join(folder, _NAME)


def _folder() -> str:
  """Finds a directory for links."""
  for folder in (tempfile.gettempdir(), *_FOLDERS):
    if is_plain(folder) and pathlib.Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
      return folder
  raise OSError(f'Expected: a directory for temporary files without the characters []*?\\ in its '
                f'path. Received: {tempfile.gettempdir()}. Set TMPDIR to another one.')
