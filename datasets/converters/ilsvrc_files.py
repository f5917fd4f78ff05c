"""The images of ILSVRC 2012, in its tar archives or extracted, also as Kaggle has them."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import ilsvrc, imagenet
from datasets.converters import tar_files
from files import archives, progress
from files.reasons import listed

_CLASS = re.compile(r'n\d{8}')
_CLASS_TAR = re.compile(r'n\d{8}\.tar')
# Not those of the challenge's other tasks, which end with _t3.
_TRAIN_TAR, _VALIDATION_TAR, _KIT_TAR = '*img_train.tar', '*img_val.tar', '*devkit_t12.tar.gz'
# Where extracted images are, below the source.
_ROOTS = ('.', 'ILSVRC', 'ILSVRC2012', 'imagenet')
_TRAIN = ('ILSVRC2012_img_train', 'train', 'Data/CLS-LOC/train', '.')
_VALIDATION = ('ILSVRC2012_img_val', 'val', 'validation', 'Data/CLS-LOC/val')


class Image(NamedTuple):
  """An encoded image in a file, or in a part of one.

  Attributes:
    name: its own name, such as 'n01440764_18.JPEG'.
    number: its class, in [0, 1000).
    path: the file with its bytes.
    offset, size: which bytes.
  """
  name: str
  number: int
  path: str
  offset: int
  size: int

  def read(self) -> bytes:
    """Reads the image's bytes; raises OSError if they are not there."""
    with open(self.path, 'rb', buffering=0) as file:
      data = os.pread(file.fileno(), self.size, self.offset)
    if len(data) != self.size:
      raise OSError(f'Expected {self.size} bytes of {self.name} in {self.path}. Received: '
                    f'{len(data)}. Did another program change the file?')
    return data


def find(source: Path, counts: Mapping[str, int]) -> dict[str, list[Image]]:
  """Finds the images of both splits.

  Args:
    source: the folder with `ILSVRC2012_img_train.tar` and `ILSVRC2012_img_val.tar`, or with their
      content: one tar archive or one folder per class below `train`; the validation images in
      `val`, in one folder per class, or all together with one of the files that `ilsvrc.find`
      reads, or the development kit's archive. Kaggle's folder has this form, too.
    counts: the number of images that each split must have, 'train' and 'validation'.

  Returns:
    The images of each split, sorted by class and name.

  Raises:
    ValueError, OSError: if images or classes are missing, or an archive is truncated.
  """
  found = {'train': _training(source), 'validation': _validation(source)}
  for split, images in found.items():
    _check(split, images, source=source, expected=counts[split])
  return {split: sorted(images, key=lambda image: (image.number, image.name))
          for split, images in found.items()}


def _training(source: Path) -> list[Image]:
  if archive := _only(source, _TRAIN_TAR):
    with open(archive, 'rb', buffering=0) as file:
      parts = [(Path(name).stem, str(archive), offset, size)
               for name, offset, size in tar_files.members(
                   _Part(file, 0, archive.stat().st_size), str(archive))
               if _CLASS_TAR.fullmatch(Path(name).name)]
  elif folder := _folder(source, _TRAIN, _CLASS_TAR):
    parts = [(path.stem, str(path), 0, path.stat().st_size) for path in folder.glob('n*.tar')
             if _CLASS_TAR.fullmatch(path.name)]
  elif folder := _folder(source, _TRAIN, _CLASS):
    return _in_class_folders(folder)
  else:
    raise FileNotFoundError(
        f'Expected the training images of ILSVRC 2012 in {source}: ILSVRC2012_img_train.tar, or a '
        'folder train with one folder (n01440764) or archive (n01440764.tar) per class. Received '
        f'{_content(source)}.')
  images = []
  for wnid, path, offset, size in progress.show(parts, len(parts), unit='class',
                                                description='reading the list of images'):
    with open(path, 'rb', buffering=0) as file:
      images += [Image(Path(name).name, _number(wnid, path), path, offset + start, length)
                 for name, start, length in tar_files.members(
                     _Part(file, offset, size), f'{path} ({wnid}.tar)')]
  return images


def _validation(source: Path) -> list[Image]:
  if archive := _only(source, _VALIDATION_TAR):
    with open(archive, 'rb', buffering=0) as file:
      members = tar_files.members(_Part(file, 0, archive.stat().st_size), str(archive))
      flat = {Path(name).name: (str(archive), offset, size) for name, offset, size in members}
    folder = archive.parent
  elif classes := _folder(source, _VALIDATION, _CLASS):
    return _in_class_folders(classes)
  elif found := _folder(source, _VALIDATION, re.compile(r'ILSVRC2012_val_\d{8}\.JPEG')):
    folder = found
    with os.scandir(folder) as entries:
      flat = {entry.name: (entry.path, 0, entry.stat().st_size) for entry in entries
              if entry.is_file() and entry.name.endswith('.JPEG')}
  else:
    raise FileNotFoundError(
        f'Expected the validation images of ILSVRC 2012 in {source}: ILSVRC2012_img_val.tar, or a '
        f'folder val with the images or with one folder per class. Received {_content(source)}.')
  names = sorted(flat)
  truth = _ground_truth(source, folder, names)
  return [Image(name, _number(wnid, str(truth.path)), *flat[name])
          for wnid, own in truth.classes.items() for name in own]


def _ground_truth(source: Path, folder: Path, names: Sequence[str]) -> ilsvrc.Found:
  """The classes of the validation images, also from the development kit's archive."""
  places = dict.fromkeys([*(source / root for root in _ROOTS), folder, folder.parent])
  truth = ilsvrc.find([place for place in places if place.is_dir()], names)
  if truth is None and (kit := _only(source, _KIT_TAR)):
    with tempfile.TemporaryDirectory() as scratch, archives.unpacked(kit, scratch) as content:
      truth = ilsvrc.find([content], names)
  if truth is None:
    raise FileNotFoundError(
        f'Expected the classes of the validation images in {source}.{ilsvrc.advice(names)} Or '
        'put ILSVRC2012_devkit_t12.tar.gz there. Received none of them.')
  return truth


def _in_class_folders(folder: Path) -> list[Image]:
  images = []
  with os.scandir(folder) as entries:
    classes = sorted((entry for entry in entries
                      if entry.is_dir() and _CLASS.fullmatch(entry.name)),
                     key=lambda entry: entry.name)
  for entry in progress.show(classes, len(classes), unit='class',
                             description='reading the list of images'):
    with os.scandir(entry.path) as files:
      images += [Image(file.name, _number(entry.name, entry.path), file.path, 0,
                       file.stat().st_size)
                 for file in files if file.is_file() and not file.name.startswith('.')]
  return images


def _number(wnid: str, path: str) -> int:
  numbers = imagenet.numbers_of_ids()
  if wnid not in numbers:
    raise ValueError(f'Expected the 1,000 classes of ILSVRC 2012, such as n01440764. Received '
                     f'{wnid} in {path}. For other classes: --dataset_name=folder when training.')
  return numbers[wnid]


def _check(split: str, images: Sequence[Image], *, source: Path, expected: int) -> None:
  """Raises ValueError if classes or images are missing."""
  present = {image.number for image in images}
  missing = [wnid for wnid, number in imagenet.numbers_of_ids().items() if number not in present]
  if missing:
    raise ValueError(
        f'Expected images of {imagenet.NUM_CLASSES} classes in the {split} split in {source}. '
        f'Received none of {listed(missing)}; missing in all: {len(missing)}. Copy or extract it '
        'again. A part of ImageNet can be used without conversion: --dataset_name=folder.')
  if len(images) != expected:
    raise ValueError(
        f'Expected {expected:,} images in the {split} split of ILSVRC 2012 in {source}. Received: '
        f'{len(images):,}. Copy or extract it again.')


class _Part:
  """A part of a file, as the stream that `tarfile` reads; nothing is read ahead."""

  def __init__(self, file, offset: int, size: int):
    self._file, self._offset, self._size, self._position = file, offset, size, 0

  def read(self, size: int) -> bytes:
    """Like a file's `read`, from the current position."""
    size = max(0, min(size, self._size - self._position))
    data = os.pread(self._file.fileno(), size, self._offset + self._position)
    self._position += len(data)
    return data

  def seek(self, position: int) -> int:
    """Like a file's `seek`."""
    self._position = position
    return position

  def tell(self) -> int:
    """Like a file's `tell`."""
    return self._position


def _only(folder: Path, pattern: str) -> Path | None:
  """The single file of a folder with such a name, or None."""
  found = [path for path in sorted(folder.glob(pattern)) if path.is_file()]
  if len(found) > 1:
    raise ValueError(f'Expected one {pattern} in {folder}. Received: '
                     f'{listed(path.name for path in found)}. Move the others away.')
  return found[0] if found else None


def _folder(source: Path, below: Sequence[str], pattern: re.Pattern) -> Path | None:
  """The first of several folders with an entry of such a name."""
  for folder in (source / root / part for part in below for root in _ROOTS):
    if folder.is_dir():
      with os.scandir(folder) as entries:
        if any(pattern.fullmatch(entry.name) for entry in entries):
          return folder
  return None


def _content(folder: Path) -> str:
  names = sorted(entry.name for entry in folder.iterdir())
  return listed(names) if names else 'an empty folder'
