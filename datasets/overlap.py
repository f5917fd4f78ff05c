"""Finding images that are in two splits, whatever their files are called."""

from __future__ import annotations

import collections
import concurrent.futures
import os
from typing import NamedTuple

from datasets import cache, content
from datasets.dataset import Dataset
from datasets.indexed import IndexedExamples
from files import progress

_VERSION = 1
_LISTED = 3


class Pair(NamedTuple):
  """The names of the same image in two splits."""
  first: str
  second: str


def find(first: Dataset, second: Dataset) -> list[Pair]:
  """Finds the images of a split that are in another one as well, byte for byte.

  Only files of equal size are read. The result is kept until a file changes.

  Args:
    first, second: splits whose images are files of their own; nothing is found in others.

  Returns:
    For each image of `second` that is in `first`, the first that equals it.
  """
  files = [_files(dataset) for dataset in (first, second)]
  if not all(files):
    return []
  stamps = [[cache.stamp(path) for path in of_split] for of_split in files]
  key = cache.key_of('overlap', _VERSION, [first.fingerprint, second.fingerprint], stamps)
  known = cache.load(key)
  if known is None:
    known = _compare(files, [[stamp[1] for stamp in of_split] for of_split in stamps])
    cache.store(key, known)
  return [Pair(first.examples.names[i], second.examples.names[k]) for i, k in known]


def describe(pairs: list[Pair], first: Dataset, second: Dataset) -> str:
  """One warning about images that are in two splits."""
  shown = ', '.join(f'{pair.second} is {pair.first}' if pair.second != pair.first else pair.first
                    for pair in pairs[:_LISTED])
  count = '1 image' if len(pairs) == 1 else f'{len(pairs)} images'
  return (f'Warning: {count} of the split {second.split_name!r} ({second.num_examples}) '
          f'{"is" if len(pairs) == 1 else "are"} also in {first.split_name!r}, which makes its '
          f'accuracy too high: {shown}{", …" if len(pairs) > _LISTED else ""}. Remove them from '
          'one of both.')


def _files(dataset: Dataset) -> tuple[str, ...]:
  examples = dataset.examples
  return examples.files if isinstance(examples, IndexedExamples) and examples.is_of_files else ()


def _compare(files, sizes) -> list[tuple[int, int]]:
  """Returns pairs of positions of equal files."""
  wanted = set(sizes[0]) & set(sizes[1])
  candidates = [[i for i, size in enumerate(of_split) if size in wanted and size > 0]
                for of_split in sizes]
  paths = {os.path.abspath(files[s][i]) for s in (0, 1) for i in candidates[s]}
  if not paths:
    return []
  digests = {}
  with progress.counter(len(paths), unit='image', description='comparing splits') as done, \
      concurrent.futures.ThreadPoolExecutor() as pool:
    for path, (_, digest) in zip(paths, pool.map(content.digest_of_file, paths), strict=True):
      digests[path] = digest
      done.update(1)
  by_digest = collections.defaultdict(list)
  for i in candidates[0]:
    by_digest[digests[os.path.abspath(files[0][i])]].append(i)
  by_digest.pop(content.UNREADABLE, None)
  pairs = []
  for k in candidates[1]:
    same = by_digest.get(digests[os.path.abspath(files[1][k])])
    if same:
      pairs.append((same[0], k))
  return pairs
