"""Finding identical images (byte for byte) in splits, regardless of file names."""

from __future__ import annotations

import collections
import concurrent.futures
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple

from datasets import content
from datasets.dataset import Dataset
from datasets.indexed import IndexedExamples
from files import cache, progress

_VERSION = 2
_LISTED = 3
_TAIL_BYTES = 4096  # Headers of different images are often equal; their ends are not.


class Place(NamedTuple):
  """An image: the number of its split, and its position in it."""
  split: int
  position: int


def find(datasets: Sequence[Dataset]) -> list[list[Place]]:
  """Finds the images that occur more than once in some splits.

  Of files of equal size, the ends are compared first; only files with equal ends are read
  completely. The result is cached until a file changes.

  Args:
    datasets: the splits. Those whose images are not separate files are skipped.

  Returns:
    For each repeated image, all its places in order.
  """
  paths = {Place(split, position): os.path.abspath(path)
           for split, dataset in enumerate(datasets) if _is_of_files(dataset)
           for position, path in enumerate(dataset.examples.files)}
  stamps = {path: cache.stamp(path) for path in paths.values()}
  key = cache.key_of('same images', _VERSION, [dataset.fingerprint for dataset in datasets],
                     list(stamps.values()))
  known = cache.load(key)
  if known is None:
    known = _compare(paths, {path: stamp[1] for path, stamp in stamps.items()})
    cache.store(key, known)
  return [[Place(*place) for place in group] for group in known]


def describe(groups: Sequence[Sequence[Place]], datasets: Sequence[Dataset]) -> list[str]:
  """Returns warnings about images in two splits, and about images with two labels in one split.

  Args:
    groups: from `find`.
    datasets: the datasets passed to `find`; each is compared with the first one.
  """
  warnings = []
  first = datasets[0]
  for number, dataset in enumerate(datasets[1:], start=1):
    pairs = [(place, group[0]) for group in groups if group[0].split == 0
             for place in group if place.split == number]
    if pairs:
      warnings.append(
          f'Warning: {_count(len(pairs))} of the split {dataset.split_name!r} '
          f'({dataset.num_examples}) {"is" if len(pairs) == 1 else "are"} also in '
          f'{first.split_name!r}, so that the accuracy will be too high: '
          f'{_shown(pairs, datasets)}. Remove them from one of the splits.')
  for number, dataset in enumerate(datasets):
    pairs = []
    for group in groups:
      same = [place for place in group if place.split == number]
      if len({dataset.labels[place.position] for place in same}) > 1:
        pairs.append((same[-1], same[0]))
    if pairs:
      warnings.append(f'Warning: {_count(len(pairs))} of the split {dataset.split_name!r} '
                      f'{"has" if len(pairs) == 1 else "have"} more than one label: '
                      f'{_shown(pairs, datasets)}. Keep one label for each.')
  return warnings


def _is_of_files(dataset: Dataset) -> bool:
  return isinstance(dataset.examples, IndexedExamples) and dataset.examples.is_of_files


def _compare(paths: dict[Place, str], sizes: dict[str, int]) -> list[list[Place]]:
  """Groups the places of equal files."""
  groups = [group for group in _grouped([sorted(paths)], lambda place: sizes[paths[place]])
            if sizes[paths[group[0]]] > 0]
  for read, description in ((_tail_of, 'comparing images'),
                            (_digest_of, 'comparing similar images')):
    files = sorted({paths[place] for group in groups for place in group})
    found = {}
    with progress.counter(len(files), unit='image', description=description) as done, \
        concurrent.futures.ThreadPoolExecutor() as pool:
      for path, value in zip(files, pool.map(read, files), strict=True):
        found[path] = value
        done.update(1)
    by_place = {place: found[paths[place]] for group in groups for place in group}
    groups = _grouped(groups, by_place.__getitem__)
    groups = [group for group in groups if by_place[group[0]] is not None]
  return groups


def _grouped(groups: Iterable[Sequence[Place]],
             key: Callable[[Place], Hashable]) -> list[list[Place]]:
  """Divides groups by a key, and keeps those with more than one place."""
  result = []
  for group in groups:
    parts = collections.defaultdict(list)
    for place in group:
      parts[key(place)].append(place)
    result += [part for part in parts.values() if len(part) > 1]
  return result


def _digest_of(path: str) -> bytes | None:
  """A digest of a file; None if it cannot be read."""
  _, digest = content.digest_of_file(path)
  return None if digest == content.UNREADABLE else digest


def _tail_of(path: str) -> bytes | None:
  """The end of a file; None if it cannot be read."""
  try:
    with open(path, 'rb') as file:
      file.seek(max(0, os.path.getsize(path) - _TAIL_BYTES))
      return file.read(_TAIL_BYTES)
  except OSError:
    return None


def _shown(pairs: Sequence[tuple[Place, Place]], datasets: Sequence[Dataset]) -> str:
  def name(place: Place) -> str:
    return datasets[place.split].examples.names[place.position]

  names = [name(one) if name(one) == name(other) else f'{name(one)} is {name(other)}'
           for one, other in pairs[:_LISTED]]
  return ', '.join(names) + (', …' if len(pairs) > _LISTED else '')


def _count(images: int) -> str:
  return '1 image' if images == 1 else f'{images} images'
