"""The directory of the cache, where the programs keep what they would download or compute again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder() -> Path:
  """Returns the directory of the cache: `$XDG_CACHE_HOME/slim_zoo`, or `~/.cache/slim_zoo`."""
  base = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
  if not os.path.isabs(base):  # A user without a home, as in some containers.
    base = os.path.join(tempfile.gettempdir(), f'cache-{os.getuid()}')
  return Path(base) / 'slim_zoo'
