"""Classes in the names of images that are all in one folder: `cat.0.jpg`, `Abyssinian_100.jpg`."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Sequence

# The class, and a number that may be in parentheses.
_NUMBERED = re.compile(r'(.*?[^\W\d_].*?)[\s._-]*\(?\d+\)?')
# What cameras and programs call every image.
_OF_NO_CLASS = {'img', 'dsc', 'dscn', 'dscf', 'image', 'photo', 'pic', 'picture', 'imgp', 'frame',
                'scan', 'screenshot', 'file', 'sample', 'mvi', 'gopr', 'pxl', 'page', 'test'}
_FEWEST = 2


def find(names: Sequence[str]) -> dict[str, list[str]] | None:
  """Finds the classes in names that consist of a class and a number.

  Args:
    names: names of image files.

  Returns:
    The names by class, sorted; None unless all names are like this, there are at least two classes
    with two images each, and no class is a usual name of any image, such as `IMG`.
  """
  found = collections.defaultdict(list)
  for name in names:
    match = _NUMBERED.fullmatch(os.path.splitext(name)[0])
    if not match or match[1].lower() in _OF_NO_CLASS:
      return None
    found[match[1]].append(name)
  if len(found) < 2 or min(map(len, found.values())) < _FEWEST:
    return None
  return dict(sorted(found.items()))
