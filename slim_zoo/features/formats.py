"""The formats of feature files, chosen by suffix."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from files.errors import unknown_name
from files.locks import locked
from slim_zoo.features import npz, parquet, parts, pickles, row_store, tfrecord
from slim_zoo.features.features import Features
from slim_zoo.features.header import Header


@dataclasses.dataclass(frozen=True)
class Format:
  """One format.

  Attributes:
    read: `read(path)` returns the features.
    check_packages: raises a ValueError if a package required by the format is not installed.
  """
  read: Callable[[str | os.PathLike[str]], Features]
  _: dataclasses.KW_ONLY
  check_packages: Callable[[], Any] = lambda: None


@dataclasses.dataclass(frozen=True)
class WritableFormat(Format):
  """A format that can also be written.

  Attributes:
    write: `write(path, features)` writes a file.
    read_header: `read_header(path)` returns the header of a file.
  """
  write: Callable[[str | os.PathLike[str], Features], None]
  read_header: Callable[[str | os.PathLike[str]], Header]


_PICKLE = Format(pickles.read)
FORMATS: dict[str, Format] = {
    '.npz': WritableFormat(npz.read, npz.write, npz.read_header),
    '.p': _PICKLE,
    '.parquet': WritableFormat(parquet.read, parquet.write, parquet.read_header,
                               check_packages=parquet.import_packages),
    '.pickle': _PICKLE,
    '.pkl': _PICKLE,
    '.tfrecord': WritableFormat(tfrecord.read, tfrecord.write, tfrecord.read_header),
}


_WRITABLE = {suffix: found for suffix, found in FORMATS.items()
             if isinstance(found, WritableFormat)}
_Known = TypeVar('_Known', bound=Format)


def _format_of(path: str | os.PathLike[str], known: Mapping[str, _Known]) -> _Known:
  suffix = pathlib.Path(path).suffix
  if suffix not in known:
    raise unknown_name('suffix of a feature file', suffix, known)
  return known[suffix]


def read(path: str | os.PathLike[str]) -> Features:
  """Reads a feature file into memory.

  Args:
    path: a file with a suffix in `FORMATS`.

  Raises:
    ValueError: if the suffix is unknown, or the file is damaged or has other content, such as NaN.
    OSError: if it does not exist or cannot be read.
  """
  features = _format_of(path, FORMATS).read(path)
  for rows in features.chunks():
    chunk = features.values[rows]
    wrong = np.flatnonzero(~np.isfinite(chunk).all(tuple(range(1, chunk.ndim))))
    if len(wrong):
      row = rows.start + int(wrong[0])
      raise ValueError(f'{path}: expected finite numbers as features. Received NaN or infinity in '
                       f'row {row}, the features of {features.names[row]}. Create the file '
                       'again, or leave such rows out.')
  return features


def check_writable(path: str | os.PathLike[str]) -> None:
  """Checks, before anything is computed, that a feature file can be written to a path.

  Raises:
    ValueError: if the suffix is unknown, or a package required by the format is not installed.
  """
  _format_of(path, _WRITABLE).check_packages()


def count_rows(path: str | os.PathLike[str]) -> int | None:
  """Returns how many rows of a file have been computed; None if it is finished."""
  if os.path.exists(path):
    return None
  return row_store.count_rows(pathlib.Path(f'{path}.part'))


@contextlib.contextmanager
def writer(path: str | os.PathLike[str], *, facts: Mapping[str, Any], class_names: Sequence[str],
           num_examples: int, shape: Sequence[int]) -> Iterator[parts.Part | parts.Finished]:
  """Creates a feature file row by row; it is complete or absent.

  Until all rows are written they are kept in `<path>.part`, so that a call after a kill continues
  where the last one stopped. If several processes write the file, one works and the others wait.

  Args:
    path: a file with a suffix that can be written.
    facts: everything the features depend on, as JSON values.
    class_names: one per label.
    num_examples: total number of rows.
    shape: shape of one row.

  Yields:
    An object with `.done`, the number of rows so far, and `.write(names, labels, values)`. If the
    file is finished, all rows are done.

  Raises:
    ValueError: if the suffix is unknown, or the path has a file of other features.
    OSError: if there is no space or it cannot be written.
  """
  format_, path = _format_of(path, _WRITABLE), pathlib.Path(path)
  header = Header(num_examples, tuple(map(int, shape)), tuple(class_names),
                  json.loads(json.dumps(facts)))
  folder = pathlib.Path(f'{path}.part')
  path.parent.mkdir(parents=True, exist_ok=True)
  with locked(folder):
    if _is_finished(path, header):
      shutil.rmtree(folder, ignore_errors=True)  # Left by a process killed at the very end.
      yield parts.Finished(num_examples)
      return
    with parts.opened(folder, header) as part:
      yield part
      if part.done < num_examples:
        return
      aside = folder / f'whole{path.suffix}'
      format_.write(aside, part.features())
    with open(aside, 'r+b') as file:
      os.fsync(file.fileno())
    os.replace(aside, path)
    shutil.rmtree(folder)


def _is_finished(path: str | os.PathLike[str], header: Header) -> bool:
  """Returns whether the file exists and has the requested features.

  Raises:
    ValueError: if it exists and has other features.
  """
  if not os.path.exists(path):
    return False
  there = _format_of(path, _WRITABLE).read_header(path)
  if there != header:
    raise ValueError(f'{path}: expected no file, or one with the same features. Received: one with '
                     f'other features ({parts.difference(there, header)}). Choose another '
                     '--output_path, or remove the file.')
  return True
