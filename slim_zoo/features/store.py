"""What a frozen trunk says about each image, computed once and kept, in memory or on the disk.

Row v·n + i of a store is the view v of example i of a split of n examples. On the disk a store is a
folder that is named after all that its numbers depend on, so that a change of any gives another
one; it is filled row by row and knows how far it got, so that a kill loses little and a half-filled
one is never taken for whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import dataset as dataset_lib
from files import memory
from files.locks import locked
from nets.cut import Boundary

_FORMAT = 1
_COUNT = 'rows.json'
_SHARE_OF_DISK, _SHARE_OF_MEMORY = 0.5, 0.25
_INSTEAD = 'set --cache_features=memory or off'


@dataclasses.dataclass
class Store:
  """The features of one split.

  Attributes:
    arrays: float32 [rows, …], one for each tensor of the boundary.
    num_rows: how many rows there are in the end.
    done: how many are filled, from the first on.
    folder: where it lies; None in memory.
  """
  arrays: list[np.ndarray]
  num_rows: int
  done: int = 0
  folder: pathlib.Path | None = None

  def write(self, batch: Sequence[np.ndarray]) -> None:
    """Fills the next rows; what is beyond the last one is dropped."""
    end = min(self.num_rows, self.done + len(batch[0]))
    for array, values in zip(self.arrays, batch, strict=True):
      array[self.done:end] = values[:end - self.done]
    self.done = end

  def flush(self) -> None:
    """Brings what is filled to the disk, then the note of how much that is."""
    if self.folder is None:
      return
    for number, array in enumerate(self.arrays):
      array.flush()
      _sync(_path(self.folder, number))
    aside = self.folder / f'{_COUNT}.new'
    aside.write_text(json.dumps({'rows': self.done}), encoding='utf-8')
    _sync(aside)
    os.replace(aside, self.folder / _COUNT)

  def gather(self, dataset: dataset_lib.Dataset, *,
             views: int) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]:
    """Returns the function from ids and views, int64 [B], to the features, float32 [B, …].

    Args:
      dataset: the split.
      views: how many views the store has.
    """
    ids = dataset_lib.ids(dataset.examples.names)
    order = np.argsort(ids)
    sorted_ids = ids[order]

    def read(wanted: np.ndarray, view: np.ndarray) -> list[np.ndarray]:
      # Whatever fills up a batch has the id -1, and gets the first row.
      rows = order[np.searchsorted(sorted_ids, np.maximum(wanted, sorted_ids[0]))]
      rows += view % views * len(ids)
      return [np.take(array, rows, axis=0) for array in self.arrays]

    def function(wanted: tf.Tensor, view: tf.Tensor) -> tuple[tf.Tensor, ...]:
      found = tf.numpy_function(read, [wanted, view], [tf.float32] * len(self.arrays),
                                stateful=False)
      return tuple(tf.ensure_shape(values, [wanted.shape[0], *array.shape[1:]])
                   for values, array in zip(found, self.arrays, strict=True))

    return function


def choose(boundary: Sequence[Boundary], splits: Sequence[int],
           folder: pathlib.Path) -> tuple[str, str]:
  """Chooses where features are kept.

  Args:
    boundary: the tensors between trunk and head.
    splits: how many rows each store will have.
    folder: where they would lie on the disk; it need not exist.

  Returns:
    'disk', 'memory' or 'off', and why.
  """
  folder = pathlib.Path(os.path.abspath(folder))
  existing = next(path for path in (folder, *folder.parents) if path.exists())
  num_rows, size = sum(splits), sum(size_of(boundary, rows) for rows in splits)
  shown = f'{num_rows:,} × {size // max(num_rows, 1):,} bytes, {size / 2 ** 20:,.1f} MiB'
  # An earlier run's may well be the same ones: which they are is known after restoring.
  there = sum(size_of(boundary, rows) for rows in splits if _has_alike(folder, boundary, rows))
  if not (existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)):
    hindrance = f'cannot be written to {folder}'
  elif size > _SHARE_OF_DISK * (_free_disk(existing) + there):
    hindrance = f'are too many for {folder}'
  else:
    return 'disk', f'{shown}, are less than half of what is free in {folder}'
  if size <= _SHARE_OF_MEMORY * memory.available():
    return 'memory', f'{shown}, {hindrance}, and are less than a quarter of the memory'
  return 'off', f'{shown}, {hindrance}, and are too many for the memory'


def _free_disk(folder: pathlib.Path) -> int:
  return shutil.disk_usage(folder).free


def _has_alike(folder: pathlib.Path, boundary: Sequence[Boundary], num_rows: int) -> bool:
  """Returns whether there is a store of as many rows and of the same shapes."""
  return any(all(_is_whole(_path(store, number), (num_rows, *tensor.shape))
                 for number, tensor in enumerate(boundary)) for store in folder.glob('*'))


def _is_whole(path: pathlib.Path, shape: Sequence[int]) -> bool:
  """Returns whether a file is an array of that shape, to its last byte."""
  try:
    # NumPy would fill up what is lost with zeros if it could write.
    array = np.lib.format.open_memmap(path, mode='r')
  except (OSError, ValueError):
    return False
  return array.shape == tuple(shape) and array.dtype == np.float32


def size_of(boundary: Sequence[Boundary], num_rows: int) -> int:
  """Returns the bytes of a store."""
  return 4 * num_rows * sum(int(np.prod(tensor.shape)) for tensor in boundary)


def key_of(facts: dict[str, Any], variables: dict[str, tf.Variable]) -> str:
  """Names what features depend on.

  Args:
    facts: anything that JSON holds: network, boundary, preprocessing, data and so on.
    variables: of the trunk.

  Returns:
    A hexadecimal digest.
  """
  digest = hashlib.sha256(json.dumps([_FORMAT, tf.__version__, facts], sort_keys=True).encode())
  for name in sorted(variables):
    digest.update(f'\n{name}\n'.encode())
    digest.update(np.ascontiguousarray(variables[name].numpy()))
  return digest.hexdigest()


def in_memory(boundary: Sequence[Boundary], num_rows: int) -> Store:
  """Makes an empty store in memory."""
  return Store([np.zeros([num_rows, *tensor.shape], np.float32) for tensor in boundary], num_rows)


@contextlib.contextmanager
def on_disk(folder: pathlib.Path, boundary: Sequence[Boundary], num_rows: int) -> Iterator[Store]:
  """Opens the store of a folder, or makes it; holds it for this process alone meanwhile.

  Args:
    folder: named after all that the features depend on.
    boundary: the tensors.
    num_rows: rows of the store.

  Yields:
    The store, filled as far as it was left.

  Raises:
    OSError: if there is no room or the folder may not be written to.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(error.errno, f'{error.strerror}: expected a place for features. Let '
                  f'XDG_CACHE_HOME name a folder that can be written to, or {_INSTEAD}',
                  str(folder)) from error
  paths = {_path(folder, number): (num_rows, *tensor.shape)
           for number, tensor in enumerate(boundary)}
  with locked(folder / 'store'):
    done = _rows_done(folder, paths)
    if not done:
      _allocate(paths)
    yield Store([np.lib.format.open_memmap(path, mode='r+') for path in paths], num_rows, done,
                folder)


def _rows_done(folder: pathlib.Path, paths: Mapping[pathlib.Path, Sequence[int]]) -> int:
  """Returns how many rows of a folder are filled; none if anything of them is lost."""
  if not (folder / _COUNT).exists():
    return 0
  try:
    done = json.loads((folder / _COUNT).read_text(encoding='utf-8'))['rows']
    if all(done in range(shape[0] + 1) and _is_whole(path, shape) for path, shape in paths.items()):
      return done
  except (LookupError, RecursionError, TypeError, ValueError):
    pass
  print(f'Starting anew, for what lies in {folder} is damaged.', flush=True)
  (folder / _COUNT).unlink()
  return 0


def _allocate(paths: Mapping[pathlib.Path, Sequence[int]]) -> None:
  """Makes the files of a store, with all their room: rather none now than a crash later."""
  try:
    for path, shape in paths.items():
      array = np.lib.format.open_memmap(path, mode='w+', dtype=np.float32, shape=shape)
      with open(path, 'r+b') as file:
        os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
  except OSError as error:
    for path in paths:
      path.unlink(missing_ok=True)
    size = 4 * sum(math.prod(shape) for shape in paths.values())
    raise OSError(error.errno, f'{error.strerror}: expected room for {size / 2**20:,.1f} MiB of '
                  'features. Free it, let XDG_CACHE_HOME name a folder that has it, or '
                  + _INSTEAD, str(path)) from error


def fill(store: Store, batches: Callable[[int], tf.data.Dataset], trunk: Callable, *,
         show: Callable[..., Any]) -> None:
  """Computes what a store lacks.

  Args:
    store: filled in part or not at all; full afterwards.
    batches: `batches(start)` gives the batches of images from a row on.
    trunk: `trunk(images)` gives the boundary's tensors, [batch, …] each.
    show: shows the progress: an iterable of the batches, given those and how many there are.
  """
  if store.done == store.num_rows:
    return
  compute = tf.function(lambda images: [tf.cast(t, tf.float32) for t in trunk(images)],
                        autograph=False)
  stream = batches(store.done)
  for batch in show(stream, int(stream.cardinality())):
    store.write([tensor.numpy() for tensor in compute(batch['image'])])
    store.flush()


def _path(folder: pathlib.Path, number: int) -> pathlib.Path:
  return folder / f'{number}.npy'


def _sync(path: pathlib.Path) -> None:
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)
