"""Which network's weights are in a file: every candidate is compared by names and shapes."""

from __future__ import annotations

import collections
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from files import progress
from nets import nets_factory, outline, scopes
from slim_zoo.inspection import arrays
from slim_zoo.weights import formats, opening, restore, sources
from slim_zoo.weights.dialects import keras

# A family is left out if less than this share of its smallest network's variables has a name in
# the file.
_LEAST_SHARE = 0.3
# A Keras model without names is compared with networks most of whose arrays have the same sizes.
_LEAST_EQUAL = 0.9
# Networks of different families have the same variables in Caffe's formats only, which know few.
_FEW = 10
_SEPARATORS = re.compile(r'[/;:\s]+')

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Fit:
  """How well the weights of a file fit a network.

  Attributes:
    network: its name in `nets_factory.NETS`.
    rows: the result for each of its variables.
    missing: the variables outside the head that the file lacks or has with other shapes.
    num_classes: the width of its classifier in the file; None if the file has no classifier.
    channels: the number of channels of its images.
    unused: names of the file's variables that are not the network's.
    needs_order: whether the file does not tell the channel order of the first layer.
  """
  network: str
  rows: tuple[restore.Row, ...]
  missing: tuple[restore.Row, ...]
  num_classes: int | None
  channels: int
  unused: tuple[str, ...]
  needs_order: bool = False

  @property
  def has_trunk(self) -> bool:
    """Whether all variables outside the head are there."""
    return not self.missing

  @property
  def is_exact(self) -> bool:
    """Whether all variables are there, and nothing else."""
    return self.has_trunk and self.num_classes is not None and not self.unused

  @property
  def num_found(self) -> int:
    """Number of variables outside the head that are there."""
    return self._num_outside - len(self.missing)

  @property
  def _num_outside(self) -> int:
    head = nets_factory.get_net(self.network).head
    return sum(not scopes.matches_any(row.name, head) for row in self.rows)

  @property
  def share(self) -> float:
    """Share of the variables outside the head that are there."""
    return self.num_found / max(1, self._num_outside)

  def key(self) -> tuple:
    """Returns a key that sorts the best fit first."""
    return (not self.is_exact, not self.has_trunk, -self.share, self.num_classes is None,
            len(self.unused), self.network)

  def text(self) -> str:
    """Describes the fit in a few words."""
    if not self.has_trunk:
      text = (f'{self.num_found} of its {self._num_outside} variables outside the classifier, '
              f'{nets_factory.get_net(self.network).head[0]}')
    elif self.num_classes is None:
      text = f'all its {self._num_outside} variables except for the classifier'
    else:
      text = f'all its {len(self.rows)} variables'
    return text + (f', and {len(self.unused)} others' if self.unused else '')


def find(weights: sources.Weights, *, model_name: str | None = None) -> list[Fit]:
  """Compares weights with networks.

  Args:
    weights: from `sources.open_weights`.
    model_name: the only network to compare them with; by default the one that they name, else all.

  Returns:
    A fit for each network of which something was found, the best first.

  Raises:
    ValueError: if there is no such network, or the weights cannot be used with it.
  """
  stated = model_name or weights.metadata.get('model_name')
  if stated:
    return [_compare(weights, stated, _own_shapes(weights, stated))]
  fits: list[Fit] = []
  families = _families(_candidates(weights))
  total = sum(map(len, families))
  has_names = weights.format is not formats.OBJECT_BASED  # Keras' layers have only numbers there.
  for family in families:
    for place, name in enumerate(progress.show(family, len(family), unit='network',
                                               description='Comparing')):
      found = _compared(weights, name)
      if place == 0 and has_names and (found is None or _share_of_names(
          found, weights.source.shapes) < _LEAST_SHARE):
        break
      if found and found.num_found:
        fits.append(found)
    if total > _FEW and any(fit.is_exact for fit in fits):
      break
  return sorted(fits, key=Fit.key)


def _own_shapes(weights: sources.Weights, name: str) -> Shapes:
  """Returns a network's shapes for the images that the metadata of weights state."""
  known, net = weights.metadata, nets_factory.get_net(name)
  size, channels = known.get('image_size', net.image_size), known.get('channels', net.channels)
  if (size, channels) == (net.image_size, net.channels):
    return opening.shapes_of(name)
  traced = outline.trace(name, net.classes, image_shape=[size, size, channels])
  return {**traced.trainable, **traced.others}


def _candidates(weights: sources.Weights) -> list[str]:
  """Lists the networks that the weights may belong to, by the format and by the names of scopes."""
  names = [name for name in nets_factory.NETS if _has_dialect(weights.format, name)]
  parts = {part for name in weights.source.shapes for part in _SEPARATORS.split(name)}
  # Of TF-Slim's networks, all but one family have a scope of their own around them.
  scoped = [name for name in names if _scope(name) in parts]
  if not scoped and weights.format is formats.OBJECT_BASED:
    return [name for name in names if keras.dialects(name)]
  return scoped or names


def _scope(name: str) -> str:
  return nets_factory.NETS[name].head[0].split('/')[0]


def _has_dialect(kind: formats.Format | None, name: str) -> bool:
  return kind is None or bool(kind.dialects(name, 'rgb'))


def _families(names: Iterable[str]) -> list[list[str]]:
  """Groups networks that have the same layers' names, small ones first."""
  groups: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
  for name in names:
    groups[nets_factory.NETS[name].reference, re.sub(r'\d+', '', _scope(name))].append(name)
  sizes = {name: nets_factory.NETS[name].image_size for group in groups.values() for name in group}
  families = [sorted(group, key=lambda name: (sizes[name], _numbers(name)))
              for group in groups.values()]
  return sorted(families, key=lambda family: sizes[family[0]])


def _numbers(name: str) -> tuple[list[int], str]:
  return [int(number) for number in re.findall(r'\d+', name)], name


def _share_of_names(found: Fit, theirs: Shapes) -> float:
  return sum(row.source in theirs for row in found.rows) / max(1, len(found.rows))


def _compared(weights: sources.Weights, name: str) -> Fit | None:
  """Compares weights with a network; None if they cannot be its."""
  ours = opening.shapes_of(name)
  if weights.format is formats.OBJECT_BASED and not _is_like(weights.source.shapes, ours):
    return None
  try:
    return _compare(weights, name, ours)
  except ValueError:  # Such as the weights of a network's twin.
    return None


def _is_like(theirs: Shapes, ours: Shapes) -> bool:
  """Returns whether a file has a network's names, or most of its arrays' sizes.

  Names are only compared if Keras' order of the layers has to be found, which takes seconds.
  """
  if any(f'/{name}'.endswith(f'/{known}') for known in list(ours)[:1] for name in theirs):
    return True
  sizes = [collections.Counter(map(math.prod, shapes.values())) for shapes in (theirs, ours)]
  return (sizes[0] & sizes[1]).total() >= _LEAST_EQUAL * len(ours)


def _compare(weights: sources.Weights, name: str, ours: Shapes) -> Fit:
  """Compares weights with one network."""
  needs_order, takes = False, {}
  try:
    takes = weights.takes(name, ours)
  except ValueError:
    if weights.channel_order or not (weights.format and weights.format.takes_order):
      raise
    weights = dataclasses.replace(weights, channel_order='rgb')
    needs_order, takes = True, weights.takes(name, ours)
  theirs, head = weights.source.shapes, nets_factory.get_net(name).head
  rows = restore.plan(weights.source, ours, takes).rows
  first = next((row for row in rows if len(row.shape) == 4), None)
  num_classes = _num_classes([row for row in rows if scopes.matches(row.name, head[0])])
  good = {row.name: row for row in rows if row.status == restore.RESTORED
          or _differs_in_channels(row, first)
          or (num_classes is not None and scopes.matches_any(row.name, head))}
  missing = [row for row in rows
             if row.name not in good and not scopes.matches_any(row.name, head)]
  channels = first.fitted_shape[2] if first and first.name in good and first.fitted_shape else 0
  return Fit(name, rows, tuple(missing), num_classes,
             channels or nets_factory.get_net(name).channels,
             _unused(theirs, list(good.values()), head), needs_order)


def _num_classes(head: Sequence[restore.Row]) -> int | None:
  """Returns the width of a classifier in the file, from its rows; None if it is not there."""
  shapes = [(row.shape, row.fitted_shape) for row in head]
  widths = {fitted[-1] for own, fitted in shapes if fitted and fitted[:-1] == own[:-1]}
  is_there = all(fitted and fitted[:-1] == own[:-1] for own, fitted in shapes)
  return widths.pop() if is_there and len(widths) == 1 else None


def _differs_in_channels(row: restore.Row, first: restore.Row | None) -> bool:
  """Returns whether a variable is the first kernel, and only for images with other channels."""
  return row is first and row.fitted_shape is not None and len(row.fitted_shape) == 4 and (
    (*row.fitted_shape[:2], row.fitted_shape[3]) == (*row.shape[:2], row.shape[3]))


def _unused(theirs: Shapes, good: Sequence[restore.Row], head: Sequence[str]) -> tuple[str, ...]:
  """Lists a file's variables that are not the network's, auxiliary heads aside."""
  used = {key for row in good for key in (row.name, row.source, row.take.factor)}
  return tuple(name for name in theirs if name not in used and theirs[name] != (0,)
               and arrays.role(name, theirs) == arrays.VARIABLE
               and not scopes.matches_any(name, head[1:])
               and not re.match(r'(?i).*\baux', name))


def tied(fits: Sequence[Fit]) -> Iterator[Fit]:
  """Yields the fits that are as good as the first one."""
  if not fits:
    return
  best = fits[0].key()[:-1]
  yield from (fit for fit in fits[1:] if fit.key()[:-1] == best)
