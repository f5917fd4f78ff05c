"""Recognizing which directories of a folder of images are splits and which are classes.

`docs/folders.md` has the rules as a table, which the tests check row by row.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import flat_names, ilsvrc, split_names
from files import image_types

# What operating systems and programs create. Hidden files and directories are ignored as well.
_JUNK = {'Thumbs.db', 'desktop.ini', '__MACOSX', '__pycache__', '@eaDir', '$RECYCLE.BIN',
         'System Volume Information', 'lost+found'}
# Names of splits that are probably classes when they are among classes: trains are vehicles.
_MAY_BE_A_CLASS = ('train', 'valid', 'dev')
_PLAIN = {'train': ('train',), 'validation': ('validation', 'val'), 'test': ('test',)}
# What datasets have next to their images, such as masks.
_ASIDE = {'annotation', 'annotations', 'imagesets', 'masks', 'trimaps', 'segmentations', 'xmls'}
_MOST_LEVELS = 3
_LISTED = 5
_ADVICE = ('Put the images of each class into its own directory, or list them with their classes '
           'in a CSV file for --dataset_name=csv.')


class NoClassesError(ValueError):
  """There is no directory of a class."""


class Layout(NamedTuple):
  """The layout of a folder of images.

  Attributes:
    splits: `{split: {class: the directories with its images, or these themselves}}`.
    unlabelled: `{split: directory}` for splits whose images are not in class directories.
    folder_names: `{directory name: its split}`.
    notes: lines for the user about anything unusual.
    is_of_names: whether the classes are in the names of the images.
  """
  splits: dict[str, dict[str, tuple[Path, ...]]]
  unlabelled: dict[str, Path]
  folder_names: dict[str, str]
  notes: tuple[str, ...]
  is_of_names: bool = False


class _Split(NamedTuple):
  """A directory with the name of a split.

  Attributes:
    name: the directory's name.
    split: its split.
    path: the directory itself, or the one inside it that contains the images.
    is_labelled: whether `path` has class directories.
    num_loose: number of images in `path` itself.
  """
  name: str
  split: str
  path: Path
  is_labelled: bool
  num_loose: int


def find(root: Path) -> Layout:
  """Finds the splits and classes of a folder of images.

  Args:
    root: a folder with one directory per class; or one per split, with class directories inside; or
      one per class, with split directories inside. The layout may begin a few levels down.

  Raises:
    NoClassesError: if no directory is one of a class.
    ValueError: if it has none of these layouts, or if the layout is ambiguous.
  """
  top = _enter(root)
  names, aside = _divide(subfolders(top))
  if not names or _is_flat(top, names):
    folder = top / names[0] if names else top
    flat = _layout_of_names(top, {'train': folder})
    if flat:
      return flat
    raise NoClassesError(f'Expected one directory per class in {folder}. Received: '
                         f'{_count(len(loose_images(folder)))} and no directory. {_ADVICE}'
                         + _if_class(root))
  found = [_inspect_split(top / name, split) for name, split in split_names.find(names).items()]
  others = [name for name in names if name not in {one.name for one in found}]
  others = [name for name in others if has_images(top / name)]
  if any(one.is_labelled for one in found):
    layout = _layout_of_splits(top, found, others)
  elif not any(one.num_loose for one in found) or (
      others and [one.name.lower() for one in found] in [[word] for word in _MAY_BE_A_CLASS]):
    layout = _layout_of_classes(top, names)
  else:
    flat = None if others else _layout_of_names(top, {one.split: one.path for one in found})
    if not flat:
      raise (ValueError if others else NoClassesError)(_ambiguous(top, found, others))
    layout = flat
  layout = _without_empty_classes(layout)
  if aside:
    layout = layout._replace(notes=(*layout.notes, f'Not used: {", ".join(aside)}.'))
  if top != root:
    layout = layout._replace(notes=(f'The dataset is in {top.relative_to(root)}.', *layout.notes))
  return layout


def _if_class(folder: Path) -> str:
  """What to do if a folder is the directory of one class; '' if it cannot be one."""
  parent = folder.absolute().parent
  try:
    if not any(map(_begins_with_images, _neighbours(folder.absolute()))):
      return ''
  except OSError:  # What is next to the dataset need not be readable.
    return ''
  return f' If {folder.name} is one of the classes in {parent}: --dataset_dir={parent}'


def _neighbours(folder: Path) -> list[str]:
  """Some of the directories next to a folder, in which there may be anything."""
  with os.scandir(folder.parent) as entries:
    found = (entry.path for entry in entries if entry.is_dir() and entry.name != folder.name)
    return list(itertools.islice(found, _LISTED))


def _begins_with_images(folder: str) -> bool:
  with os.scandir(folder) as entries:
    return any(entry.name.lower().endswith(image_types.SUFFIXES)
               for entry in itertools.islice(entries, _LISTED))


def _without_empty_classes(layout: Layout) -> Layout:
  """Leaves out classes whose directories contain no file in any split, unless all are empty."""
  folders: dict[str, list[Path]] = {}
  for classes in layout.splits.values():
    for name, paths in classes.items():
      folders.setdefault(name, []).extend(paths)
  empty = [name for name, paths in folders.items()
           if not any(path.is_file() or any(walk(path)) for path in paths)]
  if not empty or len(empty) == len(folders):
    return layout
  splits = {split: {name: paths for name, paths in classes.items() if name not in empty}
            for split, classes in layout.splits.items()}
  return layout._replace(splits=splits, notes=(
    *layout.notes, f'Not used: {sample(empty)}, empty directories.'))


class _Listing(NamedTuple):
  """The names in a directory; links count as what they lead to, broken ones as others."""
  folders: list[str]
  files: list[str]
  others: list[str]


_listings: contextvars.ContextVar[dict[Path, _Listing] | None] = contextvars.ContextVar(
    'listings', default=None)


@contextlib.contextmanager
def remembered_listings() -> Iterator[None]:
  """Within it, each directory is listed only once: a million links take seconds each time."""
  token = _listings.set({})
  try:
    yield
  finally:
    _listings.reset(token)


def _list(folder: Path) -> _Listing:
  known = _listings.get()
  if known is not None and folder in known:
    return known[folder]
  found = _Listing([], [], [])
  with os.scandir(folder) as entries:
    for entry in entries:
      try:
        kind = (found.folders if entry.is_dir() else
                found.files if entry.is_file() else found.others)
      except OSError:  # A link to itself, or to what may not be read.
        kind = found.others
      kind.append(entry.name)
  if known is not None:
    known[folder] = found
  return found


def subfolders(folder: Path) -> list[str]:
  """Returns the sorted names of a folder's directories, without hidden and system directories.

  Raises:
    ValueError: if there is a broken link, because a class may be missing.
  """
  found = _list(folder)
  for name in filter(_is_visible, found.others):
    path = os.path.join(folder, name)
    if os.path.islink(path) and not os.path.exists(path) and not Path(name).suffix:
      raise ValueError(f'Expected directories in {folder}. Received the link {name} to '
                       f'{os.path.realpath(path)}, which does not exist. Repair or remove the '
                       'link.')
  return sorted(filter(_is_visible, found.folders))


def loose_images(folder: Path) -> list[str]:
  """Returns the sorted names of the images directly in a folder."""
  start = prefix(folder)
  return sorted(name for name in _list(folder).files if is_image(start + name))


def is_image(path: str | Path) -> bool:
  """Returns whether a file counts as an image: by its suffix, or else by its content."""
  name = os.path.basename(path)
  return _is_visible(name) and (name.lower().endswith(image_types.SUFFIXES)
                                or image_types.is_image(path))


def has_images(folder: Path) -> bool:
  """Returns whether there is an image in a folder or below it."""
  return any(is_image(path) for path in walk(folder))


def walk(folder: Path) -> Iterator[str]:
  """Yields the paths of the visible files in a folder and below it.

  Follows links, but enters no directory twice and no parent of the folder.
  """
  seen = {os.path.realpath(parent) for parent in folder.absolute().parents}
  waiting = [folder]
  while waiting:
    parent = waiting.pop()
    real = os.path.realpath(parent)
    if real in seen:
      continue
    seen.add(real)
    try:
      found = _list(parent)
    except OSError:  # It may not be readable, and need not have images.
      continue
    start = prefix(parent)
    yield from (start + name for name in (*found.files, *found.others) if _is_visible(name))
    waiting += [parent / name for name in sorted(found.folders, reverse=True) if _is_visible(name)]


def prefix(folder: Path) -> str:
  """Returns what the paths in a folder begin with: a million `Path`s would take half a minute."""
  return '' if folder == Path() else os.path.join(folder, '')


def sample(names: Sequence[object]) -> str:
  """Lists the first few names for a message."""
  return ', '.join(map(str, names[:_LISTED])) + (', …' if len(names) > _LISTED else '')


def _is_visible(name: str) -> bool:
  return not name.startswith('.') and name not in _JUNK


def _enter(folder: Path, *, split: str | None = None) -> Path:
  """Descends while a folder contains a single directory of directories and nothing else.

  Args:
    folder: where to start.
    split: the split whose directory `folder` is, or None. A single directory of the same name, or
      one called `images`, is then entered even if it contains loose images: `test/test/1.jpg`.
  """
  for _ in range(_MOST_LEVELS):
    names, _ = _divide(subfolders(folder))
    if len(names) != 1 or loose_images(folder):
      break
    inner = folder / names[0]
    meant = split_names.split_of(names[0])
    if split is None and meant:
      break
    is_wrapper = split is not None and (
        names[0] == folder.name or meant == split or split_names.is_filler(names[0]))
    has_folders = any(has_images(inner / name) for name in subfolders(inner))
    if not is_wrapper and (loose_images(inner) or not has_folders):
      break  # A class.
    folder = inner
  return folder


def _divide(names: Sequence[str]) -> tuple[list[str], list[str]]:
  """Separates directories from those that usually describe the images of the others."""
  aside = [name for name in names if name.lower() in _ASIDE]
  return ([name for name in names if name not in aside], aside) if len(aside) < len(names) else (
      list(names), [])


def _is_flat(top: Path, names: Sequence[str]) -> bool:
  """Whether all images are in one directory with a name that is no class, such as `images`."""
  filled = [name for name in names if has_images(top / name)]
  return (len(filled) == 1 and split_names.is_filler(filled[0]) and filled == names
          and not subfolders(top / filled[0]))


def _inspect_split(folder: Path, split: str) -> _Split:
  path = _enter(folder, split=split)
  is_labelled = any(has_images(path / name) for name in subfolders(path))
  return _Split(folder.name, split, path, is_labelled, len(loose_images(path)))


def _layout_of_splits(top: Path, found: Sequence[_Split], others: Sequence[str]) -> Layout:
  """Reads split directories, at least one of which has class directories."""
  if others and len(found) == 1:
    raise ValueError(_ambiguous(top, found, others))
  splits: dict[str, dict[str, tuple[Path, ...]]] = {}
  unlabelled: dict[str, Path] = {}
  unused: list[_Split] = []
  notes: list[str] = []
  for split in _PLAIN:
    same = [one for one in found if one.split == split]
    labelled = [one for one in same if one.is_labelled]
    loose = [one for one in same if not one.is_labelled and one.num_loose]
    if len(labelled) > 1:
      raise ValueError(f'Expected one directory for the split {split!r} in {top}. Received: '
                       f'{", ".join(one.name for one in labelled)}. Keep one; rename or move the '
                       'others.')
    if labelled:
      path = labelled[0].path
      splits[split] = {name: (path / name,) for name in subfolders(path)}
      notes += [*_beside_classes(top, path),
                *(_below_classes(path, subfolders(path)) if split == 'train' else ())]
    elif loose:
      # Kaggle's archive has the list three levels above the images.
      truth = split == 'validation' and ilsvrc.find(
          (loose[0].path, top, *top.parents[:3]), loose_images(loose[0].path))
      if truth:
        splits[split] = {name: tuple(loose[0].path / image for image in images)
                         for name, images in truth.classes.items()}
        notes.append(f'Classes of {split} from {truth.path.name}.')
        loose = loose[1:]
      else:
        unlabelled[split] = loose[0].path
    unused += loose
  unused += [one for one in found if one.split == split_names.UNLABELLED]
  used = {split: next(one for one in found if one.split == split and one not in unused)
          for split in splits}
  if any(one.path.relative_to(top).as_posix() not in _PLAIN[split] for split, one in used.items()):
    notes.insert(0, 'Splits: ' + ', '.join(f'{split} is {one.path.relative_to(top)}'
                                           for split, one in used.items()) + '.')
  notes += [f'Not used: {one.path.relative_to(top)}, {_count(one.num_loose)} outside class '
            'directories.' for one in unused]
  notes += [f'Not used: {name}, which has images but not the name of a split.' for name in others]
  return Layout(splits, unlabelled, {one.name: one.split for one in found}, tuple(notes))


def _layout_of_names(top: Path, folders: Mapping[str, Path]) -> Layout | None:
  """Reads splits whose images have their classes in their names; None if they do not.

  Args:
    top: the folder.
    folders: `{split: the directory with its images}`.
  """
  classes = {split: flat_names.find(loose_images(path)) for split, path in folders.items()}
  if not classes.get('train'):
    return None
  splits = {split: {name: tuple(folders[split] / file for file in files)
                    for name, files in found.items()}
            for split, found in classes.items() if found}
  counts = ', '.join(f'{name} ({len(files)})' for name, files in splits['train'].items())
  unlabelled = {split: path for split, path in folders.items() if split not in splits}
  notes = [f'Classes from the names of the files: {counts}.',
           *(f'Not used: {path.relative_to(top)}, {_count(len(loose_images(path)))} without a '
             'class in their names.' for path in unlabelled.values())]
  return Layout(splits, unlabelled, {}, tuple(notes), is_of_names=True)


def _layout_of_classes(top: Path, names: Sequence[str]) -> Layout:
  """Reads class directories, possibly with split directories inside."""
  runs = [name for name in names if _is_run(top / name)]
  names = [name for name in names if name not in runs]
  inner = {name: split_names.find(subfolders(top / name)) for name in names}
  if any(len(set(found.values())) > 1 for found in inner.values()):
    splits = _splits_of_classes(top, inner)
    return Layout(splits, {}, {}, (f'Splits: {", ".join(splits)}, in the class directories.',))
  notes = [*_beside_classes(top, top), *_below_classes(top, names),
           *(f'Not used: {name}, the directory of a run.' for name in runs)]
  return Layout({'train': {name: (top / name,) for name in names}}, {}, {}, tuple(notes))


def _splits_of_classes(top: Path, inner: Mapping[str, Mapping[str, str]]
                       ) -> dict[str, dict[str, tuple[Path, ...]]]:
  """Reads class directories with split directories inside.

  Args:
    top: the folder.
    inner: `{class: {directory inside: its split}}`.

  Returns:
    `Layout.splits`.
  """
  splits: dict[str, dict[str, list[Path]]] = {}
  for name, found in inner.items():
    others = [folder for folder in subfolders(top / name)
              if folder not in found and has_images(top / name / folder)]
    if others or loose_images(top / name):
      raise ValueError(
          f'Expected either images or splits in {top / name}. Received both: {", ".join(found)} '
          f'and {", ".join(others) or "loose images"}. Move one of them.')
    for folder, split in found.items():
      path = top / name / folder
      if not loose_images(path) and any(has_images(path / one) for one in subfolders(path)):
        raise ValueError(f'Expected one dataset in {top}. Received: {", ".join(inner)}; '
                         f'{name}/{folder} has directories of its own. Set --dataset_dir to one of '
                         'the datasets.')
      splits.setdefault(split, {}).setdefault(name, []).append(path)
  return {split: {name: tuple(splits[split].get(name, ())) for name in inner}
          for split in _PLAIN if split in splits}


def _beside_classes(top: Path, folder: Path) -> list[str]:
  """Notes that images outside class directories are not used."""
  loose = loose_images(folder)
  where = '' if folder == top else f' of {folder.relative_to(top)}'
  return [f'Not used: {_count(len(loose))} outside the class directories{where}: {sample(loose)}.'
          ] if loose else []


def _below_classes(folder: Path, names: Sequence[str]) -> list[str]:
  """Notes that class directories contain directories, which might be meant as classes."""
  below = [f'{name}/{inner}' for name in names for inner in subfolders(folder / name)]
  return [f'All images below a class directory belong to its class: {sample(below)}.'
          ] if below else []


def _is_run(folder: Path) -> bool:
  """Returns whether a directory contains files of a training run and no images."""
  return _has_file(folder, {'.lock', 'checkpoint', 'metrics.csv'}) and not has_images(folder)


def _has_file(folder: Path, names: set[str]) -> bool:
  """Returns whether there is a file of one of these names in a directory or below it."""
  try:
    found = _list(folder)
  except OSError:  # It may not be readable, and need not be part of the dataset.
    return False
  return not names.isdisjoint(found.files) or any(
      _has_file(folder / name, names) for name in found.folders
      if not os.path.islink(folder / name))


def _ambiguous(top: Path, found: Sequence[_Split], others: Sequence[str]) -> str:
  """The message for split directories next to other directories, or without classes."""
  listed = ', '.join(f'{one.name} ({_count(one.num_loose)} outside class directories)'
                     if one.num_loose else one.name for one in found)
  if not others:
    return (f'Expected one directory per class. Received, in {top}, the splits {listed}. '
            f'{_ADVICE}')
  return (f'Expected either classes or splits in {top}. Received the names of splits, {listed}, '
          f'next to {sample(others)}. If these others are classes, move the splits away, or rename '
          'them if they are classes, too. If not, move the others.')


def _count(images: int) -> str:
  return '1 image' if images == 1 else f'{images} images'
