"""A dialect: one program's names and layouts for the variables of one network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from slim_zoo.weights.layouts import Take

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Dialect:
  """Names and layouts that a program uses for a network.

  Attributes:
    name: whose names they are, for messages, such as `torchvision`.
    takes: `takes(ours, theirs) -> {our name: Take}`: the shapes of our variables, in the order of
      the layers, and of the file's arrays; variables that it does not know are left out. Takes may
      have keys that the file lacks: they are reported as missing.
    preprocessing: recipe that the weights are used with, where not the network's own.
    image_size: height and width that they are used with, where not the network's own.
    note: what a user must know of the result, such as a difference that remains.
    knows_heads: whether heads of users' own are found as well. Other programs' networks have none,
      and their takes are not asked for those.
  """
  name: str
  takes: Callable[[Shapes, Shapes], dict[str, Take]]
  preprocessing: str | None = None
  image_size: int | None = None
  note: str = ''
  knows_heads: bool = False


def by_name(function: Callable[[str], Take | None]) -> Callable[[Shapes, Shapes], dict[str, Take]]:
  """Makes `Dialect.takes` of a function from the name of one of our variables to its take."""
  def takes(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
    del theirs
    found = {name: function(name) for name in ours}
    return {name: take for name, take in found.items() if take is not None}
  return takes
