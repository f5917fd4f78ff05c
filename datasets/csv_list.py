"""Lists of images and labels: CSV and TSV files, or text files with lines `path label`."""

from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets import (
  cache,
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

_SUFFIXES = ('.csv', '.tsv', '.txt')
_SPLITS = ('train', 'validation', 'test')


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
    open_ended, numbered_by_name, notes: see `dataset.Dataset`.
  """
  names: tuple[str, ...]
  labels: dict[str, int]
  open_ended: bool
  numbered_by_name: bool = True
  notes: tuple[str, ...] = ()


def get_split(name: str, split_name: str, dataset_dir, *, file_pattern=None,
              validation_fraction: float = 0.1) -> dataset.Dataset:
  """Makes a split from lists of images.

  Columns are separated by comma, semicolon or tab; or by blanks, where the last word is the label.
  Cells may be in double quotes. The header tells which column is which; without a header, paths
  come first and labels second. `docs/lists.md` has the details. Paths are absolute or relative to
  the list. Labels are names; if all are integers, each of them is a class.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; 'all' if there is only one.
    dataset_dir: a list, or a folder of lists named after their splits (`train.csv`, `val.txt` …).
      A `labels.txt` in it sets the order of the classes, or names for integer labels. A single list
      may have a column with each image's split.
    file_pattern: unused.
    validation_fraction: see `splits.choose`.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError, FileNotFoundError: if a list, a column, an image or a label's name is missing, or
      a label is out of range; the message names the list and the line.
  """
  del file_pattern
  lists = {split: read_list(path) for split, path in _find_lists(Path(dataset_dir)).items()}
  rows = _rows_by_split(lists)
  chosen, part = splits.choose(split_name, tuple(rows), validation_fraction=validation_fraction,
                               source=str(dataset_dir))
  found = _list_of(lists, chosen)
  classes = _classes(lists, rows, chosen)
  labels = [_label(row, found.path, classes) for row in rows[chosen]]
  # If the column contains no paths at all, the message of a missing file is the right one.
  list_files.find(rows[chosen][:1], found.path, found.image_column)
  list_files.check_other_paths(found.rows, found.path)
  paths = list_files.find(rows[chosen], found.path, found.image_column)
  names = [row.path.replace(os.sep, '/') for row in rows[chosen]]
  examples = indexed.IndexedExamples(names, labels, paths=paths)
  if part:
    examples = examples.select(splits.part_of(examples, classes.names, part,
                                              validation_fraction=validation_fraction))
  notes = tuple(one.note for one in lists.values() if one.note)
  return dataset.Dataset(name, split_name, classes.names, 3, examples, made_split=bool(part),
                         open_ended_labels=classes.open_ended, notes=notes + classes.notes,
                         numbered_by_name=classes.numbered_by_name)


def read_list(path: Path) -> ImageList:
  """Reads a list of images; see `get_split` for the format."""
  table = list_table.open_table(path)
  columns = list_columns.choose(table)
  if columns.label is None:
    labels = list_columns.one_of(table, columns)
  else:
    labels = list(table.values(columns.label))
  rows = []
  for line, label in zip(table.lines, labels, strict=True):
    if len(line.cells) < 2 or len(line.cells) <= columns.image or not line.cells[columns.image]:
      raise ValueError(f'Expected the path and the label of an image in {path}, line {line.number}.'
                       f' Received: {list_table.shown(line)}.')
    rows.append(Row(line.cells[columns.image], label, line.number,
                    _split(table, columns.split, line)))
  return ImageList(path, rows, table.title(columns.image), tuple(map(table.name, columns.classes)),
                   _note(table, columns, rows))


def _find_lists(root: Path) -> dict[str, Path]:
  """Finds the list of each split."""
  if root.is_file():
    split = split_names.split_of(root.stem)
    return {split if split in _SPLITS else 'train': root}
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a list of images (.csv, .tsv, .txt) or a '
                            f'folder of such lists. Received: {root}, which does not exist.')
  lists = [path for path in sorted(root.iterdir())
           if path.suffix in _SUFFIXES and path.is_file()]
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
    raise FileNotFoundError(
        f'Expected a list named after its split in {root}, such as train.csv or val.txt. Received '
        'none. If the list has another name, set --dataset_dir to the list itself.')
  return found


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


def _note(table: list_table.Table, columns: list_columns.Columns, rows: list[Row]) -> str:
  """Says how a list was read; '' for the usual layout."""
  is_known = not table.header or list_names.is_path(table.name(columns.image))
  if is_known and columns == list_columns.Columns(0, 1, (), None, ()):
    return ''
  parts = [f'images in {table.title(columns.image)}']
  if columns.label is None:
    parts[0] += (f', one column per class ({len(columns.classes)} classes): '
                 f'{table.listed(columns.classes)}')
  else:
    parts[0] += f', labels in {table.title(columns.label)}'
  if columns.split is not None:
    counts = collections.Counter(row.split for row in rows)
    parts[0] += (f', splits in {table.title(columns.split)} ('
                 + ', '.join(f'{count} {split}' for split, count in counts.items()) + ')')
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
  listed = labels_file.read(names_file) if names_file.is_file() and names_file != path else ()
  for one in lists.values():
    _check_none_missing(one, listed)
  texts = {row.label for one in lists.values() for row in one.rows}
  texts.update(*(one.class_names for one in lists.values()))
  by_number = all(re.fullmatch(r'-?\d+', text) for text in texts)
  if listed:
    labels = {text: integer_labels.value(text) for text in texts} if by_number else _places(listed)
    return _Classes(listed, {text: label for text, label in labels.items()
                             if 0 <= label < len(listed)}, open_ended=False,
                    numbered_by_name=False)
  if by_number:
    return _integer_classes(lists.values(), texts)
  training = 'train' if 'train' in rows else chosen
  names = sorted({row.label for row in rows[training]}
                 | set(_list_of(lists, training).class_names))
  return _Classes(tuple(names), _places(names), open_ended=False)


def _integer_classes(lists: Iterable[ImageList], texts: Iterable[str]) -> _Classes:
  values = {text: integer_labels.value(text) for text in texts}
  wrong = {text for text, value in values.items() if not 0 <= value <= integer_labels.LARGEST}
  for row, path in ((row, one.path) for one in lists if wrong for row in one.rows):
    if row.label in wrong:
      raise ValueError(f'Expected labels from 0 to {integer_labels.LARGEST} in {path}, line '
                       f'{row.line}. Received: {row.label[:40]}. If it means that the image has no '
                       'label, remove the line.')
  found = integer_labels.of_values([np.array(list(values.values()), np.int64)])
  places = {int(name): place for place, name in enumerate(found.names)}
  return _Classes(found.names, {text: places[value] for text, value in values.items()},
                  open_ended=True, notes=found.notes)


def _places(names: Iterable[str]) -> dict[str, int]:
  return {name: place for place, name in enumerate(names)}


def _check_none_missing(one: ImageList, listed: tuple[str, ...]) -> None:
  """Raises a ValueError if labels are missing ('', 'nan', …), unless `listed` has such a class."""
  wrong = [row for row in one.rows if list_names.is_missing(row.label) and row.label not in listed]
  if wrong:
    label = wrong[0].label
    advice = (f' If {label!r} is a class, rename it, or list all classes in '
              f'{labels_file.FILENAME} next to the list.' if label else '')
    raise ValueError(
        f'Expected a label for every image in {one.path}, line {wrong[0].line}. Received: '
        f'{label or "nothing"}. The label is missing in {len(wrong)} of {len(one.rows)} lines. '
        f'Remove these lines or add the labels.{advice}')


def _label(row: Row, path: Path, classes: _Classes) -> int:
  label = classes.labels.get(row.label)
  if label is not None:
    return label
  where = f'in {path}, line {row.line}'
  if row.label.lstrip('-').isdecimal():
    raise ValueError(f'Expected a label in [0, {len(classes.names)}) {where}. '
                     f'Received: {row.label[:40]}.')
  known = ', '.join(classes.names[:20]) + (', …' if len(classes.names) > 20 else '')
  raise ValueError(f'Expected a known class {where}. Received: {row.label!r}. Known: {known}.')
