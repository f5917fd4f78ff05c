"""Features of a frozen trunk, computed once for a training run and kept in memory or on disk.

Row v·n + i of a store is view v of example i of a split of n examples. On disk, a store's folder is
named by a digest of everything its numbers depend on: if anything changes, so does the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from files import memory
from files.locks import locked
from nets.cut import Boundary
from slim_zoo.features import row_store
from slim_zoo.features.row_store import Column, RowStore

_FORMAT = 1
_SHARE_OF_DISK, _SHARE_OF_MEMORY = 0.5, 0.25
_INSTEAD = 'set --cache_features=memory or off'


def choose(boundary: Sequence[Boundary], splits: Sequence[int],
           folder: pathlib.Path) -> tuple[str, str]:
  """Chooses where features are kept.

  Args:
    boundary: the tensors between trunk and head.
    splits: number of rows of each store.
    folder: folder for them on disk; it need not exist.

  Returns:
    'disk', 'memory' or 'off', and the reason.
  """
  folder = pathlib.Path(os.path.abspath(folder))
  existing = next(path for path in (folder, *folder.parents) if path.exists())
  num_rows, size = sum(splits), sum(size_of(boundary, rows) for rows in splits)
  shown = f'{num_rows:,} × {size // max(num_rows, 1):,} bytes, {size / 2 ** 20:,.1f} MiB'
  # They may exist from an earlier run, which is known only after restoring.
  there = sum(size_of(boundary, rows) for rows in splits if _has_alike(folder, boundary, rows))
  if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
    hindrance = f'cannot be written to {folder}'
  elif size > _SHARE_OF_DISK * (_free_disk(existing) + there):
    hindrance = f'are too large for {folder}'
  else:
    return 'disk', f'{shown}, are less than half of the free space in {folder}'
  if size <= _SHARE_OF_MEMORY * memory.available():
    return 'memory', f'{shown}, {hindrance}, and are less than a quarter of the memory'
  return 'off', f'{shown}, {hindrance}, and are too large for the memory'


def _free_disk(folder: pathlib.Path) -> int:
  return shutil.disk_usage(folder).free


def _has_alike(folder: pathlib.Path, boundary: Sequence[Boundary], num_rows: int) -> bool:
  """Returns whether there is a store with this number of rows and these shapes."""
  return any(all(row_store.is_complete_file(store / f'{number}.npy', column, num_rows)
                 for number, column in enumerate(_columns(boundary)))
             for store in folder.glob('*'))


def _columns(boundary: Sequence[Boundary]) -> list[Column]:
  return [Column(tuple(tensor.shape)) for tensor in boundary]


def size_of(boundary: Sequence[Boundary], num_rows: int) -> int:
  """Returns the size of a store in bytes."""
  return sum(column.num_bytes(num_rows) for column in _columns(boundary))


def key_of(facts: dict[str, Any], variables: dict[str, tf.Variable]) -> str:
  """Returns a key that identifies everything the features depend on.

  Args:
    facts: network, boundary, preprocessing, data and so on, as JSON values.
    variables: the trunk's variables.

  Returns:
    A hexadecimal digest.
  """
  digest = hashlib.sha256(json.dumps([_FORMAT, tf.__version__, facts], sort_keys=True).encode())
  for name in sorted(variables):
    digest.update(f'\n{name}\n'.encode())
    digest.update(np.ascontiguousarray(variables[name].numpy()).data)
  return digest.hexdigest()


def in_memory(boundary: Sequence[Boundary], num_rows: int) -> RowStore:
  """Creates an empty store in memory."""
  return row_store.in_memory(_columns(boundary), num_rows)


@contextlib.contextmanager
def on_disk(folder: pathlib.Path, boundary: Sequence[Boundary],
            num_rows: int) -> Iterator[RowStore]:
  """Opens or creates the store in a folder and keeps it locked meanwhile.

  Args:
    folder: folder named after everything the features depend on.
    boundary: the tensors between trunk and head.
    num_rows: number of rows of the store.

  Yields:
    The store, filled as far as an earlier process got.

  Raises:
    OSError: if there is no space or the folder cannot be written to.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(error.errno, f'{error.strerror}: expected a writable folder for features. Set '
                  f'XDG_CACHE_HOME to a writable folder, or {_INSTEAD}',
                  str(folder)) from error
  with locked(folder / 'store'):
    yield _open(folder, boundary, num_rows)


def _open(folder: pathlib.Path, boundary: Sequence[Boundary], num_rows: int) -> RowStore:
  columns = {str(number): column for number, column in enumerate(_columns(boundary))}
  try:
    try:
      return row_store.open_rows(folder, columns, num_rows)
    except ValueError:
      print(f'Computing the features in {folder} again, because they are damaged.', flush=True)
      row_store.discard(folder)
      return row_store.open_rows(folder, columns, num_rows)
  except OSError as error:
    size = size_of(boundary, num_rows)
    raise OSError(error.errno, f'{error.strerror}: expected {size / 2**20:,.1f} MiB of space for '
                  'features. Free some, set XDG_CACHE_HOME to a folder with enough space, or '
                  + _INSTEAD, str(error.filename or folder)) from error


def fill(store: RowStore, batches: Callable[[int], tf.data.Dataset], trunk: Callable, *,
         show: Callable[..., Any]) -> None:
  """Computes the missing rows of a store.

  Args:
    store: partly filled or empty; full afterwards.
    batches: `batches(start)` returns the batches of images from row `start` on.
    trunk: `trunk(images)` returns the boundary's tensors, each [batch, …].
    show: `show(batches, count)` returns the batches and shows progress while they are iterated.
  """
  if store.done == store.num_rows:
    return
  compute = tf.function(lambda images: [tf.cast(t, tf.float32) for t in trunk(images)],
                        autograph=False)
  stream = batches(store.done)
  for batch in show(stream, int(stream.cardinality())):
    store.write([tensor.numpy() for tensor in compute(batch['image'])])
    store.flush()
