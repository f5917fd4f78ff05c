"""What the images of a split are, whatever their files are called and whenever they were copied."""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
from collections.abc import Sequence

from datasets import cache
from datasets.dataset import Dataset

_WORTH_A_LINE = 2**30
_FILES_A_TASK = 256


def digest(dataset: Dataset) -> str:
  """Returns a digest of the bytes that a split's images lie in, in their order.

  Files are read once; after that their digest is known as long as size, time of change and inode
  stay as they are. (The time of the last write alone can be set, and is, by `cp -p`, `rsync` and
  archives.) Names and labels are not part of it: see `Dataset.fingerprint`.

  Args:
    dataset: the split.

  Raises:
    OSError: if a file cannot be read.
  """
  files = list(dict.fromkeys(dataset.examples.files))
  if not files:  # They lie in memory.
    found = hashlib.sha256()
    for example in dataset.epoch(0).as_numpy_iterator():
      found.update(hashlib.sha256(example['image']).digest())
    return found.hexdigest()
  status = [os.stat(path) for path in files]
  key = cache.key_of('content', [
      [cache.printable(os.path.abspath(path)), of.st_size, of.st_mtime_ns, of.st_ctime_ns,
       of.st_ino] for path, of in zip(files, status, strict=True)])
  known = cache.load(key)
  if isinstance(known, str):
    return known
  size = sum(of.st_size for of in status)
  if size > _WORTH_A_LINE:
    print(f'Reading {len(files):,} files, {size / 2**30:,.1f} GiB, to tell them from others.',
          flush=True)
  found = hashlib.sha256()
  with concurrent.futures.ThreadPoolExecutor() as pool:
    tasks = [files[start:start + _FILES_A_TASK] for start in range(0, len(files), _FILES_A_TASK)]
    for digests in pool.map(_digests, tasks):
      found.update(digests)
  cache.store(key, found.hexdigest())
  return found.hexdigest()


def _digests(paths: Sequence[str]) -> bytes:
  """Returns the digests of some files, one after the other."""
  found = []
  for path in paths:
    one = hashlib.sha256()
    with open(path, 'rb') as file:
      while block := file.read(2**20):
        one.update(block)
    found.append(one.digest())
  return b''.join(found)
