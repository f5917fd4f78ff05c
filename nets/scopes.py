"""Scopes: the variable names that a list such as `MobilenetV1/Logits,aux_*` matches."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Sequence


def split(scopes: str | None) -> tuple[str, ...]:
  """Splits a flag's comma-separated scopes, without spaces and trailing slashes."""
  return tuple(s for s in (p.strip().rstrip('/') for p in (scopes or '').split(',')) if s)


def matches(name: str, scope: str) -> bool:
  """Returns whether a variable is in a scope.

  Whole path components are matched, each with shell wildcards: `cell_1` does not match
  `cell_10/weights`, `aux_*` matches `aux_7/conv/weights`.

  Args:
    name: a variable name, such as `alexnet_v2/fc8/weights`.
    scope: a scope, or a full variable name.
  """
  parts, pattern = name.split('/'), scope.split('/')
  return len(pattern) <= len(parts) and all(
      fnmatch.fnmatchcase(part, glob) for part, glob in zip(parts, pattern, strict=False))


def matches_any(name: str, scopes: Iterable[str]) -> bool:
  """Returns whether a variable is in any of the scopes."""
  return any(matches(name, scope) for scope in scopes)


def select(names: Iterable[str], scopes: Sequence[str], flag: str) -> list[str]:
  """Returns the names that are in any of the scopes, in their order.

  Args:
    names: variable names.
    scopes: scopes, each of which must match something.
    flag: name of the flag, for the error.

  Raises:
    ValueError: if a scope matches no variable; the error names the closest scopes.
  """
  names = list(names)
  for scope in scopes:
    if not any(matches(name, scope) for name in names):
      raise unmatched(scope, names, flag)
  return [name for name in names if matches_any(name, scopes)]


def unmatched(scope: str, names: Iterable[str], flag: str) -> ValueError:
  """Returns the error for a scope that matches no variable.

  Args:
    scope: the scope.
    names: variable names, from which the closest scopes are suggested.
    flag: name of the flag.
  """
  names = list(names)
  known = sorted({'/'.join(name.split('/')[:depth]) for name in names
                  for depth in range(1, name.count('/') + 1)})
  close = difflib.get_close_matches(scope, known, n=3, cutoff=0.4)
  if not close:
    close = sorted({name.split('/')[0] for name in names})
  return ValueError(f'--{flag}: the scope {scope!r} matches no variable of the network. '
                    f'Closest scopes: {", ".join(close)}.')
