"""Images of one split that are also in another, perhaps resized, compressed or slightly changed."""

from __future__ import annotations

import concurrent.futures
import itertools
from typing import NamedTuple

import imagehash
import numpy as np

from datasets.dataset import Dataset
from files import cache, progress
from slim_zoo.report import examples, images

# Bits of 64 in which the hashes of near-duplicates differ at most. One less than the number of
# bands, so that one band of both is equal.
MOST_BITS = 3
_BANDS, _BITS = 4, 16
_AT_A_TIME = 256
_SIDE = 64  # Pixels; JPEGs are decoded at the smallest size above it.
_VERSION = 1


class Pair(NamedTuple):
  """Two images that look the same.

  Attributes:
    position: in the first split.
    other: position in the second one.
    bits: number of bits in which their hashes differ.
  """
  position: int
  other: int
  bits: int


def hash_of(image: bytes) -> int | None:
  """Returns imagehash's perceptual hash of an image file, 64 bits; None if it cannot be decoded."""
  small = images.open_small(image, _SIDE)
  return None if small is None else int(str(imagehash.phash(small)), 16)


def hashes_of(dataset: Dataset) -> dict[int, int]:
  """Returns the hash of each image of a split that can be decoded, by its position."""
  key = cache.key_of('perceptual hashes', _VERSION, dataset.fingerprint,
                     cache.digest_of_stamps(dataset.examples.files))
  found = cache.load(key) if dataset.examples.files else None
  if found is None:
    found = []
    with (concurrent.futures.ThreadPoolExecutor() as pool,
          progress.counter(dataset.num_examples, unit='image',
                           description=f'looking for duplicates, {dataset.split_name}') as done):
      unread = examples.read(dataset)
      while chunk := list(itertools.islice(unread, _AT_A_TIME)):
        numbers, files = zip(*chunk, strict=True)
        found += [row for row in zip(numbers, pool.map(hash_of, files), strict=True)
                  if row[1] is not None]
        done.update(len(chunk))
    if dataset.examples.files:
      cache.store(key, found)
  return dict(found)


def find(one: dict[int, int], other: dict[int, int]) -> list[Pair]:
  """Finds the images of one split that are near-duplicates of some in another.

  Args:
    one, other: hashes by position.

  Returns:
    For each image of `one` with a near-duplicate the most similar one, the most similar first.
  """
  unique: dict[int, int] = {}
  for position, hashed in other.items():
    unique.setdefault(hashed, position)
  hashes = np.array([*unique], np.uint64)
  positions = np.array([*unique.values()], np.int64)
  bands = []
  for number in range(_BANDS):
    shift = number * _BITS
    values = (hashes >> np.uint64(shift) & np.uint64(2**_BITS - 1)).astype(np.int64)
    order = np.argsort(values, kind='stable')
    bands.append((shift, values[order], order))
  found = []
  for position, hashed in one.items():
    candidates = np.concatenate([
        order[slice(*np.searchsorted(values, _around(hashed, shift)))]
        for shift, values, order in bands])
    bits = np.bitwise_count(hashes[candidates] ^ np.uint64(hashed))
    if len(bits) and bits.min() <= MOST_BITS:
      best = int(bits.argmin())
      found.append(Pair(position, int(positions[candidates[best]]), int(bits[best])))
  return sorted(found, key=lambda pair: (pair.bits, pair.position))


def _around(hashed: int, shift: int) -> tuple[int, int]:
  """The value of a band, and the one after it."""
  value = hashed >> shift & 2**_BITS - 1
  return value, value + 1
