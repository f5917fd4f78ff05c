"""Opening weights of any format, and finding a network's variables in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nets import custom_head, scopes
from slim_zoo.weights import checkpoint_files, formats, object_based, published, restore
from slim_zoo.weights.dialects.dialect import Dialect
from slim_zoo.weights.layouts import Take
from slim_zoo.weights.reader import Checkpoint
from slim_zoo.weights.restore import Source


class Arrays:
  """A file whose arrays have all been read; a `restore.Source`."""

  def __init__(self, path: str, arrays: Mapping[str, np.ndarray]):
    self.path, self._arrays = path, arrays
    self.shapes = {name: array.shape for name, array in arrays.items()}

  def read(self, name: str) -> np.ndarray:
    """Returns one array."""
    return self._arrays[name]


@dataclasses.dataclass(frozen=True)
class Weights:
  """Weights that are open for reading, whatever their format.

  Attributes:
    source: the arrays.
    metadata: facts about them, from the file beside our checkpoints and exports, or from the list
      of published weights; {} if there are none.
    format: None for name-based checkpoints, whose names are ours.
    channel_order: the order that the first layer expects, as the user stated it, or None.
  """
  source: Source
  metadata: Mapping[str, Any]
  format: formats.Format | None = None
  channel_order: str | None = None

  @property
  def path(self) -> str:
    """Their name in messages."""
    return self.source.path

  def _dialect(self, kind: formats.Format, network: str,
               ours: Mapping[str, Sequence[int]]) -> Dialect:
    """Chooses the names that fit best."""
    known = kind.dialects(network, self.channel_order)
    if not known:
      raise ValueError(f'{self.path} is {kind.name}. Expected a network whose names in this format '
                       f'are known. Received: --model_name={network}. Choose another network.')

    def num_found(dialect: Dialect) -> int:
      takes = self._takes(dialect, ours)
      return sum(take.key in self.source.shapes for take in takes.values())

    return max(known, key=num_found)

  def _takes(self, dialect: Dialect, ours: Mapping[str, Sequence[int]]) -> dict[str, Take]:
    asked = {name: tuple(shape) for name, shape in ours.items()
             if dialect.knows_heads or not scopes.matches(name, custom_head.SCOPE)}
    return dialect.takes(asked, self.source.shapes)

  def facts(self, network: str, ours: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Returns facts on how the weights are used with a network.

    Args:
      network: a name of `nets_factory.NETS`.
      ours: `{name: shape}` of its variables.

    Returns:
      The metadata, and `preprocessing_name`, `image_size` and `note` if the names in the file
      tell them.

    Raises:
      ValueError: if the format has no names for this network.
    """
    if self.format is None:
      return dict(self.metadata)
    dialect = self._dialect(self.format, network, ours)
    found = {'preprocessing_name': dialect.preprocessing, 'image_size': dialect.image_size,
             'note': dialect.note}
    return {**{key: value for key, value in found.items() if value}, **self.metadata}

  def takes(self, network: str, ours: Mapping[str, Sequence[int]], *,
            use_averages: bool | None = None) -> dict[str, Take]:
    """Finds a network's variables.

    Args:
      network: a name of `nets_factory.NETS`.
      ours: `{name: shape}` of its variables, in the order of its layers.
      use_averages: see `restore.same_names`.

    Returns:
      `{name: take}`, for `restore.plan`.

    Raises:
      ValueError: if the format has no names for this network, or moving averages are asked for and
        there are none.
    """
    if self.format is None:
      return restore.same_names(self.source, ours, use_averages=use_averages)
    if use_averages:
      raise ValueError(f'Expected moving averages in {self.path}. Received: {self.format.name}, '
                       'which has none. Leave out the flag that asks for them.')
    return self._takes(self._dialect(self.format, network, ours), ours)


def open_weights(path: str, *, channel_order: str | None = None) -> Weights:
  """Opens weights.

  Args:
    path: a checkpoint's prefix or a folder of checkpoints, a file of one of `formats.FORMATS`, a
      tar archive with a checkpoint, or `zoo:` and a name of `published_files.PUBLISHED_FILES`.
    channel_order: 'rgb' or 'bgr', for formats that do not say which order the first layer expects.

  Raises:
    ValueError: if it is none of these, or damaged.
    OSError: if it does not exist or may not be read.
  """
  path, known = published.resolve(path)
  found = formats.recognize(path)
  if channel_order and not (found and found.takes_order):
    raise ValueError('--checkpoint_channel_order: expected only for files that do not state it. '
                     f'Received: {path}, which is '
                     f'{found.name if found else "a name-based checkpoint"}. Leave it out.')
  if found is None:
    formats.refuse_unknown(path)
    prefix = checkpoint_files.latest(path)
    checkpoint, metadata = Checkpoint(prefix), {**known, **checkpoint_files.read_metadata(prefix)}
    if object_based.GRAPH in checkpoint.shapes:
      return Weights(object_based.ObjectBased(checkpoint), metadata, formats.OBJECT_BASED)
    return Weights(checkpoint, metadata)
  order = channel_order or known.get('channel_order')
  metadata = {**known, **checkpoint_files.read_metadata(path, of_export=True)}
  return Weights(Arrays(path, found.read(path) if found.read else {}), metadata, found, order)
