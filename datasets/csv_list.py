"""Lists of images and labels: CSV and TSV files, or text files with lines `path label`."""

from __future__ import annotations

import collections
import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets import (
  dataset,
  indexed,
  integer_labels,
  labels_file,
  list_columns,
  list_files,
  list_names,
  list_table,
  split_names,
  splits,
)
from datasets.list_files import Row
from files import cache, converted_images

_SUFFIXES = ('.csv', '.tsv', '.txt')
_SPLITS = ('train', 'validation', 'test')
_NOT_UNICODE = 'not UTF-8, read as Windows-1252'
# What else has a suffix of a list and is next to one.
_NO_LISTS = re.compile(r'readme|licen[cs]e|.*(submission|requirements).*', re.IGNORECASE)
# A whole number, as it is or as pandas writes it in a column with missing values.
_INTEGER = re.compile(r'-?\d+(\.0+)?')


class ImageList(NamedTuple):
  """A parsed list.

  Attributes:
    path: the file.
    rows: its lines.
    image_column: title of the column of paths, for messages.
    class_names: the classes that have a column each; () if there is a column of labels.
    note: how the list was read, for the user; '' for the usual layout.
  """
  path: Path
  rows: list[Row]
  image_column: str
  class_names: tuple[str, ...]
  note: str


class _Classes(NamedTuple):
  """The classes of a dataset.

  Attributes:
    names: one name per class; the position is the label.
    labels: the label of each text in the lists.
    first_label: the first label, if labels are listed integers.
    open_ended, numbered_by_name, notes: see `dataset.Dataset`.
  """
  names: tuple[str, ...]
  labels: dict[str, int]
  open_ended: bool
  numbered_by_name: bool = True
  notes: tuple[str, ...] = ()
  first_label: int = 0

  def label_of(self, text: str, row: Row, path: Path) -> int:
    """Returns the class of one of the labels of a row."""
    label = self.labels.get(text)
    if label is not None:
      return label
    where = f'in {path}, line {row.line}'
    if _INTEGER.fullmatch(text):
      first = self.first_label
      advice = labels_file.first_advice(first, _value(text), len(self.names))
      raise ValueError(f'Expected a label in [{first}, {first + len(self.names)}) {where}. '
                       f'Received: {text[:40]}.{advice}')
    known = ', '.join(self.names[:20]) + (', …' if len(self.names) > 20 else '')
    raise ValueError(f'Expected a known class {where}. Received: {text!r}. Known: {known}.')


def get_split(name: str, split_name: str, dataset_dir,
              *, options: dataset.Options = dataset.Options()) -> dataset.Dataset:
  """Makes a split from lists of images.

  Columns are separated by comma, semicolon or tab; or by blanks, where the last word is the label.
  Cells may be in double quotes. The header tells which column is which; without a header, paths
  come first and labels second. `docs/lists.md` has the details. Paths are absolute or relative to
  the list. Labels are names; if all are integers, each of them is a class.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; 'all' if there is only one.
    dataset_dir: a list, or a folder of lists named after their splits (`train.csv`, `val.txt` …),
      or with a single list.
      A `labels.txt` in it sets the order of the classes, or names for integer labels. A single list
      may have a column with each image's split.
    options: see `dataset.Options`.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError, FileNotFoundError: if a list, a column, an image or a label's name is missing, or
      a label is out of range; the message names the list and the line.
  """
  root = Path(dataset_dir)
  image_dir = Path(options.image_dir) if options.image_dir else None
  if image_dir and not image_dir.is_dir():
    raise FileNotFoundError('Expected --image_dir to be a folder of images. Received: '
                            f'{image_dir}, which does not exist or is not a folder.')
  is_multi = options.multi_label
  lists, unlabelled = _read_lists(root, image_dir, is_multi)
  rows = _rows_by_split(lists)
  chosen, part = splits.choose(
      split_name, (*rows, *unlabelled), source=str(dataset_dir),
      validation_fraction=options.validation_fraction)
  if chosen in unlabelled:
    raise unlabelled[chosen]
  found = _list_of(lists, chosen)
  classes = _classes(lists, rows, chosen)
  labels, label_sets = _labels(rows[chosen], found.path, classes)
  # If the column contains no paths at all, the message of a missing file is the right one.
  find = functools.partial(list_files.find, path=found.path, column=found.image_column,
                           folder=image_dir or found.path.parent)
  find(rows[chosen][:1])
  names, images, repeated = list_files.names_of(found.rows, found.path)
  files = find(rows[chosen])
  is_chosen = [row.split in (None, chosen) for row in found.rows]
  names, images = (list(itertools.compress(one, is_chosen)) for one in (names, images))
  readable = converted_images.readable(files.paths)
  examples = indexed.IndexedExamples(names, labels, paths=readable.paths, formats=readable.formats)
  keep = np.ones(len(names), bool)
  if part:
    keep = splits.part_of(examples, classes.names, part, images=images,
                          validation_fraction=options.validation_fraction,
                          label_sets=label_sets if is_multi else None)
  if (part or chosen) != 'train':  # Repetitions weight images in training, not in a measurement.
    keep &= np.array(names) == np.array(images)
  if not keep.all():
    examples = examples.select(keep)
  notes = (*(f'Not used: the list of the split {split!r}, which has no labels.'
             for split in unlabelled),
           *filter(None, [*(one.note for one in lists.values()), *files.notes, *readable.notes,
                          repeated]))
  return dataset.Dataset(name, split_name, classes.names, 3, examples, made_split=bool(part),
                         open_ended_labels=classes.open_ended, notes=notes + classes.notes,
                         numbered_by_name=classes.numbered_by_name,
                         label_sets=label_sets if is_multi else None)


def read_list(path: Path, folder: Path, *, is_multi: bool = False) -> ImageList:
  """Reads a list of images; see `get_split` for the format.

  Args:
    path: the list.
    folder: the folder that relative paths of images start from.
    is_multi: whether images may have several labels.
  """
  table = list_table.open_table(path, folder)
  columns = list_columns.choose(table, is_multi=is_multi)
  if is_multi:
    found = list_columns.all_of(table, columns)
  elif columns.label is None:
    found = [(label,) for label in list_columns.one_of(table, columns)]
  else:
    found = [(label,) for label in list_columns.only_label(table, columns.label)]
  rows = []
  for line, labels in zip(table.lines, found, strict=True):
    if len(line.cells) < 2 or len(line.cells) <= columns.image or not line.cells[columns.image]:
      raise ValueError(f'Expected the path and the label of an image in {path}, line {line.number}.'
                       f' Received: {list_table.shown(line)}.')
    rows.append(Row(line.cells[columns.image], labels, line.number,
                    _split(table, columns.split, line)))
  return ImageList(path, rows, table.title(columns.image), tuple(map(table.name, columns.classes)),
                   _note(table, columns, rows, is_multi=is_multi))


def _read_lists(root: Path, image_dir: Path | None, is_multi: bool
                ) -> tuple[dict[str, ImageList], dict[str, splits.UnlabelledSplitError]]:
  """Reads the list of each split.

  Returns:
    (the lists; for each split but training whose list has no labels, the error that says so).
  """
  lists: dict[str, ImageList] = {}
  unlabelled: dict[str, splits.UnlabelledSplitError] = {}
  found = _find_lists(root)
  for split, path in found.items():
    try:
      lists[split] = read_list(path, image_dir or path.parent, is_multi=is_multi)
    except list_columns.NoLabelsError as error:
      if 'train' not in found or split == 'train':
        raise
      unlabelled[split] = splits.UnlabelledSplitError(str(error))
  return lists, unlabelled


def _find_lists(root: Path) -> dict[str, Path]:
  """Finds the list of each split."""
  if root.is_file():
    split = split_names.split_of(root.stem)
    return {split if split in _SPLITS else 'train': root}
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a list of images (.csv, .tsv, .txt) or a '
                            f'folder of such lists. Received: {root}, which does not exist.')
  lists = _lists(root)
  found = {}
  for split in _SPLITS:
    # The usual names take precedence over other spellings of the split.
    paths = [path for path in lists if path.stem in splits.KNOWN
             and split_names.split_of(path.stem) == split] or [
                 path for path in lists if split_names.split_of(path.stem) == split]
    if len(paths) > 1:
      raise ValueError(f'Expected one list for the split {split!r}. Received: '
                       f'{", ".join(str(path) for path in paths)}. Remove one of them.')
    if paths:
      found[split] = paths[0]
  if not found:
    others = _others(root)
    if len(others) == 1:
      return {'train': others[0]}
    raise FileNotFoundError(
        f'Expected a list named after its split in {root}, such as train.csv or val.txt. Received '
        f'{", ".join(path.name for path in others) or "no list"}. If the list has another name, '
        'set --dataset_dir to the list itself.')
  return found


def names_labels(path: Path) -> bool:
  """Whether a list, or the training list in a folder, has a column that is named like labels."""
  table = list_table.open_table(_find_lists(path)['train'], path if path.is_dir() else path.parent)
  return any(list_names.is_label(name) or list_names.may_be_label(name)
             for name in table.header or ())


def beside(folder: Path) -> Path | None:
  """The CSV or TSV file that lists a folder's images; the folder if it has one per split."""
  if any(path.suffix != '.txt' and split_names.split_of(path.stem) == 'train'
         for path in _lists(folder)):
    return folder
  found = [path for path in _others(folder) if path.suffix != '.txt']
  return found[0] if len(found) == 1 else None


def _lists(root: Path) -> list[Path]:
  return [path for path in sorted(root.iterdir())
          if path.suffix in _SUFFIXES and path.is_file() and not path.name.startswith('.')]


def _others(root: Path) -> list[Path]:
  """The files in a folder that may be lists of images and are not named after a split."""
  return [path for path in _lists(root)
          if not split_names.split_of(path.stem) and path.name != labels_file.FILENAME
          and not _NO_LISTS.fullmatch(path.stem)]


def _split(table: list_table.Table, column: int | None, line) -> str | None:
  """The split in a line; None if the list has no column of splits."""
  if column is None:
    return None
  value = line.cells[column] if column < len(line.cells) else ''
  found = list_names.split_of(value)
  if found is None:
    raise ValueError(
        f'Expected train, validation or test in {table.title(column)} of {table.path}, line '
        f'{line.number}. Received: {cache.printable(value) or "nothing"}. Write one of these; if '
        'the column does not contain splits, rename or remove it.')
  return found


def _note(table: list_table.Table, columns: list_columns.Columns, rows: list[Row], *,
          is_multi: bool) -> str:
  """Describes how a list was read; '' for the usual layout."""
  is_known = not table.header or list_names.is_path(table.name(columns.image))
  is_usual = is_known and not is_multi and columns == list_columns.Columns(0, 1, (), None, ())
  if is_usual and not table.encoding:
    return ''
  if is_usual:
    return f'{cache.printable(table.path.name)}: {_NOT_UNICODE}'
  parts = [f'images in {table.title(columns.image)}']
  if columns.label is None:
    parts[0] += (f', one column per class ({len(columns.classes)} classes): '
                 f'{table.listed(columns.classes)}')
  else:
    parts[0] += f', labels in {table.title(columns.label)}'
    if is_multi:
      separator = list_columns.separator_of(table, columns.label)
      parts[0] += f', separated by {separator}' if separator else ', as lists'
  if columns.split is not None:
    counts = collections.Counter(row.split for row in rows)
    parts[0] += (f', splits in {table.title(columns.split)} ('
                 + ', '.join(f'{count} {split}' for split, count in counts.items()) + ')')
  if table.encoding:
    parts.append(_NOT_UNICODE)
  if columns.ignored:
    parts.append(f'ignored columns: {table.listed(columns.ignored)}')
  return cache.printable(f'{table.path.name}: {"; ".join(parts)}')


def _rows_by_split(lists: Mapping[str, ImageList]) -> dict[str, list[Row]]:
  """The rows of each split; a single list is divided by its column of splits."""
  if list(lists) == ['train'] and lists['train'].rows[0].split:
    rows: dict[str, list[Row]] = collections.defaultdict(list)
    for row in lists['train'].rows:
      if row.split:  # If one row has a split, all have.
        rows[row.split].append(row)
    return dict(rows)
  for split, one in lists.items():
    for row in one.rows:
      if row.split and row.split != split:
        raise ValueError(
            f'Expected images of the split {split!r} in {one.path}, as its name says. Received one '
            f'of {row.split!r} in line {row.line}. Remove the column of splits, or the rows of '
            'other splits; or rename the list and set --dataset_dir to it, to use it for all '
            'splits.')
  return {split: one.rows for split, one in lists.items()}


def _list_of(lists: Mapping[str, ImageList], split: str) -> ImageList:
  """The list that contains a split: its own, or the only one."""
  return lists[split] if split in lists else next(iter(lists.values()))


def _classes(lists: Mapping[str, ImageList], rows: Mapping[str, list[Row]],
             chosen: str) -> _Classes:
  """Finds the classes of all lists; raises a ValueError if a label is missing."""
  path = _list_of(lists, chosen).path
  names_file = path.parent / labels_file.FILENAME
  listed, first = (labels_file.read(names_file) if names_file.is_file() and names_file != path
                   else labels_file.Names(()))
  for one in lists.values():
    _check_none_missing(one, listed)
  texts = {label for one in lists.values() for row in one.rows for label in row.labels}
  texts.update(*(one.class_names for one in lists.values()))
  by_number = all(map(_INTEGER.fullmatch, texts))
  if listed:
    if not by_number:
      return _Classes(listed, _places(listed), open_ended=False, numbered_by_name=False)
    values = {text: _value(text) for text in texts}
    first = first or 0
    return _Classes(listed, {text: value - first for text, value in values.items()
                             if 0 <= value - first < len(listed)}, open_ended=False,
                    numbered_by_name=False, notes=labels_file.first_note(first),
                    first_label=first)
  if by_number:
    return _integer_classes(lists.values(), texts)
  training = 'train' if 'train' in rows else chosen
  names = sorted({label for row in rows[training] for label in row.labels}
                 | set(_list_of(lists, training).class_names))
  return _Classes(tuple(names), _places(names), open_ended=False)


def _integer_classes(lists: Iterable[ImageList], texts: Iterable[str]) -> _Classes:
  values = {text: _value(text) for text in texts}
  wrong = {text for text, value in values.items() if not 0 <= value <= integer_labels.LARGEST}
  for row, path in ((row, one.path) for one in lists if wrong for row in one.rows):
    for label in wrong.intersection(row.labels):
      raise ValueError(f'Expected labels from 0 to {integer_labels.LARGEST} in {path}, line '
                       f'{row.line}. Received: {label[:40]}. If it means that the image has no '
                       'label, remove the line.')
  found = integer_labels.of_values([np.array(list(values.values()), np.int64)])
  places = {int(name): place for place, name in enumerate(found.names)}
  return _Classes(found.names, {text: places[value] for text, value in values.items()},
                  open_ended=True, notes=found.notes)


def _value(text: str) -> int:
  """The integer in `7` or `7.0`."""
  return integer_labels.value(text.partition('.')[0])


def _places(names: Iterable[str]) -> dict[str, int]:
  return {name: place for place, name in enumerate(names)}


def _check_none_missing(one: ImageList, listed: tuple[str, ...]) -> None:
  """Raises a ValueError if labels are missing ('', 'nan', …), unless `listed` has such a class."""
  wrong = [(row, label) for row in one.rows for label in row.labels
           if list_names.is_missing(label) and label not in listed]
  if wrong:
    row, label = wrong[0]
    advice = (f' If {label!r} is a class, rename it, or list all classes in '
              f'{labels_file.FILENAME} next to the list.' if label else '')
    raise ValueError(
        f'Expected a label for every image in {one.path}, line {row.line}. Received: '
        f'{label or "nothing"}. The label is missing in {len(wrong)} of {len(one.rows)} lines. '
        f'Remove these lines or add the labels.{advice}')


def _labels(rows: Sequence[Row], path: Path, classes: _Classes
            ) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
  """Returns the label of each row, and the classes of each label.

  If each row has one class, the label is that class.
  """
  found = [[classes.label_of(text, row, path) for text in row.labels] for row in rows]
  if all(len(one) == 1 for one in found):
    return [one[0] for one in found], tuple((place,) for place in range(len(classes.names)))
  return dataset.number_sets(found)
