"""Folders of images: one directory per class, possibly inside one directory per split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from datasets import dataset, folder_layout, indexed, splits
from datasets.folder_layout import IMAGE_SUFFIXES


def get_split(name: str, split_name: str, dataset_dir, *, file_pattern=None,
              validation_fraction: float = 0.1) -> dataset.Dataset:
  """Makes a split of a folder of images.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; the name of a split's directory;
      'all' if there is only one.
    dataset_dir: the folder; see `folder_layout.find` for the layouts.
    file_pattern: unused.
    validation_fraction: see `splits.choose`.

  Returns:
    A `dataset.Dataset`; its classes are the directories' names in sorted order.

  Raises:
    ValueError, FileNotFoundError: if the folder has another layout, a class is empty, or the images
      of the split have no classes.
  """
  del file_pattern
  root = Path(dataset_dir)
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a folder of images. '
                            f'Received: {root}, which does not exist or is not a folder.')
  layout = folder_layout.find(root)
  chosen, part = splits.choose(
      layout.folder_names.get(split_name, split_name), (*layout.splits, *layout.unlabelled),
      validation_fraction=validation_fraction, source=f'the folder {root}')
  if chosen in layout.unlabelled:
    raise ValueError(_no_classes(chosen, layout.unlabelled[chosen]))
  folders = layout.splits[chosen]
  class_names = tuple(layout.splits.get('train', folders))
  unknown = [class_name for class_name in folders if class_name not in class_names]
  if unknown:
    raise ValueError(f'Expected the classes of the training split in {root}. Received, in the '
                     f'split {chosen!r}, other classes: {", ".join(unknown)}.')
  examples, notes = _read(root, class_names, folders, require_all=chosen == 'train')
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part,
                                              validation_fraction=validation_fraction))
  return dataset.Dataset(name, split_name, class_names, 3, examples, made_split=bool(part),
                         notes=(*layout.notes, *notes), numbered_by_name=True)


def image_files(top) -> list[str]:
  """Lists the images in a folder and its subfolders, always in the same order.

  Raises:
    FileNotFoundError: if the folder does not exist or contains no image.
  """
  images = _sorted_files(Path(top))[0] if Path(top).is_dir() else []
  if not images:
    raise FileNotFoundError(f'Expected a folder with images ({", ".join(IMAGE_SUFFIXES)}). '
                            f'Received: {top}, which contains none.')
  return [str(image) for image in images]


def _no_classes(split: str, path: Path) -> str:
  """The message for a split whose images are not in class directories."""
  advice = ('Images without classes are for predict_image.py.' if split == 'test' else
            'Sort them into one directory per class, or list them with their classes '
            '(--dataset_name=csv); or train without them: --validation_interval_epochs=0.')
  count = len(folder_layout.loose_images(path))
  return (f'Expected one directory per class in {path}, the split {split!r}. Received: {count} '
          f'images outside class directories. {advice}')


def _read(root: Path, class_names: tuple[str, ...], folders: Mapping[str, tuple[Path, ...]], *,
          require_all: bool) -> tuple[indexed.IndexedExamples, tuple[str, ...]]:
  """Lists the images of the classes; returns the examples, and notes about ignored files."""
  paths: list[Path] = []
  labels: list[int] = []
  ignored: list[Path] = []
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
                     f'{folder_layout.sample(empty)}. Add images or remove the directories. Names '
                     f'of images end with {" ".join(IMAGE_SUFFIXES)}.')
  names = [path.relative_to(root).as_posix() for path in paths]
  notes: tuple[str, ...] = ()
  if ignored:
    files = '1 file' if len(ignored) == 1 else f'{len(ignored)} files'
    shown = folder_layout.sample([path.relative_to(root) for path in ignored])
    notes = (f'Not used: {files} that do not end with {" ".join(IMAGE_SUFFIXES)}: {shown}.',)
  return indexed.IndexedExamples(names, labels, paths=[str(path) for path in paths]), notes


def _sorted_files(folder: Path) -> tuple[list[Path], list[Path]]:
  """The visible files below `folder`, sorted: (images, other files)."""
  files = sorted(folder_layout.walk(folder))
  return ([path for path in files if folder_layout.is_image(path.name)],
          [path for path in files if not folder_layout.is_image(path.name)])
