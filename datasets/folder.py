"""A folder of image files, one folder a class, perhaps inside one folder a split."""

from __future__ import annotations

import os
from pathlib import Path

from datasets import dataset, indexed, splits

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.jpe', '.png', '.gif', '.bmp', '.webp')
_LISTED = 5
# What people call splits that are called otherwise here.
_LIKE_SPLITS = {'training': 'train', 'valid': 'validation', 'eval': 'validation',
                'dev': 'validation', 'testing': 'test', **{name: name for name in splits.KNOWN}}


def get_split(name: str, split_name: str, dataset_dir, *, file_pattern=None,
              validation_fraction: float = 0.1) -> dataset.Dataset:
  """Makes a split of a folder of images.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; 'all' if there is only one.
    dataset_dir: holds a folder a class, or `train`, `validation` (or `val`) and `test` folders
      of such folders.
    file_pattern: unused.
    validation_fraction: see `splits.choose`.

  Returns:
    A `dataset.Dataset`; classes are the folders' names in sorted order.

  Raises:
    ValueError, FileNotFoundError: if the folder is not laid out so, or a class is empty.
  """
  del file_pattern
  root = Path(dataset_dir)
  if not root.is_dir():
    raise FileNotFoundError(f'Expected --dataset_dir to be a folder of images. Received: {root}.')
  _check_split_names(root)
  with_splits = [split for split in splits.KNOWN if _subfolders(root / split)]
  native = with_splits or ['train']
  chosen, part = splits.choose(split_name, native, validation_fraction, f'folder {root}')
  top = root / chosen if with_splits else root
  class_names = _class_names(root / 'train' if 'train' in with_splits else top)
  examples, notes = _read(root, top, class_names, require_all=chosen == 'train')
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part, validation_fraction))
  return dataset.Dataset(name, split_name, class_names, 3, examples, made_split=bool(part),
                         notes=notes)


def image_files(top) -> list[str]:
  """Lists the images of a folder and of the folders in it, in an order that is always the same.

  Raises:
    FileNotFoundError: if there is no such folder, or no image in it.
  """
  images = _walk(Path(top))[0] if Path(top).is_dir() else []
  if not images:
    raise FileNotFoundError(f'Expected a folder with images ({", ".join(IMAGE_SUFFIXES)}). '
                            f'Received: {top}, which has none.')
  return [str(image) for image in images]


def _check_split_names(root: Path) -> None:
  """Stops at a split with another name, which would be taken for a class, or left out."""
  for name in _subfolders(root):
    meant = _LIKE_SPLITS.get(name.lower())
    if meant and name not in splits.KNOWN and _subfolders(root / name):
      raise ValueError(f'Expected splits to be called {", ".join(splits.KNOWN)}. Received a folder '
                       f'of folders {root / name}: rename it to {meant!r}, or link it.')


def _class_names(top: Path) -> tuple[str, ...]:
  class_names = tuple(_subfolders(top))
  if not class_names:
    raise ValueError(f'Expected a folder a class in {top}. Received: no folder in it.')
  return class_names


def _read(root: Path, top: Path, class_names: tuple[str, ...], *, require_all: bool
          ) -> tuple[indexed.IndexedExamples, tuple[str, ...]]:
  """Lists the images under `top`, and says what it left out."""
  unknown = sorted(set(_subfolders(top)) - set(class_names))
  if unknown:
    raise ValueError(f'Expected the classes of {root / "train"} in {top}. '
                     f'Received also: {", ".join(unknown)}.')
  paths, labels, ignored = [], [], []
  for label, class_name in enumerate(class_names):
    images, others = _walk(top / class_name) if (top / class_name).is_dir() else ([], [])
    if require_all and not images:
      raise ValueError(
          f'Expected images in every class folder. Received none in {top / class_name}'
          f'{" (" + _sample(others) + ")" if others else ""}: add some or remove the folder. '
          f'Images end in {" ".join(IMAGE_SUFFIXES)}.')
    paths += images
    labels += [label] * len(images)
    ignored += others
  names = [path.relative_to(root).as_posix() for path in paths]
  notes = ()
  if ignored:
    files = '1 file that is no image' if len(ignored) == 1 else (
        f'{len(ignored)} files that are no images')
    notes = (f'ignored {files}: {_sample([p.relative_to(root) for p in ignored])}',)
  return indexed.IndexedExamples(names, labels, paths=[str(path) for path in paths]), notes


def _subfolders(folder: Path) -> list[str]:
  """The sorted names of the visible folders in `folder`; none if it is no folder."""
  if not folder.is_dir():
    return []
  return sorted(entry.name for entry in folder.iterdir()
                if entry.is_dir() and not entry.name.startswith('.'))


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
  """The visible files under `folder`, sorted: images and others. Enters no folder twice."""
  images, others, seen = [], [], set()
  for parent, folders, files in os.walk(folder, followlinks=True):
    real = os.path.realpath(parent)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders[:] = sorted(name for name in folders if not name.startswith('.'))
    for file in files:
      if not file.startswith('.'):
        is_image = file.lower().endswith(IMAGE_SUFFIXES)
        (images if is_image else others).append(Path(parent, file))
  return sorted(images), sorted(others)


def _sample(paths) -> str:
  names = [str(path) for path in paths[:_LISTED]]
  return ', '.join(names) + (', …' if len(paths) > _LISTED else '')
