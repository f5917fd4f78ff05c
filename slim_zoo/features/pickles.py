"""Pickled features: a dict with `features` and `labels`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from files.unpickling import read_pickle, reading
from slim_zoo.features.features import Features, as_labels, as_values

_EXPECTED = ("a pickled dict with 'features', numbers [n, …], and 'labels', one integer per "
             'example')


def read(path: str | os.PathLike[str]) -> Features:
  """Reads the features and labels of a pickle; other entries are ignored.

  Args:
    path: a pickled dict, from Python 2 or 3, whose keys are text or bytes and whose values are
      arrays or lists of any numbers, including uint8 pixels.

  Returns:
    The features; the names are '0', '1' and so on.

  Raises:
    ValueError: if the file is damaged or has other content; nothing in it has been run.
    OSError: if it does not exist or cannot be read.
  """
  content = read_pickle(path)
  with reading(path, _EXPECTED, 'Save such a dict where it was made.'):
    if not isinstance(content, Mapping):
      raise ValueError(f'a {type(content).__name__}')
    values, labels = as_values(_entry(content, 'features')), as_labels(_entry(content, 'labels'))
    return Features(values, labels, tuple(map(str, range(len(values)))))


def _entry(content: Mapping[Any, Any], name: str) -> Any:
  for key in (name, name.encode()):
    if key in content:
      return content[key]
  raise ValueError(f'a dict without {name!r}, with the keys {list(content)[:10]}')
