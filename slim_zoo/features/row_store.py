"""Arrays that are filled row by row and, in a folder on the disk, outlive a process that is killed.

Each column is one `.npy` file. The number of filled rows is renewed only after they are on the
disk, so it is right whenever the process ends; rows beyond it are computed again.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from files.replacing import replacing, sync

_COUNT = 'rows.json'


@dataclasses.dataclass(frozen=True)
class Column:
  """One array of a store.

  Attributes:
    shape: of one row.
    dtype: of its numbers.
  """
  shape: tuple[int, ...]
  dtype: type[np.generic] = np.float32

  def num_bytes(self, num_rows: int) -> int:
    """Returns the size of an array of that many rows."""
    return np.dtype(self.dtype).itemsize * num_rows * math.prod(self.shape)


@dataclasses.dataclass
class RowStore:
  """Rows of one or more arrays, filled in order.

  Attributes:
    arrays: [num_rows, …], one per column.
    num_rows: how many rows there will be.
    done: how many are filled, from the first on.
    folder: folder of the files; None in memory.
  """
  arrays: list[np.ndarray]
  num_rows: int
  done: int = 0
  folder: pathlib.Path | None = None

  def write(self, batch: Sequence[np.ndarray]) -> None:
    """Fills the next rows; anything beyond the last row is dropped."""
    end = min(self.num_rows, self.done + len(batch[0]))
    for array, values in zip(self.arrays, batch, strict=True):
      array[self.done:end] = values[:end - self.done]
    self.done = end

  def flush(self) -> None:
    """Writes the filled rows to the disk, then their number."""
    if self.folder is None:
      return
    for array in self.arrays:
      if isinstance(array, np.memmap):
        array.flush()
        sync(pathlib.Path(str(array.filename)))
    replace_json(self.folder / _COUNT, {'rows': self.done})


def in_memory(columns: Sequence[Column], num_rows: int) -> RowStore:
  """Makes an empty store in memory."""
  return RowStore([np.zeros([num_rows, *column.shape], column.dtype) for column in columns],
                  num_rows)


def open_rows(folder: pathlib.Path, columns: Mapping[str, Column], num_rows: int) -> RowStore:
  """Opens the store in a folder, or makes an empty one. The caller holds a lock.

  Args:
    folder: an existing folder.
    columns: by the names of their files, without suffix.
    num_rows: how many rows there will be.

  Raises:
    ValueError: if it is damaged; `discard` it.
    OSError: if there is no room or the folder cannot be written to.
  """
  paths = {folder / f'{name}.npy': column for name, column in columns.items()}
  done = _rows_done(folder, paths, num_rows)
  if not done:
    _allocate(paths, num_rows)
  return RowStore([np.lib.format.open_memmap(path, mode='r+') for path in paths], num_rows, done,
                  folder)


def discard(folder: pathlib.Path) -> None:
  """Makes the store in a folder an empty one."""
  (folder / _COUNT).unlink(missing_ok=True)


def count_rows(folder: pathlib.Path) -> int:
  """Returns how many rows of the store in a folder are filled; 0 if there is none."""
  try:
    return int(json.loads((folder / _COUNT).read_text(encoding='utf-8'))['rows'])
  except (LookupError, OSError, RecursionError, TypeError, ValueError):
    return 0


def is_complete_file(path: pathlib.Path, column: Column, num_rows: int) -> bool:
  """Returns whether a file is a whole array of that column."""
  try:
    # Opened for writing, NumPy would replace lost bytes by zeros.
    array = np.lib.format.open_memmap(path, mode='r')
  except (OSError, ValueError):
    return False
  return array.shape == (num_rows, *column.shape) and array.dtype == column.dtype


def _rows_done(folder: pathlib.Path, paths: Mapping[pathlib.Path, Column], num_rows: int) -> int:
  if not (folder / _COUNT).exists():
    return 0
  try:
    done = json.loads((folder / _COUNT).read_text(encoding='utf-8'))['rows']
    if done in range(num_rows + 1) and all(
        is_complete_file(path, column, num_rows) for path, column in paths.items()):
      return done
  except (LookupError, RecursionError, TypeError, ValueError):
    pass
  raise ValueError('rows are lost')


def _allocate(paths: Mapping[pathlib.Path, Column], num_rows: int) -> None:
  """Makes the files with all their room: a full disk shows now rather than by a crash later."""
  try:
    for path, column in paths.items():
      array = np.lib.format.open_memmap(path, mode='w+', dtype=column.dtype,
                                        shape=(num_rows, *column.shape))
      with open(path, 'r+b') as file:
        os.posix_fallocate(file.fileno(), 0, array.offset + array.nbytes)
  except OSError:
    for path in paths:
      path.unlink(missing_ok=True)
    raise


def replace_json(path: pathlib.Path, content: object) -> None:
  """Writes a JSON file so that it holds either the old or the new content at any time."""
  with replacing(path) as aside:
    aside.write_text(json.dumps(content), encoding='utf-8')
