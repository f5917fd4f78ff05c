"""Learning rates by depth: a factor for each variable, by its scope or by its layer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from nets import scopes

FLAG = 'learning_rate_multipliers'
Entries = Sequence[tuple[str, float]]

_NORMALIZATION = frozenset({'beta', 'gamma', 'moving_mean', 'moving_variance'})


def parse(text: str | None) -> tuple[tuple[str, float], ...]:
  """Reads factors such as `conv:0,fc6:0.1,fc8:1`.

  Args:
    text: `scope:factor` pairs, separated by commas; None or '' has none.

  Returns:
    `(scope, factor)` pairs in their order, factors at least 0.

  Raises:
    ValueError: if a part is not such a pair.
  """
  return tuple(_parse_entry(part.strip()) for part in (text or '').split(',') if part.strip())


def _parse_entry(part: str) -> tuple[str, float]:
  scope, _, number = part.rpartition(':')
  scope = scope.strip().strip('/')
  try:
    factor = float(number)
  except ValueError:
    factor = math.nan
  if not scope or not 0 <= factor < math.inf:
    raise ValueError(f'--{FLAG}: expected scope:factor with a factor of at least 0, such as '
                     f'fc6:0.1. Received: {part!r}.')
  return scope, factor


def matches(name: str, scope: str) -> bool:
  """Returns whether a variable is in a scope, which need not include the network's own scope.

  As in `scopes.matches`, whole path components are compared, with shell wildcards; and a scope
  that ends in a letter also stands for its numbered ones: `conv` matches `vgg_16/conv1/…`, but
  `conv1` does not match `conv10`, nor `Conv` the layer `Conv_1`.
  """
  return any(scopes.matches(numbered, scope) for path in (name, _below(name))
             for numbered in (path, _without_number(path, scope)))


def _below(name: str) -> str:
  return name.partition('/')[2]


def _without_number(path: str, scope: str) -> str:
  """Drops the number of the component that is compared with the scope's last one."""
  parts, last = path.split('/'), scope.count('/')
  if scope[-1].isalpha() and last < len(parts):
    parts[last] = parts[last].rstrip('0123456789')
  return '/'.join(parts)


def factor(name: str, entries: Entries) -> float:
  """Returns the factor of the last entry that matches a variable's name; 1 if none does."""
  return next((value for scope, value in reversed(entries) if matches(name, scope)), 1.0)


def freezing(entries: Entries) -> Callable[[str], bool] | None:
  """Returns the `is_frozen` of a `Network`: whether a name's factor is 0; None if no factor is."""
  if all(value for _, value in entries):
    return None
  return lambda name: factor(name, entries) == 0


def multipliers(names: Iterable[str], entries: Entries, *, decay: float | None = None,
                head: Sequence[str] = ()) -> dict[str, float]:
  """Computes the factor of each variable's learning rate.

  Args:
    names: a network's variables, in the order of its layers.
    entries: from `parse`; each must match something.
    decay: see `layer_decay`, whose factors are multiplied with those of the entries; None for
      none.
    head: scopes of the network's classifiers, for `layer_decay`.

  Returns:
    `{name: factor}` for all names.

  Raises:
    ValueError: if an entry matches no variable; the error names the closest scopes.
  """
  names = list(names)
  for scope, _ in entries:
    if not any(matches(name, scope) for name in names):
      raise scopes.unmatched(scope, [*names, *map(_below, names)], FLAG)
  by_depth = layer_decay(names, decay, head=head) if decay is not None else {}
  return {name: factor(name, entries) * by_depth.get(name, 1.0) for name in names}


def layer_decay(names: Iterable[str], decay: float, *, head: Sequence[str]) -> dict[str, float]:
  """Computes factors that shrink from layer to layer, from the classifier down; see `layers`.

  Args:
    names: all of a network's variables, in the order of its layers.
    decay: the factor of the layer below the classifier, in (0, 1]; the next layer has its square.
    head: scopes of the classifiers, including auxiliary ones, whose factor is 1.

  Returns:
    `{name: factor}` for all names.

  Raises:
    ValueError: if the decay is outside (0, 1].
  """
  if not 0 < decay <= 1:
    raise ValueError(f'--layer_decay: expected a factor above 0 and at most 1. Received: {decay}.')
  names = list(names)
  depths = {name: depth for depth, found in enumerate(reversed(layers(names, head=head)), start=1)
            for name in found}
  return {name: decay ** depths.get(name, 0) for name in names}


def layers(names: Iterable[str], *, head: Sequence[str]) -> list[list[str]]:
  """Groups the variables below the classifiers by layer.

  A layer is the scope directly below the network's own, such as `vgg_16/conv1` or
  `resnet_v1_50/block3`; in networks without one, such as NASNet, the first component. A scope that
  holds only a normalization, such as NASNet's `conv0_bn`, belongs to the layer before it.

  Args:
    names, head: see `layer_decay`.

  Returns:
    The names of each layer's variables, from the images up.
  """
  trunk = [name for name in names if not scopes.matches_any(name, head)]
  length = 2 if len({name.split('/')[0] for name in trunk}) == 1 else 1
  variables: dict[str, list[str]] = {}
  for name in trunk:
    variables.setdefault('/'.join(name.split('/')[:length]), []).append(name)
  found: list[list[str]] = []
  for of_scope in variables.values():
    if found and all(name.split('/')[-1] in _NORMALIZATION for name in of_scope):
      found[-1] += of_scope
    else:
      found.append(of_scope)
  return found
