"""The classes of ILSVRC 2012's validation images, whose folder has no class directories."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from datasets import list_lines
from files.reasons import FAILURES, short_reason

_KAGGLE = 'LOC_val_solution.csv'
_TF_SLIM = 'imagenet_2012_validation_synset_labels.txt'
_KIT = 'ILSVRC2012_validation_ground_truth.txt'
_META = 'meta.mat'
_VALIDATION = re.compile(r'ILSVRC2012_val_\d{8}\.', re.IGNORECASE)
_ID = re.compile(r'n\d{8}')


class Found(NamedTuple):
  """The classes of a folder's images.

  Attributes:
    classes: `{WordNet id: names of the images}`, sorted.
    path: the file that lists them.
  """
  classes: dict[str, list[str]]
  path: Path


def find(folders: Sequence[Path], images: Sequence[str]) -> Found | None:
  """Finds and reads the ground truth of the validation images.

  Args:
    folders: where to look: for Kaggle's `LOC_val_solution.csv`; for TF-Slim's
      `imagenet_2012_validation_synset_labels.txt`, with one WordNet id per image; or for
      `ILSVRC2012_validation_ground_truth.txt` of the development kit, next to its `meta.mat`.
    images: the names of the images.

  Returns:
    None if there is no such file.

  Raises:
    ValueError: if the file does not belong to the images, or cannot be read.
  """
  readers: dict[str, Callable[[Path, Sequence[str]], list[str]]] = {
      _KAGGLE: _of_kaggle, _TF_SLIM: _in_order, _KIT: _of_kit}
  names = sorted(images)
  for path, read in ((folder / file, read) for file, read in readers.items()
                     for folder in _and_kits(folders) if (folder / file).is_file()):
    classes: dict[str, list[str]] = {}
    for name, label in zip(names, read(path, names), strict=True):
      classes.setdefault(label, []).append(name)
    return Found(dict(sorted(classes.items())), path)
  return None


def advice(names: Sequence[str]) -> str:
  """What to do with images without classes if these are ILSVRC's validation images; else ''."""
  if not names or not all(_VALIDATION.match(name) for name in names):
    return ''
  return (f' These are the validation images of ILSVRC 2012: put {_KAGGLE}, {_TF_SLIM}, or {_KIT} '
          f'with its {_META}, into the folder or the one above it.')


def _and_kits(folders: Sequence[Path]) -> Iterator[Path]:
  """Yields the folders, and those of development kits inside."""
  for folder in folders:
    yield folder
    yield from sorted(folder.glob('*devkit*'))
    yield from sorted(folder.glob('*devkit*/data'))


def _of_kaggle(path: Path, names: Sequence[str]) -> list[str]:
  """Reads `ImageId,PredictionString`, where the latter begins with the image's class."""
  classes = {line.cells[0]: line.cells[1].split()[0]
             for line in list_lines.read(path, delimiter=',')[1:]
             if len(line.cells) > 1 and line.cells[1]}
  missing = [name for name in names if Path(name).stem not in classes]
  if missing:
    raise ValueError(f'Expected the class of every validation image in {path}. Received none of '
                     f'{missing[0]} ({len(missing)} such images).')
  return [classes[Path(name).stem] for name in names]


def _in_order(path: Path, names: Sequence[str]) -> list[str]:
  """Reads one WordNet id per image."""
  classes = _lines(path, names)
  wrong = next((label for label in classes if not _ID.fullmatch(label)), None)
  if wrong:
    raise ValueError(f'Expected WordNet ids such as n01440764 in {path}. Received: {wrong[:40]!r}.')
  return classes


def _of_kit(path: Path, names: Sequence[str]) -> list[str]:
  """Reads one number of ILSVRC per image, which is not the class's position in any sorted order."""
  # Imported here because it takes long, and is rarely needed.
  from scipy import io
  meta = path.parent / _META
  if not meta.is_file():
    raise ValueError(f'Expected {_META} of the development kit beside {path}, which says what its '
                     f'numbers mean. Received no such file: copy it there, or use {_TF_SLIM}, '
                     'which has names.')
  try:
    synsets = io.loadmat(meta, squeeze_me=True)['synsets']
    ids = {str(number): str(wnid) for number, wnid in
           zip(synsets['ILSVRC2012_ID'].tolist(), synsets['WNID'].tolist(), strict=True)}
    return [ids[line] for line in _lines(path, names)]
  except FAILURES as error:
    raise ValueError(f'Expected the numbers of the classes of {path} in {meta}, from the same '
                     f'development kit. Received: {short_reason(error)}.') from error


def _lines(path: Path, names: Sequence[str]) -> list[str]:
  lines = list_lines.read_text(path).split()
  if len(lines) != len(names):
    raise ValueError(f'Expected one line per validation image in {path}, {len(names)} in all. '
                     f'Received: {len(lines)}.')
  return lines
