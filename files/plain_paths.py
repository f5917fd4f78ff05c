r"""Other names for paths that TensorFlow would misread.

Its readers of checkpoints take a path for a pattern: `run[1]` means `run1` to them, and a backslash
is left out. Some of its functions take no path that is not UTF-8. They get the path of a symbolic
link without such characters.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

_PATTERN = re.compile(r'[\[\]*?\\]')
# Where links may be made: a scheduler's own temporary folder may be called `job[12]`.
_FOLDERS = ('/tmp', '/var/tmp', '/dev/shm')
_NAME = 'link'


def is_plain(path: str | os.PathLike[str]) -> bool:
  """Tells whether a path means itself to all of TensorFlow's functions."""
  text = os.fspath(path)
  return not _PATTERN.search(text) and text.isprintable()


@contextlib.contextmanager
def plain(path: str | os.PathLike[str]) -> Iterator[str]:
  """Gives a plain path of what is at a path, as long as a `with` block lasts.

  Args:
    path: a file, a folder, or the prefix of the files of a checkpoint.

  Yields:
    The path itself if it is plain; else that of a link to the file or folder, beside which there
    are links to all files that have the path and a dot before the rest of their name.

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
  """Finds a folder for links."""
  for folder in (tempfile.gettempdir(), *_FOLDERS):
    if is_plain(folder) and pathlib.Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK):
      return folder
  raise OSError(f'Expected a folder for temporary files whose path has none of the characters '
                f'[]*?\\. Received: {tempfile.gettempdir()}. Set TMPDIR to another one.')
