"""The images that a list names: where they are, and whether each is there once."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import cache


class Row(NamedTuple):
  """An image's path as the list has it, its label, the line that says so, and its split.

  The label is '' if it is missing, and the split None if the list does not say it.
  """
  path: str
  label: str
  line: int
  split: str | None = None


class _Folder(NamedTuple):
  """The files in a folder without links: their inodes by name; and the folder's device."""
  inodes: dict[str, int]
  device: int


def find(rows: Sequence[Row], path: Path, column: str) -> list[str]:
  """Returns the paths of the images, at each of which there must be a file, each another one.

  Folders are listed, for over a network it takes minutes to ask for each of a million files.

  Args:
    rows: of the list.
    path: of the list.
    column: that of the paths, in words.

  Raises:
    FileNotFoundError: if there is no file; with the line.
    ValueError: if two rows name the same file; with the lines.
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
      # What a listing lacks may be a link, or be called otherwise where capitals do not matter.
      status = _status(image)
      if status is None or not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(
            f'Expected an image file, absolute or relative to the list, in {column} of {path}, '
            f'line {row.line}. Received a path at which there is no file: '
            f'{cache.printable(image)}.{_hint(image, folder)}')
      files.append((status.st_dev, status.st_ino))
    images.append(str(image))
  _check_other_files(rows, path, images, files)
  return images


def check_other_paths(rows: Sequence[Row], path: Path) -> None:
  """Stops if a list has a path twice.

  Raises:
    ValueError: with the lines.
  """
  seen = {}
  for row in rows:
    first = seen.setdefault(row.path.replace(os.sep, '/'), row)
    if first is not row:
      advice = f'They have the labels {first.label!r} and {row.label!r}: remove one.'
      if row.label == first.label:
        advice = ('Remove one; if images were repeated to even out the classes, remove all repeats '
                  'and add --sampling=balanced.')
      raise _twice(path, first, row, cache.printable(row.path), advice)


def _check_other_files(rows: Sequence[Row], path: Path, images: Sequence[str],
                       files: Sequence[tuple[int, int]]) -> None:
  """Stops if two paths lead to one file, by links or by detours."""
  firsts, asked, known = {}, set(), {}
  for number, file in enumerate(files):
    first = firsts.setdefault(file, number)
    if first == number:
      continue
    # In the listings of some file systems, files that are not the same have the same inode.
    if first not in asked:
      asked.add(first)
      known.setdefault(_identity(images[first]), first)
    first = known.setdefault(_identity(images[number]), number)
    if first != number:
      one, other = rows[first], rows[number]
      raise _twice(path, one, other, f'{cache.printable(one.path)} and '
                   f'{cache.printable(other.path)}', 'They are the same file: remove one.')


def _twice(path: Path, one: Row, other: Row, received: str, advice: str) -> ValueError:
  return ValueError(f'Expected each image once, in {path}. Received {received} in lines {one.line} '
                    f'and {other.line}. {advice}')


def _listing(folder: Path) -> _Folder:
  """Lists a folder; one that cannot be listed is empty."""
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
  """What only one file has; its time besides, in case numbers are given twice."""
  status = _status(image)
  return (image,) if status is None else (status.st_dev, status.st_ino, status.st_size,
                                          status.st_mtime_ns)


def _hint(image: Path, folder: _Folder) -> str:
  """What is nearly called so."""
  if '\\' in image.name:
    return ' It has backslashes, as on Windows: write / in their place, relative to the list.'
  if not image.parent.is_dir():
    return ' There is no such folder.'
  for name in folder.inodes:
    if Path(name).stem == image.name:
      return f' There is {cache.printable(name)}: write the suffix, too.'
    if _alike(name) == _alike(image.name):
      return (f' There is {cache.printable(name)}, in which capitals or the bytes of an accent '
              f'differ ({name!a}, in the list {image.name!a}): rename it, or write it so.')
  return ''


def _alike(name: str) -> str:
  return unicodedata.normalize('NFC', name).casefold()
