"""The formats of files of features, chosen by the suffix."""

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
from slim_zoo.features import npz, parquet, parts, pickles, tfrecord
from slim_zoo.features.features import Features
from slim_zoo.features.header import Header


@dataclasses.dataclass(frozen=True)
class Format:
  """One format.

  Attributes:
    read: from a path to features.
    check_packages: raises a ValueError if a package that the format needs is not installed.
  """
  read: Callable[[str | os.PathLike[str]], Features]
  _: dataclasses.KW_ONLY
  check_packages: Callable[[], Any] = lambda: None


@dataclasses.dataclass(frozen=True)
class WritableFormat(Format):
  """A format that can also be written.

  Attributes:
    write: from a path and features to a file.
    read_header: from a path to the header of the file.
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
  """Reads a file of features into memory.

  Args:
    path: of a suffix in `FORMATS`.

  Raises:
    ValueError: if the suffix is unknown, or the file is damaged or holds something else, such as
      NaN.
    OSError: if it does not exist or may not be read.
  """
  features = _format_of(path, FORMATS).read(path)
  for rows in features.chunks():
    chunk = features.values[rows]
    wrong = np.flatnonzero(~np.isfinite(chunk).all(tuple(range(1, chunk.ndim))))
    if len(wrong):
      row = rows.start + int(wrong[0])
      raise ValueError(f'{path}: expected finite numbers as features. Received NaN or infinity in '
                       f'row {row}, the features of {features.names[row]}. Make the file again, or '
                       'leave such rows out.')
  return features


def check_writable(path: str | os.PathLike[str]) -> None:
  """Stops, before anything is computed, if no file of features can be written to a path.

  Raises:
    ValueError: if the suffix is unknown, or a package that the format takes is not installed.
  """
  _format_of(path, _WRITABLE).check_packages()


@contextlib.contextmanager
def writer(path: str | os.PathLike[str], *, facts: Mapping[str, Any], class_names: Sequence[str],
           num_examples: int, shape: Sequence[int]) -> Iterator[parts.Part | parts.Finished]:
  """Makes a file of features row by row; it is complete or absent.

  Until all rows are written they are in `<path>.part`, so that after a kill the next call continues
  where this one stopped. If several processes write the file, one works and the others wait.

  Args:
    path: of a suffix in `FORMATS` that can be written.
    facts: what the features depend on, as JSON holds it.
    class_names: one per label.
    num_examples: total number of rows.
    shape: of the features of one row.

  Yields:
    What has `.done`, the number of rows that there are, and `.write(names, labels, values)`. It is
    all done if the file is finished.

  Raises:
    ValueError: if the suffix is unknown, or a file of other features is there.
    OSError: if there is no room or it may not be written.
  """
  format_, path = _format_of(path, _WRITABLE), pathlib.Path(path)
  header = Header(num_examples, tuple(map(int, shape)), tuple(class_names),
                  json.loads(json.dumps(facts)))
  folder = pathlib.Path(f'{path}.part')
  path.parent.mkdir(parents=True, exist_ok=True)
  with locked(folder):
    if _is_finished(path, header):
      shutil.rmtree(folder, ignore_errors=True)  # Of a process that was killed at its very end.
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
  """Returns whether a file is there, of the very features that are asked for.

  Raises:
    ValueError: if one of other features is there.
  """
  if not os.path.exists(path):
    return False
  there = _format_of(path, _WRITABLE).read_header(path)
  if there != header:
    raise ValueError(f'{path} is there already. Expected: no file, or one of the same features. '
                     f'Received: one of others ({parts.difference(there, header)}). Choose another '
                     '--output_path, or remove it.')
  return True
