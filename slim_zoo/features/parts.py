"""Unfinished files of features: rows on the disk that outlive the process that computes them.

They lie in the folder `<path>.part` beside the file to be. A note says how many there are; it is
renewed only after they are on the disk, so that whenever the process ends, what the note counts is
right, and what follows is computed again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from files.reasons import FAILURES, short_reason
from slim_zoo.features.features import Features
from slim_zoo.features.header import Header, header_of, header_text

_ABOUT, _COUNT, _NAMES = 'about.json', 'rows.json', 'names.jsonl'
_VALUES, _LABELS = 'features.float32', 'labels.int64'


@dataclasses.dataclass(frozen=True)
class Finished:
  """Stands for a file that is finished already; `done` is the number of its rows."""
  done: int


@dataclasses.dataclass
class Part:
  """The rows that there are already, and room for the rest.

  Attributes:
    folder: where they lie.
    header: what they will be.
    values: float32 [n, …], on the disk.
    labels: int64 [n], on the disk.
    names: of the rows that there are.
    file: to which the names are appended.
  """
  folder: pathlib.Path
  header: Header
  values: np.ndarray
  labels: np.ndarray
  names: list[str]
  file: IO[bytes]

  @property
  def done(self) -> int:
    """How many rows there are."""
    return len(self.names)

  def write(self, names: Sequence[str], labels: np.ndarray, values: np.ndarray) -> None:
    """Appends rows, and brings them to the disk.

    Args:
      names: of the examples.
      labels: integers [k].
      values: numbers [k, …].

    Raises:
      ValueError: if their numbers differ, or there are more than there is room for.
      OSError: if there is no room on the disk.
    """
    rows = slice(self.done, self.done + len(names))
    if rows.stop > self.header.num_examples or values.shape != (len(names), *self.header.shape) or (
        len(labels) != len(names)):
      raise ValueError(f'Expected at most {self.header.num_examples - self.done} more examples of '
                       f'the shape {self.header.shape}. Received: {len(names)} names, '
                       f'{len(labels)} labels and features {values.shape}.')
    self.values[rows], self.labels[rows] = values, labels
    self.values.flush()
    self.labels.flush()
    self.file.writelines(json.dumps(name).encode() + b'\n' for name in names)
    _sync(self.file)
    _replace(self.folder / _COUNT, {'rows': rows.stop, 'bytes': self.file.tell()})
    self.names += names

  def features(self) -> Features:
    """Returns all rows, once they are complete."""
    return Features(self.values, self.labels, tuple(self.names), self.header.class_names,
                    self.header.facts)


@contextlib.contextmanager
def opened(folder: pathlib.Path, header: Header) -> Iterator[Part]:
  """Opens an unfinished file, or begins one; the folder is for the caller alone meanwhile.

  Args:
    folder: where its rows lie. Rows of other features, or damaged ones, are removed, and it is
      said.
    header: what the file will be.

  Raises:
    OSError: if there is no room or it may not be written to.
  """
  if folder.exists():
    try:
      _check(folder, header)
    except FAILURES as error:
      print(f'Starting anew, for what lies in {folder} cannot be used: {short_reason(error)}')
      shutil.rmtree(folder)
  if not folder.exists():
    _make(folder, header)
  names = _names(folder)
  with open(folder / _NAMES, 'r+b') as file:
    file.truncate(_read_json(folder / _COUNT)['bytes'])
    file.seek(0, os.SEEK_END)
    values = np.memmap(folder / _VALUES, np.float32, 'r+',
                       shape=(header.num_examples, *header.shape))
    labels = np.memmap(folder / _LABELS, np.int64, 'r+', shape=(header.num_examples,))
    yield Part(folder, header, values, labels, names, file)


def _check(folder: pathlib.Path, header: Header) -> None:
  """Raises a ValueError if the rows are of other features, or some of them are lost."""
  there = header_of((folder / _ABOUT).read_bytes())
  if there != header:
    raise ValueError(f'it is of other features ({difference(there, header)})')
  _names(folder)
  for name, size in _sizes(header).items():
    # NumPy would fill up what is lost with zeros.
    if (folder / name).stat().st_size != size:
      raise ValueError('rows are lost')


def _names(folder: pathlib.Path) -> list[str]:
  """Returns the names of the rows that there are."""
  count = _read_json(folder / _COUNT)
  with open(folder / _NAMES, 'rb') as file:
    names = [json.loads(line) for line in file.read(count['bytes']).splitlines()]
  if len(names) != count['rows']:
    raise ValueError(f'{len(names)} names of {count["rows"]}')
  return names


def difference(one: Header, other: Header) -> str:
  """Says in what two headers differ."""
  one, other = dataclasses.asdict(one), dataclasses.asdict(other)
  one, other = {**one.pop('facts'), **one}, {**other.pop('facts'), **other}
  return '; '.join(f'{key}: {_shown(one.get(key))} there, {_shown(other.get(key))} here'
                   for key in {**one, **other} if one.get(key) != other.get(key))


def _shown(value: object) -> str:
  text = str(value)
  return text if len(text) < 60 else f'{text[:57]}…'


def _make(folder: pathlib.Path, header: Header) -> None:
  """Begins an unfinished file; until the last line it is none."""
  folder.mkdir(parents=True)
  for name, size in _sizes(header).items():
    with open(folder / name, 'wb') as file:  # Rather no room now than a crash later.
      os.posix_fallocate(file.fileno(), 0, size)
  (folder / _NAMES).touch()
  _replace(folder / _COUNT, {'rows': 0, 'bytes': 0})
  _replace(folder / _ABOUT, json.loads(header_text(header)))


def _sizes(header: Header) -> dict[str, int]:
  count = header.num_examples
  return {_VALUES: 4 * count * header.width, _LABELS: 8 * count}


def _read_json(path: pathlib.Path) -> dict:
  return json.loads(path.read_text(encoding='utf-8'))


def _replace(path: pathlib.Path, content: dict) -> None:
  """Writes a JSON file that is old or new, and never in between."""
  aside = path.with_name(f'{path.name}.new')
  with open(aside, 'w', encoding='utf-8') as file:
    json.dump(content, file)
    _sync(file)
  os.replace(aside, path)


def _sync(file: IO) -> None:
  file.flush()
  os.fsync(file.fileno())
