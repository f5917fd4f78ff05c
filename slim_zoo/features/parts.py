"""Unfinished files of features, which an interrupted extraction continues.

Their rows are in the folder `<path>.part` beside the file to be; see `row_store`. The names are
written to the disk before the rows, so there are at least as many names as rows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import IO

import numpy as np

from files.reasons import FAILURES, short_reason
from slim_zoo.features import row_store
from slim_zoo.features.features import Features
from slim_zoo.features.header import Header, header_of, header_text
from slim_zoo.features.row_store import Column, RowStore

_ABOUT, _NAMES = 'about.json', 'names.jsonl'


@dataclasses.dataclass(frozen=True)
class Finished:
  """A file that is finished already; `done` is the number of its rows."""
  done: int


@dataclasses.dataclass
class Part:
  """The rows computed so far, and room for the rest.

  Attributes:
    header: of the file to be.
    rows: the features, float32 [n, …], and the labels, int64 [n].
    names: of the rows computed so far.
    file: the names are appended to it.
  """
  header: Header
  rows: RowStore
  names: list[str]
  file: IO[bytes]

  @property
  def done(self) -> int:
    """Number of rows computed so far."""
    return self.rows.done

  def write(self, names: Sequence[str], labels: np.ndarray, values: np.ndarray) -> None:
    """Appends rows, and writes them to the disk.

    Args:
      names: of the examples.
      labels: integers [k].
      values: numbers [k, …].

    Raises:
      ValueError: if their numbers differ, or there are more than there is room for.
      OSError: if there is no room on the disk.
    """
    room = self.header.num_examples - self.done
    if len(names) > room or values.shape != (len(names), *self.header.shape) or (
        len(labels) != len(names)):
      raise ValueError(f'Expected at most {room} more examples of the shape {self.header.shape}. '
                       f'Received: {len(names)} names, {len(labels)} labels and features '
                       f'{values.shape}.')
    self.file.writelines(json.dumps(name).encode() + b'\n' for name in names)
    self.file.flush()
    os.fsync(self.file.fileno())
    self.rows.write([values, labels])
    self.rows.flush()
    self.names += names

  def features(self) -> Features:
    """Returns all rows, once they are complete."""
    values, labels = self.rows.arrays
    return Features(values, labels, tuple(self.names), self.header.class_names, self.header.facts)


@contextlib.contextmanager
def opened(folder: pathlib.Path, header: Header) -> Iterator[Part]:
  """Opens an unfinished file, or begins one. The caller holds a lock.

  Args:
    folder: folder of its rows. If they are damaged or of other features, a message is printed and
      they are removed.
    header: of the file to be.

  Raises:
    OSError: if there is no room or the folder cannot be written to.
  """
  found = None
  if folder.exists():
    try:
      found = _read(folder, header)
    except FAILURES as error:
      print(f'Starting again, because {folder} cannot be used: {short_reason(error)}')
      shutil.rmtree(folder)
  if not found:
    _make(folder, header)
    found = _read(folder, header)
  rows, lines = found
  with open(folder / _NAMES, 'r+b') as file:
    file.truncate(sum(map(len, lines)))
    file.seek(0, os.SEEK_END)
    yield Part(header, rows, [json.loads(line) for line in lines], file)


def _read(folder: pathlib.Path, header: Header) -> tuple[RowStore, list[bytes]]:
  """Returns the rows in a folder, and the lines of their names.

  Raises:
    ValueError: if they are of other features, or some of them are lost.
  """
  there = header_of((folder / _ABOUT).read_bytes())
  if there != header:
    raise ValueError(f'it is of other features ({difference(there, header)})')
  rows = row_store.open_rows(folder, _columns(header), header.num_examples)
  with open(folder / _NAMES, 'rb') as file:
    lines = list(itertools.islice(file, rows.done))
  if len(lines) < rows.done or not all(line.endswith(b'\n') for line in lines):
    raise ValueError(f'names are lost: {rows.done} rows')
  return rows, lines


def _make(folder: pathlib.Path, header: Header) -> None:
  """Begins an unfinished file; it counts as one only after the last line."""
  folder.mkdir(parents=True)
  (folder / _NAMES).touch()
  row_store.open_rows(folder, _columns(header), header.num_examples).flush()
  row_store.replace_json(folder / _ABOUT, json.loads(header_text(header)))


def _columns(header: Header) -> dict[str, Column]:
  return {'features': Column(header.shape), 'labels': Column((), np.int64)}


def difference(one: Header, other: Header) -> str:
  """Describes how two headers differ."""
  there, here = ({**header.facts, 'num_examples': header.num_examples, 'shape': header.shape,
                  'class_names': header.class_names} for header in (one, other))
  return '; '.join(f'{key}: {_shown(there.get(key))} there, {_shown(here.get(key))} here'
                   for key in {**there, **here} if there.get(key) != here.get(key))


def _shown(value: object) -> str:
  text = str(value)
  return text if len(text) < 60 else f'{text[:57]}…'
