"""The values that a pickle may contain: arrays, containers, numbers and text, of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_LONGEST_KEY = 4096  # Equal keys are compared to the end, each time a file sets them.
_MOST_NESTED = 64
_MOST_SHOWN = 32
_SPARE = 2 ** 28  # How far small files may expand, in bytes.


def check_key(key: Any) -> None:
  """Refuses keys other than short texts, bytes and integers, which are compared quickly.

  Raises:
    ValueError: if it is refused.
  """
  if type(key) in (str, bytes):
    if len(key) > _LONGEST_KEY:
      raise ValueError(f'a key of {len(key):,} characters')
  elif type(key) not in (int, bool) or abs(key) >= 2 ** 60:
    raise ValueError(f'a key of the type {type(key).__name__}')


def check_tree(root: Any, size: int, leaf_size: Callable[[Any], int | None]) -> None:
  """Refuses cycles, deep nesting, and content that expands to far more than the file.

  Args:
    root: the root object of a pickle.
    size: of the file, in bytes.
    leaf_size: returns the bytes of a value that is not a container, or None if it is not allowed.

  Raises:
    ValueError: if it is refused.
  """
  measured: dict[int, tuple[int, int]] = {}  # Depth and size of finished containers.
  opened: set[int] = set()  # The containers around the current one.
  waiting: list[tuple[Any, bool]] = [([root], False)]
  top = waiting[0][0]  # Kept alive, so that no other object gets its id.
  while waiting:
    node, children_done = waiting.pop()
    key = id(node)
    if children_done:
      measured[key] = _measure(node, measured, leaf_size)
      opened.discard(key)
    elif key in opened:
      raise ValueError('a container that holds itself')
    elif key not in measured:
      opened.add(key)
      _check_depth(len(opened) - 1)  # We made the list around the root.
      waiting.append((node, True))
      waiting.extend((child, False) for child in _children(node) if _is_container(child))
  unfolded = measured[id(top)][1]
  if unfolded > 4 * size + _SPARE:
    raise ValueError(f'containers that share parts until they unfold to {unfolded:,} bytes, in a '
                     f'file of {size:,}')


def _measure(node: Any, measured: Mapping[int, tuple[int, int]],
             leaf_size: Callable[[Any], int | None]) -> tuple[int, int]:
  """Returns the depth of a container and the size that it expands to, from those of its parts."""
  depth, size = 0, 64
  for child in _children(node):
    if _is_container(child):
      inner = measured[id(child)]
      depth, size = max(depth, inner[0]), size + 8 + inner[1]
    else:
      own = leaf_size(child)
      if own is None:
        raise ValueError(f'an object of the type {type(child).__name__}')
      size += 16 + own
  _check_depth(depth)
  return depth + 1, size


def _check_depth(depth: int) -> None:
  if depth > _MOST_NESTED:
    raise ValueError(f'containers that are nested more than {_MOST_NESTED} deep')


def _is_container(value: Any) -> bool:
  return type(value) in (list, tuple, dict) or (type(value) is np.ndarray and value.dtype == object)


def _children(node: Any) -> list[Any]:
  if type(node) is dict:
    return list(node.values())
  return node.reshape(-1).tolist() if type(node) is np.ndarray else list(node)


def leaf_size(value: Any) -> int | None:
  """Returns the bytes of a value that is not a container; None if it is not a plain value."""
  if type(value) in (str, bytes, bytearray):
    return len(value)
  if type(value) in (int, float, bool, type(None)) or isinstance(value, np.generic):
    return 0
  return value.nbytes if type(value) is np.ndarray else None


def shown(value: Any) -> str:
  """Formats a value for a message; never the parts of a container, which may be endless."""
  if type(value) is tuple and len(value) <= _MOST_SHOWN and all(type(n) is int for n in value):
    return repr(value)
  return repr(value[:40]) if type(value) is str else f'of the type {type(value).__name__}'
