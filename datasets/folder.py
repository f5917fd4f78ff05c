"""Folders of images: one directory per class, possibly inside one directory per split."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from datasets import csv_list, dataset, folder_layout, ilsvrc, indexed, splits
from files import converted_images, image_types


def get_split(name: str, split_name: str, dataset_dir,
              *, options: dataset.Options = dataset.Options()) -> dataset.Dataset:
  """Makes a split of a folder of images.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; the name of a split's directory;
      'all' if there is only one.
    dataset_dir: the folder; see `folder_layout.find` for the layouts.
    options: see `dataset.Options`.

  Returns:
    A `dataset.Dataset`; its classes are the directories' names, sorted as numbers if all are
    numbers. If there are no class directories but a list of images, see `csv_list`.

  Raises:
    ValueError, FileNotFoundError: if the folder has another layout, a class is empty, or the images
      of the split have no classes.
  """
  root = Path(dataset_dir)
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a folder of images. '
                            f'Received: {root}, which does not exist or is not a folder.')
  with folder_layout.remembered_listings():
    return _split_of(root, name, split_name, options=options)


def _split_of(root: Path, name: str, split_name: str, *, options: dataset.Options
              ) -> dataset.Dataset:
  try:
    layout = folder_layout.find(root)
  except folder_layout.NoClassesError:
    found = csv_list.beside(root)
    if not found:
      raise
    return _listed(name, split_name, found, options=options)
  found = csv_list.beside(root) if layout.is_of_names else None
  if found and csv_list.names_labels(found):
    return _listed(name, split_name, found, options=options)
  chosen, part = splits.choose(
      layout.folder_names.get(split_name, split_name), (*layout.splits, *layout.unlabelled),
      validation_fraction=options.validation_fraction, source=f'the folder {root}')
  if chosen in layout.unlabelled:
    raise splits.UnlabelledSplitError(_no_classes(chosen, layout.unlabelled[chosen]))
  folders = layout.splits[chosen]
  class_names = _in_order(layout.splits.get('train', folders))
  unknown = [class_name for class_name in folders if class_name not in class_names]
  if unknown:
    raise ValueError(f'Expected the classes of the training split in {root}. Received, in the '
                     f'split {chosen!r}, other classes: {", ".join(unknown)}.')
  examples, notes = _read(root, class_names, folders, require_all=chosen == 'train')
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part,
                                              validation_fraction=options.validation_fraction))
  return dataset.Dataset(name, split_name, class_names, 3, examples, made_split=bool(part),
                         notes=(*layout.notes, *notes, *_order_note(class_names),
                                *_list_note(root, class_names)),
                         numbered_by_name=True)


def _listed(name: str, split_name: str, found: Path, *, options: dataset.Options
            ) -> dataset.Dataset:
  """Makes a split from the list, or the lists, beside the images."""
  listed = csv_list.get_split(name, split_name, found, options=options)
  source = found.name if found.is_file() else f'the lists in {found}'
  return dataclasses.replace(listed, notes=(f'Classes from {source}.', *listed.notes))


def image_files(top) -> tuple[list[str], str]:
  """Lists the images in a folder and its subfolders, always in the same order.

  Returns:
    The paths of the images, and a note about other files, '' if there are none.

  Raises:
    FileNotFoundError: if the folder does not exist or contains no image.
  """
  images, others = _sorted_files(Path(top)) if Path(top).is_dir() else ([], [])
  if not images:
    raise FileNotFoundError(
        f'Expected a folder with images ({", ".join(image_types.ALL)}). Received: {top}, '
        f'which contains none{_not_used(others, Path(top), start=". ") if others else "."}')
  return images, _not_used(others, Path(top)) if others else ''


def _not_used(files: Sequence[str], root: Path, start: str = '') -> str:
  """Names files that are not images."""
  count = '1 file' if len(files) == 1 else f'{len(files)} files'
  start_of_path = len(folder_layout.prefix(root))
  shown = folder_layout.sample([path[start_of_path:] for path in files])
  return (f'{start}Not used: {count} of other formats than {", ".join(image_types.ALL)}: '
          f'{shown}.')


def _no_classes(split: str, path: Path) -> str:
  """The message for a split whose images are not in class directories."""
  advice = ('Images without classes are for predict_image.py.' if split == 'test' else
            'Sort them into one directory per class, or list them with their classes '
            '(--dataset_name=csv); or train without them: --validation_interval_epochs=0.')
  loose = folder_layout.loose_images(path)
  return (f'Expected one directory per class in {path}, the split {split!r}. Received: '
          f'{len(loose)} images outside class directories. {advice}{ilsvrc.advice(loose)}')


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
  """Sorts the classes: by their numbers if all names are numbers, else by their letters."""
  names = sorted(names)
  if all(name.isascii() and name.isdecimal() for name in names):
    names.sort(key=int)
  return tuple(names)


def _order_note(class_names: tuple[str, ...]) -> tuple[str, ...]:
  """Notes that the order is one of numbers, if that is another one."""
  if list(class_names) == sorted(class_names):
    return ()
  return ('The names of the classes are numbers: they are in the order of these numbers, '
          f'{folder_layout.sample(class_names)}',)


def _list_note(root: Path, class_names: tuple[str, ...]) -> tuple[str, ...]:
  """Notes that a single directory of images may have its classes in a list next to it."""
  found = csv_list.beside(root) if len(class_names) == 1 else None
  return () if found is None else (
      f'Not used: {found.name}. If it lists the images with their classes: --dataset_name=csv '
      f'--dataset_dir={found}',)


def _read(root: Path, class_names: tuple[str, ...], folders: Mapping[str, tuple[Path, ...]], *,
          require_all: bool) -> tuple[indexed.IndexedExamples, tuple[str, ...]]:
  """Lists the images of the classes; returns the examples, and notes about ignored files."""
  paths: list[str] = []
  labels: list[int] = []
  ignored: list[str] = []
  empty: list[str] = []
  for label, class_name in enumerate(class_names):
    found = [_sorted_files(folder) for folder in folders.get(class_name, ())]
    images = [image for of_folder, _ in found for image in of_folder]
    others = [other for _, of_folder in found for other in of_folder]
    if require_all and not images:
      empty.append(f'{class_name} ({folder_layout.sample(others)})' if others else class_name)
    paths += images
    labels += [label] * len(images)
    ignored += others
  if empty:
    raise ValueError(f'Expected images in every class directory of {root}. Received none in: '
                     f'{folder_layout.sample(empty)}. Add images of the formats '
                     f'{", ".join(image_types.ALL)}, or remove the directories.')
  start_of_path = len(folder_layout.prefix(root))
  names = [path[start_of_path:] for path in paths]
  notes: tuple[str, ...] = ()
  if ignored:
    notes = (_not_used(ignored, root),)
  readable = converted_images.readable(paths)
  return (indexed.IndexedExamples(names, labels, paths=readable.paths, formats=readable.formats),
          (*notes, *readable.notes))


def _sorted_files(folder: Path) -> tuple[list[str], list[str]]:
  """The visible files below `folder`, sorted: (images, other files); or an image by itself."""
  if folder.is_file():
    return [str(folder)], []
  images: list[str] = []
  others: list[str] = []
  for path in sorted(folder_layout.walk(folder), key=lambda path: path.split(os.sep)):
    (images if folder_layout.is_image(path) else others).append(path)
  return images, others
