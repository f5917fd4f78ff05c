"""Opening weights of any format, and finding a network's variables in them."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from files import placeholders
from nets import custom_head, scopes
from slim_zoo.weights import (
  checkpoint_files,
  formats,
  object_based,
  other_formats,
  prefixes,
  published,
  restore,
)
from slim_zoo.weights.dialects.dialect import Dialect
from slim_zoo.weights.layer_arrays import ModelArrays, layers_of
from slim_zoo.weights.layouts import Take
from slim_zoo.weights.reader import Checkpoint
from slim_zoo.weights.restore import Source

# How often a checkpoint is looked for while a training run replaces it.
_TRIES = 10
_PREFIXED = 'The names in the file begin with {!r}, which is removed.'
_QUANTIZED = ('The weights in this file are quantized to {}. They are dequantized: the network '
              'computes with floats, so its results are close to those of the quantized model, '
              'but not equal to them.')


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
  """Weights of any format, open for reading.

  Attributes:
    source: the arrays.
    metadata: facts about them, from the file next to our checkpoints and exports, or from the list
      of published weights; {} if there are none.
    format: None for name-based checkpoints, whose names are ours.
    channel_order: the order expected by the first layer, as stated by the user, or None.
    prefix: the beginning that was removed from the names in the file, such as 'module.'.
  """
  source: Source
  metadata: Mapping[str, Any]
  format: formats.Format | None = None
  channel_order: str | None = None
  prefix: str = ''

  @property
  def path(self) -> str:
    """Their name in messages."""
    return self.source.path

  @functools.cached_property
  def integers(self) -> str:
    """Types of the integers that kernels were dequantized from, such as `int8`; '' if none were."""
    kinds = {layer.integers for layer in layers_of(self.source.shapes)}
    return ', '.join(sorted(kinds - {''}))

  def _dialect(self, kind: formats.Format, network: str,
               ours: Mapping[str, Sequence[int]]) -> Dialect:
    """Chooses the names that the metadata states, or those that fit best."""
    known = kind.dialects(network, self.channel_order)
    known = [dialect for dialect in known
             if dialect.name == self.metadata.get('dialect')] or known
    if not known:
      raise ValueError(f'{self.path} is {kind.name}. Expected a network that can be read from this '
                       f'format. Received: --model_name={network}. Choose another network.')

    def num_found(dialect: Dialect) -> int:
      takes = self._takes(dialect, ours)
      return sum(take.key in self.source.shapes for take in takes.values())

    return max(known, key=num_found)

  def _takes(self, dialect: Dialect, ours: Mapping[str, Sequence[int]]) -> dict[str, Take]:
    asked = {name: tuple(shape) for name, shape in ours.items()
             if dialect.knows_heads or not scopes.matches(name, custom_head.SCOPE)}
    try:
      return dialect.takes(asked, self.source.shapes)
    except ValueError as error:
      raise ValueError(f'{self.path} cannot be used. {error}') from error

  def facts(self, network: str, ours: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Returns facts on how the weights are used with a network.

    Args:
      network: a name of `nets_factory.NETS`.
      ours: `{name: shape}` of its variables.

    Returns:
      The metadata, and `preprocessing_name`, `image_size` and `note` if known from the names in the
      file.

    Raises:
      ValueError: if the format has no names for this network.
    """
    if self.format is None:
      return dict(self.metadata)
    dialect = self._dialect(self.format, network, ours)
    notes = [_PREFIXED.format(self.prefix) if self.prefix else '',
             _QUANTIZED.format(self.integers) if self.integers else '', dialect.note]
    found = {'preprocessing_name': dialect.preprocessing, 'image_size': dialect.image_size,
             'note': ' '.join(filter(None, notes))}
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
      ValueError: if the format has no names for this network, or moving averages are requested and
        there are none.
    """
    if self.format is None:
      return restore.same_names(self.source, ours, use_averages=use_averages)
    if use_averages:
      raise ValueError(f'Expected moving averages in {self.path}. Received: {self.format.name}, '
                       'which has none. Remove the flag that requests them.')
    return self._takes(self._dialect(self.format, network, ours), ours)


def open_weights(path: str, *, channel_order: str | None = None) -> Weights:
  """Opens weights.

  Args:
    path: a checkpoint's prefix, a file of one of `formats.FORMATS`, a folder or an archive with
      one of these, or `zoo:` and a name of `published_files.PUBLISHED_FILES`.
    channel_order: 'rgb' or 'bgr', for formats that do not state which order the first layer
      expects.

  Raises:
    ValueError: if it is none of these, or damaged.
    OSError: if it does not exist or cannot be read.
  """
  tries_left = _TRIES
  while True:
    before = _checkpoints_in(path)
    try:
      return _open(path, channel_order=channel_order)
    except (OSError, ValueError):
      tries_left -= 1
      if not tries_left or before == _checkpoints_in(path):
        raise


def _checkpoints_in(path: str) -> list[str]:
  """Lists the index files in a folder; a training run replaces them while it is read."""
  if not os.path.isdir(path):
    return []
  folder = checkpoint_files.last_phase(pathlib.Path(path)) or path
  return sorted(name for name in os.listdir(folder) if name.endswith('.index'))


def _open(path: str, *, channel_order: str | None) -> Weights:
  """Opens weights once; see `open_weights`."""
  other_formats.refuse(path)
  path, known = published.resolve(path)
  other_formats.refuse(path)
  found = formats.recognize(path)
  if channel_order and not (found and found.takes_order):
    raise ValueError('--checkpoint_channel_order: expected only for files that do not state it. '
                     f'Received: {path}, which is '
                     f'{found.name if found else "a name-based checkpoint"}. Leave it out.')
  if found is None:
    formats.refuse_unknown(path)
    prefix = checkpoint_files.latest(path)
    checkpoint, metadata = Checkpoint(prefix), {**known, **checkpoint_files.read_metadata(prefix)}
    if not checkpoint_files.latest(prefix, missing_ok=True):  # Its metadata may have gone first.
      raise checkpoint_files.CheckpointError(
          f'{prefix}: expected a checkpoint that stays while it is opened. Received: one that was '
          'removed. If a run is saving there, save less often, or raise its --max_to_keep.')
    if object_based.GRAPH in checkpoint.shapes:
      return Weights(object_based.ObjectBased(checkpoint), metadata, formats.OBJECT_BASED)
    return Weights(checkpoint, metadata)
  order = channel_order or known.get('channel_order')
  arrays, prefix = _read(found, path), ''
  if found.has_prefixes:
    arrays, prefix = prefixes.without(arrays)
  of_model = arrays.facts if isinstance(arrays, ModelArrays) else {}
  metadata = {**of_model, **known, **found.facts(path),
              **checkpoint_files.read_metadata(path, of_export=True)}
  return Weights(Arrays(path, arrays), metadata, found, order, prefix)


def _read(found: formats.Format, path: str) -> Mapping[str, np.ndarray]:
  """Reads all arrays of a file."""
  try:
    return found.read(path) if found.read else {}
  except ValueError as error:
    if sign := placeholders.partial_download(path):
      raise ValueError(f'{error} Its download is not complete, as {sign} shows: continue or repeat '
                       'it.') from error
    raise
