"""Prefixes that training programs add to the names of a state dict."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

# Of parallel and compiled modules; of a network inside a module; of averages of the weights.
_PREFIX = re.compile(
    r'(module|_orig_mod|model|net|network|backbone|encoder|ema|ema_model|state_dict)\.')
# Heads and counters may be outside of the network.
_LEAST_SHARE = 0.8


def without(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
  """Removes the prefixes that most names have, such as `module.` or `module.backbone.`.

  Names without the prefix stay as they are, unless both would be the same.

  Returns:
    (the arrays, the prefix that was removed, '' if none).
  """
  found, removed = dict(arrays), ''
  while found:
    match = _PREFIX.match(next(iter(found)))
    prefix = match[0] if match else ''
    chosen = {name for name in found if prefix and name.startswith(prefix)}
    renamed = {name[len(prefix):] if name in chosen else name: array
               for name, array in found.items()} if len(chosen) >= _LEAST_SHARE * len(found) else {}
    if not chosen or len(renamed) < len(found) or '' in renamed:
      break
    found, removed = renamed, removed + prefix
  return found, removed
