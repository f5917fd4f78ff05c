"""Finding the files of the images in a list, and checking that each occurs once."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import cache


class Row(NamedTuple):
  """A line of a list.

  Attributes:
    path: the image's path, as written in the list.
    label: its label; '' if missing.
    line: the line's number, from 1.
    split: its split; None if the list has no column of splits.
  """
  path: str
  label: str
  line: int
  split: str | None = None


class _Folder(NamedTuple):
  """The files in a folder, without links.

  Attributes:
    inodes: the files' inodes by name.
    device: the folder's device.
  """
  inodes: dict[str, int]
  device: int


def find(rows: Sequence[Row], path: Path, column: str) -> list[str]:
  """Returns the paths of the images; each must be a different existing file.

  Whole folders are listed, because checking a million files one by one over a network takes
  minutes.

  Args:
    rows: the lines of the list.
    path: the list.
    column: title of the column of paths, for messages.

  Raises:
    FileNotFoundError: if a file does not exist; the message names the line.
    ValueError: if two lines name the same file; the message names the lines.
  """
  folders, images, files = {}, [], []
  for row in rows:
    image = path.parent / row.path
    if image.parent not in folders:
      folders[image.parent] = _listing(image.parent)
    folder = folders[image.parent]
    if image.name in folder.inodes:
      files.append((folder.device, folder.inodes[image.name]))
    else:
      # A file that is not in the listing may be a link, or have another case on some file systems.
      status = _status(image)
      if status is None or not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(
            f'Expected the path of an image, absolute or relative to the list, in {column} of '
            f'{path}, line {row.line}. Received: {cache.printable(image)}, which does not exist or '
            f'is not a file.{_hint(image, folder)}')
      files.append((status.st_dev, status.st_ino))
    images.append(str(image))
  _check_other_files(rows, path, images=images, files=files)
  return images


def check_other_paths(rows: Sequence[Row], path: Path) -> None:
  """Checks that no path occurs twice in a list.

  Raises:
    ValueError: if one does; the message names the lines.
  """
  seen: dict[str, Row] = {}
  for row in rows:
    first = seen.setdefault(row.path.replace(os.sep, '/'), row)
    if first is not row:
      advice = f'Their labels are {first.label!r} and {row.label!r}: remove one.'
      if row.label == first.label:
        advice = ('Remove one. If images are repeated to balance the classes, remove all '
                  'repetitions and use --sampling=balanced.')
      raise _repeated(path, (first, row), received=cache.printable(row.path), advice=advice)


def _check_other_files(rows: Sequence[Row], path: Path, *, images: Sequence[str],
                       files: Sequence[tuple[int, int]]) -> None:
  """Checks that no two paths are the same file, through links or parts such as `..`."""
  firsts: dict[tuple[int, int], int] = {}
  known: dict[tuple, int] = {}
  asked = set()
  for number, file in enumerate(files):
    first = firsts.setdefault(file, number)
    if first == number:
      continue
    # The listings of some file systems give different files the same inode.
    if first not in asked:
      asked.add(first)
      known.setdefault(_identity(images[first]), first)
    first = known.setdefault(_identity(images[number]), number)
    if first != number:
      one, other = rows[first], rows[number]
      raise _repeated(path, (one, other), advice='They are the same file: remove one.',
                      received=f'{cache.printable(one.path)} and {cache.printable(other.path)}')


def _repeated(path: Path, rows: tuple[Row, Row], *, received: str, advice: str) -> ValueError:
  return ValueError(f'Expected each image once in {path}. Received {received} in lines '
                    f'{rows[0].line} and {rows[1].line}. {advice}')


def _listing(folder: Path) -> _Folder:
  """Lists a folder; a folder that cannot be listed counts as empty."""
  try:
    with os.scandir(folder) as entries:
      return _Folder({entry.name: entry.inode() for entry in entries
                      if entry.is_file(follow_symlinks=False)}, os.stat(folder).st_dev)
  except (OSError, ValueError):
    return _Folder({}, 0)


def _status(image) -> os.stat_result | None:
  try:
    return os.stat(image)
  except (OSError, ValueError):
    return None


def _identity(image: str) -> tuple:
  """Identifies a file; includes size and time, in case inodes are not unique."""
  status = _status(image)
  return (image,) if status is None else (status.st_dev, status.st_ino, status.st_size,
                                          status.st_mtime_ns)


def _hint(image: Path, folder: _Folder) -> str:
  """Advice for a missing file: a file of a similar name, or another likely cause."""
  if '\\' in image.name:
    return ' It has backslashes, as on Windows: write / instead, relative to the list.'
  if not image.parent.is_dir():
    return ' The folder does not exist.'
  for name in folder.inodes:
    if Path(name).stem == image.name:
      return f' Did you mean {cache.printable(name)}? Add the suffix.'
    if _alike(name) == _alike(image.name):
      return (f' Did you mean {cache.printable(name)}? Case or the encoding of an accent differs '
              f'({name!a}, in the list {image.name!a}). Rename the file, or change the list.')
  return ''


def _alike(name: str) -> str:
  return unicodedata.normalize('NFC', name).casefold()
