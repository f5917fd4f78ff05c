"""The images of a report: examples of a kind, with what is said about them."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from datasets.dataset import Dataset
from slim_zoo.report import duplicates, examples, page, pictures

MANY, FEW = 24, 12  # Images in a gallery.
# Hashing takes about a millisecond per image.
_MOST_COMPARED = 200_000

# From an image file and a class to uint8 [height, width, 3].
Explain = Callable[[bytes, int], np.ndarray]


class Shown(NamedTuple):
  """An example that is shown.

  Attributes:
    number: of the example, among those that were evaluated.
    explained: the class for which the report shows the evidence.
    lines: what is said about it.
  """
  number: int
  explained: int
  lines: Sequence[str]


class Gallery(NamedTuple):
  """Examples of a kind.

  Attributes:
    title, note: see `page.Section`.
    shown: the first of them.
    total: number of all of them.
  """
  title: str
  note: str
  shown: Sequence[Shown]
  total: int


def sections(galleries: Sequence[Gallery], dataset: Dataset, *, positions: np.ndarray,
             explain: Explain | None) -> list[page.Section]:
  """Reads the images of galleries.

  Args:
    galleries: the galleries.
    dataset: the split.
    positions: of the evaluated examples in it, int64 [n].
    explain: function (image file, class) -> a picture of the evidence for the class.
  """
  wanted = collections.defaultdict(set)
  for gallery in galleries:
    for one in gallery.shown:
      wanted[int(positions[one.number])].add(one.explained)
  images = _pictures(dataset, wanted, explain)

  def tile(one: Shown) -> page.Tile:
    position = int(positions[one.number])
    found = images.get(position, {})
    return page.Tile([found[key] for key in (None, one.explained) if key in found],
                     dataset.examples.names[position], one.lines)

  return [page.Section(
      gallery.title, gallery.note + (f' The first {len(gallery.shown)} of {gallery.total:,}.'
                                     if gallery.total > len(gallery.shown) else ''),
      tiles=[tile(one) for one in gallery.shown]) for gallery in galleries]


def _pictures(dataset: Dataset, wanted: Mapping[int, Iterable[int]], explain: Explain | None = None
              ) -> dict[int, dict[int | None, str]]:
  """Returns the pictures of examples by position: {None: the image, class: the evidence for it}.

  Args:
    dataset: the split.
    wanted: the positions, with the classes to explain.
    explain: see `sections`.
  """
  found: dict[int, dict[int | None, str]] = {}
  for position, image in examples.read(dataset, wanted) if wanted else ():
    small = pictures.thumbnail(image)
    found[position] = {} if small is None else {None: small}
    if explain:
      for label in wanted[position]:
        found[position][label] = pictures.small_picture(explain(image, label))
  return found


def of_duplicates(dataset: Dataset, positions: np.ndarray, training: Dataset
                  ) -> tuple[list[page.Section], list[str]]:
  """Finds images that are also in the training split; or returns a note why this is not done."""
  count = dataset.num_examples + training.num_examples
  if count > _MOST_COMPARED:
    return [], [f'Near-duplicates were not looked for: the splits have {count:,} images, more than '
                f'{_MOST_COMPARED:,}.']
  hashes, evaluated = duplicates.hashes_of(dataset), set(positions.tolist())
  pairs = duplicates.find({position: hashed for position, hashed in hashes.items()
                           if position in evaluated}, duplicates.hashes_of(training))
  return [_of_pairs(pairs, of=dataset, among=training)], []


def _of_pairs(pairs: Sequence[duplicates.Pair], *, of: Dataset, among: Dataset) -> page.Section:
  """Shows pairs, each an image of one split and one of the other."""
  shown = pairs[:FEW]
  images = _pictures(of, {pair.position: () for pair in shown})
  others = _pictures(among, {pair.other: () for pair in shown})
  tiles = []
  for number, pair in enumerate(shown, start=1):
    for split, position, found in ((of, pair.position, images), (among, pair.other, others)):
      label = split.label_name(int(split.labels[position]))
      if split is among and label != of.label_name(int(of.labels[pair.position])):
        label += ' (another class)'
      tiles.append(page.Tile(list(found.get(position, {}).values()),
                             split.examples.names[position],
                             [f'pair {number}, {split.split_name}: {label}']))
  return page.Section(
      f'Near-duplicates in {among.split_name}',
      f'Images that look like one of the split {among.split_name} (perceptual hash), in pairs. If '
      f'the network was trained on that split, they say little about new images. Found: '
      f'{len(pairs)}; shown: {len(shown)}.', tiles=tiles)
