"""A dialect: one program's names and layouts for the variables of one network."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping

import numpy as np

from slim_zoo.weights.layouts import Take

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Dialect:
  """Names and layouts that a program uses for a network.

  Attributes:
    name: whose names they are, for messages, such as `torchvision`.
    takes: `takes(ours, theirs) -> {our name: Take}`, from the shapes of our variables, in the order
      of the layers, and of the file's arrays. Unknown variables are left out. Keys of takes that
      the file lacks are reported as missing. Raises ValueError, which says what was expected and
      received, for arrays that cannot be converted.
    preprocessing: preprocessing for the weights, if not the network's own.
    image_size: height and width of images for the weights, if not the network's own.
    note: what a user must know about the result, such as a remaining difference.
    knows_heads: whether custom heads are found as well. Other programs' networks have none, so
      their takes are not called for those.
  """
  name: str
  takes: Callable[[Shapes, Shapes], dict[str, Take]]
  preprocessing: str | None = None
  image_size: int | None = None
  note: str = ''
  knows_heads: bool = False


def by_name(function: Callable[[str], Take | None]) -> Callable[[Shapes, Shapes], dict[str, Take]]:
  """Makes `Dialect.takes` from a function that maps our variable's name to its take."""
  def takes(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
    del theirs
    found = {name: function(name) for name in ours}
    return {name: take for name, take in found.items() if take is not None}
  return takes


def arrays_of(dialect: Dialect, values: Mapping[str, np.ndarray],
              theirs: Shapes = types.MappingProxyType({})) -> dict[str, np.ndarray]:
  """Converts a network's variables to a program's arrays, the reverse of restoring them.

  Args:
    dialect: the program's names, whose steps have inverses.
    values: `{our name: value}`, in the order of the layers.
    theirs: shapes of the program's arrays, if the dialect's names depend on them.

  Returns:
    `{their name: array}`, of the variables that the program has. Where only its batch norm has
    scales, they are 1.
  """
  shapes = {name: tuple(value.shape) for name, value in values.items()}
  result = {}
  for name, take in dialect.takes(shapes, theirs).items():
    result[take.key] = take.revert(values[name])
    if take.factor:
      result[take.factor] = np.ones(shapes[name][-1:], np.float32)
  return result
