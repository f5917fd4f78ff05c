"""Finding the files of the images in a list, and checking that each occurs once."""

from __future__ import annotations

import collections
import functools
import os
import stat
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import split_names
from files import cache, image_types

# What is added to a name without a suffix.
_SUFFIXES = (*image_types.SUFFIXES, '.tif', '.tiff', '.avif', '.heic', '.jp2', '.ppm', '.pgm')


class Row(NamedTuple):
  """A line of a list.

  Attributes:
    path: the image's path, as written in the list.
    labels: its labels; '' stands for a missing one.
    line: the line's number, from 1.
    split: its split; None if the list has no column of splits.
  """
  path: str
  labels: tuple[str, ...]
  line: int
  split: str | None = None


class Found(NamedTuple):
  """The files of a list.

  Attributes:
    paths: the path of each row's image.
    notes: how paths were read that do not name a file as they are written.
  """
  paths: list[str]
  notes: tuple[str, ...]


class _Folder(NamedTuple):
  """The files in a folder, without links.

  Attributes:
    inodes: the files' inodes by name.
    device: the folder's device.
  """
  inodes: dict[str, int]
  device: int


def find(rows: Sequence[Row], path: Path, column: str, *, folder: Path) -> Found:
  """Finds the images; each row must name an existing file.

  Whole folders are listed, because checking a million files one by one over a network takes
  minutes. A path that is not found as it is written may have Windows' backslashes, lack the suffix
  of the image, have its accents encoded in another way, be relative to another folder in `folder`,
  or begin with folders of another computer.

  Args:
    rows: the lines of the list.
    path: the list.
    column: title of the column of paths, for messages.
    folder: the folder that relative paths start from.

  Raises:
    FileNotFoundError: if a file does not exist; the message names the line.
    ValueError: if two paths are the same file; the message names the lines.
  """
  finder = _Finder(folder, split_names.split_of(path.stem))
  images, files = [], []
  for row in rows:
    as_written = finder.find_as_written(row.path)
    if as_written:
      images.append(as_written[0])
      files.append(as_written[1])
      continue
    image, identity = finder.find(row.path)
    if identity is None:
      raise FileNotFoundError(
          f'Expected the path of an image, absolute or relative to {folder}, in {column} of '
          f'{path}, line {row.line}. Received: {cache.printable(image)}, which does not exist or '
          f'is not a file.{_hint(image, finder.listing(image.parent)) or finder.hint(row.path)}')
    files.append(identity)
    images.append(str(image))
  _check_other_files(rows, path, images=images, files=files)
  return Found(images, tuple(f'{path.name}: {note}' for note in finder.notes()))


class _Finder:
  """Finds files below a folder, and counts what it had to change in their paths."""

  def __init__(self, base: Path, split: str | None):
    """Looks below `base`; of several folders there, in the one of the list's split."""
    self._base = base
    self._split = split
    self._prefix: tuple[str, ...] | None = None
    self._listings: dict[Path, _Folder] = {}
    self._beginnings: dict[str, tuple[str, _Folder]] = {}
    self._changed: collections.Counter[str] = collections.Counter()
    self._groups: dict[tuple[Callable, Path], dict[str, list[str]]] = {}

  def listing(self, folder: Path) -> _Folder:
    """The files in a folder."""
    if folder not in self._listings:
      self._listings[folder] = _listing(folder)
    return self._listings[folder]

  def find_as_written(self, written: str) -> tuple[str, tuple[int, int]] | None:
    """Returns what `find` does; None if no file has exactly this path.

    Most paths are right: a `Path` for each of millions would take minutes.
    """
    folder, slash, name = written.rpartition('/')
    known = self._beginnings.get(folder + slash)
    if known is None:
      path = self._base / (folder + slash)
      known = self._beginnings[folder + slash] = (
          '' if path == Path() else os.path.join(path, ''), self.listing(path))
    beginning, listing = known
    inode = listing.inodes.get(name)
    if inode is None:
      return None
    self._prefix = () if self._prefix is None else self._prefix
    return beginning + name, (listing.device, inode)

  def find(self, written: str) -> tuple[Path, tuple[int, int] | None]:
    """Returns a file and its device and inode; None instead of these if it is not found."""
    image = self._base / written
    identity = self._identity(image)
    found = (image, []) if identity else self._similar(self._base, written)
    if not found:
      inside = self._inside(written)
      found = next(iter(inside.values())) if len(inside) == 1 else None
    if found and self._prefix is None:
      self._prefix = ()
    found = found or self._moved(written)
    if not found:
      return image, None
    self._changed.update(found[1])
    return found[0], identity or self._identity(found[0])

  def notes(self) -> list[str]:
    """Describes the changes."""
    return [f'{count} {"path" if count == 1 else "paths"}: {change}'
            for change, count in self._changed.items()]

  def hint(self, written: str) -> str:
    """Advice for a path that was not found."""
    inside = self._inside(written)
    if len(inside) > 1:
      return (f' It is in several folders: {", ".join(folder.name for folder in inside)}. Set '
              f'--image_dir to the right one, such as --image_dir={next(iter(inside))}.')
    missing = '' if (self._base / written).parent.is_dir() else ' The folder does not exist.'
    return f'{missing} If the images are in another folder, set --image_dir to it.'

  def _inside(self, written: str) -> dict[Path, tuple[Path, list[str]]]:
    """The files of this name in the folders inside the base; of the split's, if it is there."""
    found = {folder: one for folder in self._folders if (one := self._similar(folder, written))}
    of_split = {folder: one for folder, one in found.items()
                if self._split and split_names.split_of(folder.name) == self._split}
    return of_split if len(of_split) == 1 else found

  def _moved(self, written: str) -> tuple[Path, list[str]] | None:
    """The file without folders of another computer, which all paths must begin with."""
    parts = written.replace('\\', '/').split('/')
    for count in range(1, len(parts)):
      prefix = tuple(parts[:count])
      if self._prefix in (None, prefix):
        found = self._similar(self._base, '/'.join(parts[count:]))
        if found:
          self._prefix = prefix
          return found[0], [*found[1], f'without {cache.printable("/".join(prefix))}/ at the start']
    return None

  @functools.cached_property
  def _folders(self) -> list[Path]:
    """The folders inside the base."""
    return sorted(path for path in self._base.iterdir()
                  if path.is_dir() and not path.name.startswith('.'))

  def _similar(self, folder: Path, written: str) -> tuple[Path, list[str]] | None:
    """The only file of this name, or of one that means the same, and what was changed."""
    image = folder / written.replace('\\', '/')
    changes = [] if '\\' not in written else ['backslashes read as /']
    if folder != self._base:
      changes.append(f'found in the folder {folder.name}')
    if image.name in self.listing(image.parent).inodes:
      return image, changes
    for table, key, change in ((_by_stem, image.name, 'the suffix of the image added'),
                               (_by_form, _normal(image.name), 'an accent encoded otherwise')):
      names = self._tables(table, image.parent).get(key, ())
      if len(names) == 1:
        return image.with_name(names[0]), [*changes, change]
    return None

  def _tables(self, group: Callable, folder: Path) -> dict[str, list[str]]:
    """The files in a folder, grouped; kept, as there may be many."""
    if (group, folder) not in self._groups:
      self._groups[group, folder] = group(self.listing(folder).inodes)
    return self._groups[group, folder]

  def _identity(self, image: Path) -> tuple[int, int] | None:
    folder = self.listing(image.parent)
    if image.name in folder.inodes:
      return folder.device, folder.inodes[image.name]
    # A file that is not in the listing may be a link, or have another case on some file systems.
    status = _status(image)
    if status is None or not stat.S_ISREG(status.st_mode):
      return None
    return status.st_dev, status.st_ino


def names_of(rows: Sequence[Row], path: Path) -> tuple[list[str], list[str], str]:
  """Names the examples of a list.

  Returns:
    (a name for each row, different for repeated lines; the name of each row's image; a note about
    repeated lines, '' if there are none).

  Raises:
    ValueError: if a path occurs with two labels or in two splits; the message names the lines.
  """
  names, images = [], [row.path.replace(os.sep, '/') for row in rows]
  firsts: dict[str, int] = {}
  repeated: collections.Counter[int] = collections.Counter()  # Further lines of first ones.
  for number, (row, image) in enumerate(zip(rows, images, strict=True)):
    first = firsts.setdefault(image, number)
    if first == number:
      names.append(image)
      continue
    repeated[first] += 1
    names.append(f'{image} ({repeated[first] + 1})')
    for what, one, other in (
        ('labels', '|'.join(rows[first].labels), '|'.join(row.labels)),
        ('splits', rows[first].split, row.split)):
      if one != other:
        raise _repeated(path, (rows[first], row), received=cache.printable(row.path),
                        advice=f'Their {what} are {one!r} and {other!r}: keep one line.')
  if not repeated:
    return names, images, ''
  return names, images, (f'{path.name}: {repeated.total()} of {len(rows)} lines repeat an image, '
                         f'such as {cache.printable(rows[min(repeated)].path)}, which is '
                         'trained on as often as it is listed. See --sampling=balanced.')


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
    one, other = rows[first], rows[number]
    if first != number and one.path != other.path:
      raise _repeated(path, (one, other), advice='They are the same file: remove one.',
                      received=f'{cache.printable(one.path)} and {cache.printable(other.path)}')


def _repeated(path: Path, rows: tuple[Row, Row], *, received: str, advice: str) -> ValueError:
  return ValueError(f'Expected each image once in {path}. Received {received} in lines '
                    f'{rows[0].line} and {rows[1].line}. {advice}')


def _listing(folder: Path) -> _Folder:
  """Lists a folder; a folder that cannot be listed counts as empty."""
  try:
    with os.scandir(folder) as entries:
      inodes = {entry.name: entry.inode() for entry in entries
                if entry.is_file(follow_symlinks=False)}
    device = os.stat(folder).st_dev
  except (OSError, ValueError):
    inodes, device = {}, 0
  return _Folder(inodes, device)


def _by_stem(names: Iterable[str]) -> dict[str, list[str]]:
  """Groups the names of images by what they are without their suffix."""
  found = collections.defaultdict(list)
  for name in names:
    stem, suffix = os.path.splitext(name)
    if suffix.lower() in _SUFFIXES:
      found[stem].append(name)
  return found


def _by_form(names: Iterable[str]) -> dict[str, list[str]]:
  """Groups names by their normal form: macOS encodes accents differently."""
  found = collections.defaultdict(list)
  for name in names:
    found[_normal(name)].append(name)
  return found


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
  names = _by_stem(folder.inodes).get(image.name, ())
  if len(names) > 1:
    return (f' Several images have this name: {", ".join(map(cache.printable, names))}. Add the '
            'suffix.')
  for name in folder.inodes:
    if name.casefold() == image.name.casefold():
      return f' Did you mean {cache.printable(name)}? Upper and lower case differ.'
  return ''


def _normal(name: str) -> str:
  return unicodedata.normalize('NFC', name)
