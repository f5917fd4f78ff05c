"""Recognizing which directories of a folder of images are splits and which are classes.

`docs/folders.md` has the rules as a table, which the tests check row by row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import split_names

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp')
# Directories that operating systems and programs create. Hidden ones are ignored as well.
_JUNK = {'__MACOSX', '__pycache__', '@eaDir', '$RECYCLE.BIN', 'System Volume Information',
         'lost+found'}
# Names of splits that are probably classes when they are among classes: trains are vehicles.
_MAY_BE_A_CLASS = ('train', 'valid', 'dev')
_PLAIN = {'train': ('train',), 'validation': ('validation', 'val'), 'test': ('test',)}
_MOST_LEVELS = 3
_LISTED = 5
_ADVICE = ('Put the images of each class into its own directory, or list them with their classes '
           'in a CSV file for --dataset_name=csv.')


class Layout(NamedTuple):
  """The layout of a folder of images.

  Attributes:
    splits: `{split: {class: the directories with its images}}`.
    unlabelled: `{split: directory}` for splits whose images are not in class directories.
    folder_names: `{directory name: its split}`.
    notes: lines for the user about anything unusual.
  """
  splits: dict[str, dict[str, tuple[Path, ...]]]
  unlabelled: dict[str, Path]
  folder_names: dict[str, str]
  notes: tuple[str, ...]


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
    ValueError: if it has none of these layouts, or if the layout is ambiguous.
  """
  top = _enter(root)
  names = subfolders(top)
  if not names:
    raise ValueError(f'Expected one directory per class in {top}. Received: '
                     f'{_count(len(loose_images(top)))} and no directory. {_ADVICE}')
  found = [_inspect_split(top / name, split) for name, split in split_names.find(names).items()]
  others = [name for name in names if name not in {one.name for one in found}]
  others = [name for name in others if has_images(top / name)]
  if any(one.is_labelled for one in found):
    layout = _layout_of_splits(top, found, others)
  elif not any(one.num_loose for one in found) or (
      others and [one.name.lower() for one in found] in [[word] for word in _MAY_BE_A_CLASS]):
    layout = _layout_of_classes(top, names)
  else:
    raise ValueError(_ambiguous(top, found, others))
  if top != root:
    layout = layout._replace(notes=(f'The dataset is in {top.relative_to(root)}.', *layout.notes))
  return layout


def subfolders(folder: Path) -> list[str]:
  """Returns the sorted names of a folder's directories, without hidden and system directories.

  Raises:
    ValueError: if there is a broken link, because a class may be missing.
  """
  names = []
  with os.scandir(folder) as entries:
    for entry in entries:
      if not _is_visible(entry.name):
        continue
      if entry.is_dir():
        names.append(entry.name)
      elif entry.is_symlink() and not os.path.exists(entry.path) and not Path(entry.name).suffix:
        raise ValueError(f'Expected directories in {folder}. Received the link {entry.name} to '
                         f'{os.path.realpath(entry.path)}, which does not exist. Repair or remove '
                         'the link.')
  return sorted(names)


def loose_images(folder: Path) -> list[str]:
  """Returns the sorted names of the images directly in a folder."""
  with os.scandir(folder) as entries:
    return sorted(entry.name for entry in entries if is_image(entry.name) and entry.is_file())


def is_image(name: str) -> bool:
  """Returns whether a file counts as an image, by its name."""
  return _is_visible(name) and name.lower().endswith(IMAGE_SUFFIXES)


def has_images(folder: Path) -> bool:
  """Returns whether there is an image in a folder or below it."""
  return any(is_image(path.name) for path in walk(folder))


def walk(folder: Path) -> Iterator[Path]:
  """Yields the visible files in a folder and below it.

  Follows links, but enters no directory twice and no parent of the folder.
  """
  seen = {os.path.realpath(parent) for parent in folder.absolute().parents}
  for parent, folders, files in os.walk(folder, followlinks=True):
    real = os.path.realpath(parent)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(name for name in folders if _is_visible(name))
    yield from (Path(parent, file) for file in files if _is_visible(file))


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
    names = subfolders(folder)
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
      unlabelled[split] = loose[0].path
    unused += loose
  unused += [one for one in found if one.split == split_names.UNLABELLED]
  used = {split: next(one for one in found if one.split == split and one.is_labelled)
          for split in splits}
  if any(one.path.relative_to(top).as_posix() not in _PLAIN[split] for split, one in used.items()):
    notes.insert(0, 'Splits: ' + ', '.join(f'{split} is {one.path.relative_to(top)}'
                                           for split, one in used.items()) + '.')
  notes += [f'Not used: {one.path.relative_to(top)}, {_count(one.num_loose)} outside class '
            'directories.' for one in unused]
  notes += [f'Not used: {name}, which has images but not the name of a split.' for name in others]
  return Layout(splits, unlabelled, {one.name: one.split for one in found}, tuple(notes))


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
  names = {name for _, _, files in os.walk(folder) for name in files}
  return bool(names & {'.lock', 'checkpoint', 'metrics.csv'}) and not has_images(folder)


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
