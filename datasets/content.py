"""Digests of a split's image data, independent of file names and modification times."""

from __future__ import annotations

import concurrent.futures
import hashlib
from collections.abc import Iterator, Sequence

from datasets.dataset import Dataset
from files import cache, progress

_BLOCK = 2**20
# The digest of a file that cannot be read; its image is reported as a bad one elsewhere.
UNREADABLE = bytes(32)


def digest(dataset: Dataset) -> str:
  """Returns a digest of the bytes of a split's images, in order.

  Files are read once; results are cached per piece until a file changes. Names and labels are not
  included: see `Dataset.fingerprint`.

  Args:
    dataset: the split.
  """
  found = hashlib.sha256()
  if dataset.examples.files:
    # Examples of several pieces may be in the same file.
    pieces = dict.fromkeys(tuple(dict.fromkeys(piece.files)) for piece in dataset.examples.pieces())
    for one in _of_pieces(list(pieces)):
      found.update(one.encode())
  else:  # The images are in memory.
    for example in dataset.epoch(0).as_numpy_iterator():
      found.update(hashlib.sha256(example['image']).digest())
  return found.hexdigest()


def _of_pieces(pieces: Sequence[Sequence[str]]) -> Iterator[str]:
  """Yields the digest of each piece's files; only files without a cached digest are read."""
  stamps = [[cache.stamp(path) for path in files] for files in pieces]
  keys = [cache.key_of('content', of_files) for of_files in stamps]
  known = [cache.load(key) for key in keys]
  total = sum(max(size, 0) for of_files, one in zip(stamps, known, strict=True)
              if not isinstance(one, str) for _, size, *_ in of_files)
  with progress.counter(total, unit='B', description='reading images', in_thousands=True) as done, \
      concurrent.futures.ThreadPoolExecutor() as pool:
    for files, key, one in zip(pieces, keys, known, strict=True):
      if isinstance(one, str):
        yield one
        continue
      whole, readable = hashlib.sha256(), True
      for size, of_file in pool.map(digest_of_file, files):
        whole.update(of_file)
        done.update(size)
        readable = readable and of_file != UNREADABLE
      if readable:
        cache.store(key, whole.hexdigest())
      yield whole.hexdigest()


def digest_of_file(path: str) -> tuple[int, bytes]:
  """Returns a file's size and digest."""
  found, size = hashlib.sha256(), 0
  try:
    with open(path, 'rb') as file:
      while block := file.read(_BLOCK):
        found.update(block)
        size += len(block)
  except OSError:
    return size, UNREADABLE
  return size, found.digest()
