"""The formats of files of features, chosen by the suffix."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
    write: from a path and features to a file; None where it is only read.
    read_header: from a path to what the file says about itself.
    check_packages: raises a ValueError if a package that it takes is not installed.
  """
  read: Callable[[str | os.PathLike[str]], Features]
  write: Callable[[str | os.PathLike[str], Features], None] | None = None
  read_header: Callable[[str | os.PathLike[str]], Header] | None = None
  check_packages: Callable[[], Any] = lambda: None


_PICKLE = Format(pickles.read)
FORMATS = {
    '.npz': Format(npz.read, npz.write, npz.read_header),
    '.p': _PICKLE,
    '.parquet': Format(parquet.read, parquet.write, parquet.read_header,
                       parquet.import_packages),
    '.pickle': _PICKLE,
    '.pkl': _PICKLE,
    '.tfrecord': Format(tfrecord.read, tfrecord.write, tfrecord.read_header),
}


def _format_of(path: str | os.PathLike[str], *, written: bool) -> Format:
  suffix = pathlib.Path(path).suffix
  known = {key: format_ for key, format_ in FORMATS.items() if format_.write or not written}
  if suffix not in known:
    raise unknown_name('suffix of a file of features', suffix, known)
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
  features = _format_of(path, written=False).read(path)
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
  _format_of(path, written=True).check_packages()


@contextlib.contextmanager
def writer(path: str | os.PathLike[str], *, facts: Mapping[str, Any], class_names: Sequence[str],
           num_examples: int, shape: Sequence[int]) -> Iterator[parts.Part | parts.Finished]:
  """Makes a file of features row by row; it is complete or absent.

  Until all rows are there they lie in `<path>.part`, so that after a kill the next call goes on
  where this one ended. Of several processes one works, and the others wait.

  Args:
    path: of a suffix in `FORMATS` that can be written.
    facts: what the features depend on, as JSON holds it.
    class_names: one a label.
    num_examples: how many rows there will be.
    shape: of one row's features.

  Yields:
    What has `.done`, the number of rows that there are, and `.write(names, labels, values)`. It is
    all done if the file is finished.

  Raises:
    ValueError: if the suffix is unknown, or a file of other features is there.
    OSError: if there is no room or it may not be written.
  """
  format_, path = _format_of(path, written=True), pathlib.Path(path)
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
  there = _format_of(path, written=True).read_header(path)
  if there != header:
    raise ValueError(f'{path} is there already. Expected: no file, or one of the same features. '
                     f'Received: one of others ({parts.difference(there, header)}). Choose another '
                     '--output_path, or remove it.')
  return True
