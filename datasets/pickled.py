"""Images in pickles, such as the widely used `train.p`, `valid.p` and `test.p` of GTSRB.

Each file is a dict with 'features', uint8 [n, height, width, 3] RGB (or 1, grey), and 'labels',
integers [n] from 0; other keys ('sizes', 'coords' …) are ignored. `files/unpickling.py` reads the
files without running any code in them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from datasets import dataset, indexed, integer_labels, labels_file, list_lines, split_names, splits
from files import unpickling
from files.reasons import listed

_SUFFIXES = ('.p', '.pickle', '.pkl')
_SPLITS = ('train', 'validation', 'test')
_NAMES_FILE = 'signnames.csv'
_FORM = ("a dict with 'features', uint8 [n, height, width, 3 or 1], and 'labels', n non-negative "
         'integers')
_CHUNK = 4096


def get_split(name: str, split_name: str, dataset_dir,
              *, options: dataset.Options = dataset.Options()) -> dataset.Dataset:
  """Makes a split of pickled images.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; 'all' if there is only one.
    dataset_dir: a folder with one file per split, `train.p`, `valid.p` (or `validation.p`, `val.p`)
      and `test.p`, or with the suffix `.pickle` or `.pkl`; or one file. Classes are named by the
      columns ClassId and SignName of a `signnames.csv` next to them, or by a `labels.txt`; without
      either, the names are '0', '1', …, see `integer_labels.up_to_largest`.
    options: see `dataset.Options`.

  Returns:
    A `dataset.Dataset`. Its images are in memory, encoded without loss; example 7 of `train.p` is
    named 'train.p/000007'.

  Raises:
    ValueError, FileNotFoundError: if a file is missing, damaged or has another format, or a label
      has no name.
  """
  root = Path(dataset_dir)
  files = _find_files(root)
  chosen, part = splits.choose(
      split_name, tuple(files), source=str(root),
      validation_fraction=options.validation_fraction)
  path = files[chosen]
  images, own_labels = _read(path)
  class_names, first = _class_names(path.parent)
  labels = own_labels - first
  open_ended = class_names is None
  notes = labels_file.first_note(first)
  if class_names is None:
    classes = integer_labels.up_to_largest(
        [own_labels], lambda: [own_labels if split == chosen else _read(other)[1]
                               for split, other in files.items()])
    labels, class_names, notes = classes.of(labels), classes.names, classes.notes
  elif labels.min() < 0 or labels.max() >= len(class_names):
    raise ValueError(f'Expected labels in [{first}, {first + len(class_names)}) in {path}, because '
                     f'these are named next to it. Received: {own_labels.min()} to '
                     f'{own_labels.max()}.'
                     + labels_file.first_advice(first, int(own_labels.max()), len(class_names)))
  names = [f'{path.name}/{i:06d}' for i in range(len(labels))]
  examples = indexed.IndexedExamples(names, labels, encoded=list(_encode(images)),
                                     files=[str(path)], formats=['BMP'])
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part,
                                              validation_fraction=options.validation_fraction))
  return dataset.Dataset(name, split_name, class_names, images.shape[-1], examples,
                         made_split=bool(part), open_ended_labels=open_ended, notes=notes,
                         numbered_by_name=open_ended and bool(notes))


def _find_files(root: Path) -> dict[str, Path]:
  """Finds the file of each split."""
  if root.is_file():
    split = split_names.split_of(root.stem)
    return {split if split in _SPLITS else 'train': root}
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a pickle of images or a folder of them. '
                            f'Received: {root}, which does not exist.')
  found: dict[str, Path] = {}
  for path in sorted(root.iterdir()):
    split = split_names.split_of(path.stem)
    if path.suffix in _SUFFIXES and split in _SPLITS and path.is_file():
      if split in found:
        raise ValueError(f'Expected one file for the split {split!r}. Received: {found[split]}, '
                         f'{path}. Remove one of them.')
      found[split] = path
  if not found:
    raise FileNotFoundError(f'Expected a pickle of images named after its split in {root}, such as '
                            'train.p, valid.p or test.p. Received none. If the file has another '
                            'name, set --dataset_dir to the file itself.')
  return found


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
  """Reads the images, uint8 [n, height, width, 3 or 1], and labels, int64 [n], of a file."""
  content = unpickling.read_pickle(path)
  if not isinstance(content, dict) or not {'features', 'labels'} <= set(content):
    received = (f'a dict with the keys {listed(content)}'
                if isinstance(content, dict) else f'a {type(content).__name__}')
    raise ValueError(f'Expected {path} to contain {_FORM}. Received: {received}.')
  images, labels = content['features'], content['labels']
  if (not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4
      or images.shape[-1] not in (1, 3) or not images.size):
    raise ValueError(f'Expected {path} to contain {_FORM}. Received: features of {_kind(images)}.'
                     + _advice(images))
  if isinstance(labels, list) and all(isinstance(label, (int, np.integer)) for label in labels):
    labels = np.array(labels)
  if (not isinstance(labels, np.ndarray) or labels.dtype.kind not in 'iu'
      or labels.shape not in ((len(images),), (len(images), 1))):
    raise ValueError(f'Expected {path} to contain {_FORM}. Received: {len(images)} images and '
                     f'labels of {_kind(labels)}.')
  if labels.min() < 0 or labels.max() > integer_labels.LARGEST:
    raise ValueError(f'Expected labels from 0 to {integer_labels.LARGEST} in {path}. Received: '
                     f'{labels.min()} to {labels.max()}.')
  return images, labels.reshape(-1).astype(np.int64)


def _kind(value) -> str:
  if isinstance(value, np.ndarray):
    return f'the type {value.dtype} and shape {list(value.shape)}'
  return f'the type {type(value).__name__}'


def _advice(images) -> str:
  if not isinstance(images, np.ndarray) or images.dtype.kind not in 'iuf':
    return ''
  if images.ndim == 4 and images.shape[-1] in (1, 3) and images.size:
    return ' Save the images before scaling, as uint8 in [0, 255].'
  return (' To train on features computed by a network, use train_on_features.py.'
          if images.dtype.kind == 'f' else '')


def _class_names(folder: Path) -> tuple[tuple[str, ...] | None, int]:
  """The class names in a file next to the data, None if there is none; and the first label."""
  if (folder / _NAMES_FILE).is_file():
    return _sign_names(folder / _NAMES_FILE), 0
  if (folder / labels_file.FILENAME).is_file():
    names, first = labels_file.read(folder / labels_file.FILENAME)
    return names, first or 0
  return None, 0


def _sign_names(path: Path) -> tuple[str, ...]:
  """Reads a CSV file with a header and two columns, the label and its name."""
  rows = [line.cells for line in list_lines.read(path, delimiter=',')[1:]]
  names = {row[0]: row[1] for row in rows if len(row) > 1}
  wanted = [str(label) for label in range(len(rows))]
  if not rows or set(names) != set(wanted) or not all(names.values()):
    raise ValueError(f'Expected {path} to name each of the labels 0, 1, … once, one "label,name" '
                     f'per line below a header. Received: {len(rows)} lines with the labels '
                     f'{listed(names)}.')
  return tuple(names[label] for label in wanted)


def _encode(images: np.ndarray) -> Iterator[bytes]:
  """Yields each image as a BMP file, which is 20 times as fast to encode as PNG.

  Args:
    images: uint8 [n, height, width, 3 or 1].
  """
  _, height, width, _ = images.shape
  row_bytes = -(-3 * width // 4) * 4
  size = height * row_bytes
  header = struct.pack('<2sIIIIiiHHIIiiII', b'BM', 54 + size, 0, 54, 40, width, height, 1, 24, 0,
                       size, 0, 0, 0, 0)
  for start in range(0, len(images), _CHUNK):
    chunk = images[start:start + _CHUNK]
    rows = np.zeros([len(chunk), height, row_bytes], np.uint8)
    # Rows from the bottom up, blue before green before red.
    rows[:, :, :3 * width] = np.broadcast_to(
        chunk[:, ::-1, :, ::-1], [*chunk.shape[:3], 3]).reshape(len(chunk), height, -1)
    for image in rows:
      yield header + image.tobytes()
