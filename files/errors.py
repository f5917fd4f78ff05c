"""The errors that every table of the project shares."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ValueError:
  """Makes the error for a name that a table does not have.

  Args:
    kind: what the name names, such as 'network' or 'optimizer'.
    name: the name that was asked for.
    known: the names that exist.

  Returns:
    A ValueError that suggests the closest names and lists all of them.
  """
  known = sorted(known)
  close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
  hint = f' Did you mean {" or ".join(close)}?' if close else ''
  return ValueError(f'Unknown {kind} {name!r}.{hint} Known: {", ".join(known)}.')
