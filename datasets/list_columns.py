"""Finding the columns of a list of images that contain paths, labels and splits."""

from __future__ import annotations

import ast
import collections
import re
from collections.abc import Sequence
from typing import NamedTuple

from datasets import list_names
from datasets.list_table import LOOKED_AT, Table, is_file, shown

# A column with more distinct values than this does not contain splits.
_MOST_SPELLINGS = 20
# What separates several labels in one cell.
_SEPARATORS = '|;,'
_LIST = re.compile(r'\[.*\]')
_ONE = {'1': True, '1.0': True, 'true': True, '0': False, '0.0': False, 'false': False}


class NoLabelsError(ValueError):
  """The list has no column of labels."""


class Columns(NamedTuple):
  """The columns of a list, by position.

  Attributes:
    image: the column of paths.
    label: the column of labels; None if each class has a column.
    classes: one column per class, with a 1 in the image's class; () if there is a column of labels.
    split: the column of splits, or None.
    ignored: the other columns.
  """
  image: int
  label: int | None
  classes: tuple[int, ...]
  split: int | None
  ignored: tuple[int, ...]


def choose(table: Table, *, is_multi: bool = False) -> Columns:
  """Decides what each column contains.

  The names in the header decide. If they do not, the column that contains paths of files has the
  images, and if there is a single other one, it has the labels. Without a header, if the paths come
  first, the labels come second.

  Args:
    table: the list.
    is_multi: whether images may have several labels.

  Raises:
    NoLabelsError: if there is no column of labels.
    ValueError: if the column of labels is ambiguous.
  """
  if table.width < 2:
    raise NoLabelsError(f'Expected the path and the label of an image in {table.path}, line '
                        f'{table.lines[0].number}. Received: {shown(table.lines[0])}.')
  image = _image_column(table)
  others = [column for column in range(table.width) if column != image]
  if table.header:
    label, classes, split = _named_roles(table, image, others)
  else:
    label, classes, split = _positional_roles(table, image, others, is_multi=is_multi)
  used = {label, split, *classes}
  ignored = tuple(column for column in others if column not in used and any(table.values(column)))
  return Columns(image, label, classes, split, ignored)


def _image_column(table: Table) -> int:
  columns = range(table.width)
  if table.header:
    named = [column for column in columns if list_names.is_path(table.name(column))]
    # Named columns first; but an id or a name may be next to the actual path.
    for column in [*named, *(other for other in columns if other not in named)]:
      if _holds_files(table, column):
        return column
    return named[0] if named else 0
  if _holds_files(table, 0):
    return 0
  found = [column for column in columns if _holds_files(table, column)]
  if len(found) > 1:
    raise _ambiguous(table, found, 'paths')
  return found[0] if found else 0


def _holds_files(table: Table, column: int) -> bool:
  cells = (line.cells[column:column + 1] for line in table.lines[:LOOKED_AT])
  return any(cell and is_file(table.folder / cell[0]) for cell in cells)


def _named_roles(table: Table, image: int, others: Sequence[int]
                 ) -> tuple[int | None, tuple[int, ...], int | None]:
  """(column of labels, columns of classes, column of splits) of a list with a header."""
  split = _split_column(table, others, [column for column in others
                                        if list_names.is_label(table.name(column))])
  others = [column for column in others if column != split]
  if len(others) == 1:
    if (image or split) and list_names.is_aside(table.name(others[0])) and (
        _is_index(table, others[0])):
      raise _no_labels(table, others[0])
    return others[0], (), split
  names = {column: table.name(column) for column in others}
  _check_no_flag(table, others)
  sure = [column for column in others if list_names.is_label(names[column])]
  likely = [column for column in others if list_names.may_be_label(names[column])]
  left = [column for column in others
          if not list_names.is_aside(names[column]) and not list_names.is_path(names[column])]
  unnamed = [column for column in left if column not in likely]
  if sure or (likely and not _are_classes(table, unnamed)):
    return _same_label(table, image, chosen=sure or likely,
                       possible=[*sure, *likely]), (), split
  if len(left) == 1:
    return left[0], (), split
  if _are_classes(table, left):
    return None, tuple(left), split
  raise _ambiguous(table, left or others, 'labels')


def _positional_roles(table: Table, image: int, others: Sequence[int], *, is_multi: bool
                      ) -> tuple[int | None, tuple[int, ...], int | None]:
  """(column of labels, (), column of splits) of a list without a header."""
  split = _split_column(table, others, others[:1] if image == 0 else ())
  if image == 0:
    left = [column for column in others if column != split]
    if len(left) > (1 if is_multi else 2) and _are_classes(table, left) and (is_multi or all(
        sum(_ONE[line.cells[column].lower()] for column in left) == 1 for line in table.lines)):
      raise ValueError(f"Expected the classes' names in the first line of {table.path}, which has "
                       'one column per class. Received no header. Add one, such as '
                       'path,daisy,tulips.')
    return others[0], (), split
  left = [column for column in others if column != split]
  if len(left) > 1:
    left = [column for column in left if not _is_index(table, column)]
  if len(left) != 1:
    raise _ambiguous(table, left or others, 'labels')
  return left[0], (), split


def _split_column(table: Table, others: Sequence[int], labels: Sequence[int]) -> int | None:
  """The column of splits, recognized by its name, or else by its values."""
  if len(others) == 1:
    if list_names.is_split(table.name(others[0])) and _are_splits(table, others[0]):
      raise _no_labels(table, others[0])
    return None
  named = [column for column in others if list_names.is_split(table.name(column))]
  found = named or [column for column in others
                    if column not in labels and _are_splits(table, column)]
  if len(found) > 1:
    raise _ambiguous(table, found, 'splits')
  return found[0] if found else None


def _are_splits(table: Table, column: int) -> bool:
  """Whether a column contains splits: only splits; or mostly, and more than one."""
  counts = collections.Counter(table.values(column))
  if len(counts) > _MOST_SPELLINGS:
    return False
  found = {value: split for value in counts if (split := list_names.split_of(value))}
  total = sum(counts[value] for value in found)
  return total == len(table.lines) or (2 * total >= len(table.lines)
                                       and len(set(found.values())) > 1)


def _check_no_flag(table: Table, columns: Sequence[int]) -> None:
  for column in columns:
    if list_names.is_split_flag(table.name(column)):
      raise ValueError(
          f"Expected splits in a column 'split' with the values train, validation and test in "
          f'{table.path}. Received {table.title(column)}. Write the splits like this, or remove '
          'the column if it does not contain splits.')


def _same_label(table: Table, image: int, *, chosen: Sequence[int],
                possible: Sequence[int]) -> int:
  """One of the chosen columns, if all divide the images into the same classes.

  If the paths come first and the column after them is a possible column of labels that agrees, it
  is used, because earlier versions always did so.
  """
  different = [column for column in chosen if not _agree(table, chosen[0], column)]
  if different:
    raise _ambiguous(table, chosen, 'labels')
  if image == 0 and 1 in possible and _agree(table, chosen[0], 1):
    return 1
  return chosen[0]


def _agree(table: Table, one: int, other: int) -> bool:
  """Whether two columns divide the images into the same groups."""
  if one == other:
    return True
  pairs = set(zip(table.values(one), table.values(other), strict=True))
  return len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def _are_classes(table: Table, columns: Sequence[int]) -> bool:
  """Whether columns contain only 0 and 1."""
  return len(columns) > 1 and all(
      value.lower() in _ONE for column in columns for value in table.values(column))


def _is_index(table: Table, column: int) -> bool:
  """Whether a column is an index: integers, each once."""
  values = list(table.values(column))
  return all(map(str.isdecimal, values)) and len(set(values)) == len(values)


def one_of(table: Table, columns: Columns) -> list[str]:
  """The class of each line of a list with one column per class.

  Raises:
    ValueError: if a line has more than one class, or none.
  """
  names = _names_of_classes(table, columns)
  found = [[name for name, column in zip(names, columns.classes, strict=True)
            if _ONE[line.cells[column].lower()]] for line in table.lines]
  for is_wrong, received, advice in (
      (lambda count: count > 1, 'more than one', 'For images with several labels'),
      (lambda count: not count, 'none', 'For images without a label')):
    wrong = [number for number, classes in enumerate(found) if is_wrong(len(classes))]
    if wrong:
      raise ValueError(
          f'Expected one 1 per line in the columns {table.listed(columns.classes)} of '
          f'{table.path}. Received {received} in {len(wrong)} of {len(found)} lines, first in line '
          f'{table.lines[wrong[0]].number}. {advice}: --multi_label; or remove these lines. If '
          'these columns are not classes, keep only the columns of paths and labels.')
  return [classes[0] for classes in found]


def only_label(table: Table, column: int) -> list[str]:
  """The label of each line.

  Raises:
    ValueError: if some lines have several labels, separated by `|`, `;` or `,`, each of which is
      the only label of other lines.
  """
  labels = list(table.values(column))
  known = set(labels)
  for separator in _SEPARATORS:
    wrong = [place for place, label in enumerate(labels) if separator in label
             and all(part.strip() in known for part in label.split(separator) if part.strip())]
    if wrong:
      first = wrong[0]
      raise ValueError(
          f'Expected one label per image in {table.title(column)} of {table.path}. Received more '
          f'in {len(wrong)} of {len(labels)} lines, first in line {table.lines[first].number}: '
          f'{labels[first][:80]}. For images with several labels: --multi_label; or remove these '
          'lines.')
  return labels


def all_of(table: Table, columns: Columns) -> list[tuple[str, ...]]:
  """The labels of each line: of one column per class, or of one cell.

  Labels in a cell are separated by `|`, `;` or commas, whichever of them comes first in this order
  in any cell; or they are a list as Python writes it, such as `['daisy', 'tulips']`.
  """
  if columns.label is None:
    names = _names_of_classes(table, columns)
    return [tuple(name for name, column in zip(names, columns.classes, strict=True)
                  if _ONE[line.cells[column].lower()]) for line in table.lines]
  cells, separator = table.values(columns.label), separator_of(table, columns.label)
  if separator is None:
    return [tuple(_items(cell, table, line.number)) for cell, line in zip(
        cells, table.lines, strict=True)]
  return [tuple(part.strip() for part in cell.split(separator) if part.strip()) for cell in cells]


def separator_of(table: Table, column: int) -> str | None:
  """What separates the labels in the cells of a column; None if they are lists."""
  cells = list(table.values(column))
  if all(_LIST.fullmatch(cell) for cell in cells if cell):
    return None
  return next((mark for mark in _SEPARATORS if any(mark in cell for cell in cells)),
              _SEPARATORS[0])


def _items(cell: str, table: Table, number: int) -> list[str]:
  """The labels in a list as Python writes it.

  Raises:
    ValueError: if it is not one of texts or numbers.
  """
  try:
    found = ast.literal_eval(cell or '[]')
    if not all(isinstance(item, str | int) for item in found):
      raise ValueError
  except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
    raise ValueError(f"Expected labels such as daisy|tulips or ['daisy', 'tulips'] in "
                     f'{table.path}, line {number}. Received: {cell[:80]}.') from error
  return [str(item) for item in found]


def _names_of_classes(table: Table, columns: Columns) -> list[str]:
  """The names of the columns of classes."""
  names = [table.name(column) for column in columns.classes]
  if len(set(names)) < len(names) or not all(names):
    raise ValueError(f'Expected a different name for each class in the header of {table.path}. '
                     f'Received: {", ".join(names)[:200]}.')
  return names


def _ambiguous(table: Table, columns: Sequence[int], role: str) -> ValueError:
  """The error for several columns that may contain the paths, labels or splits."""
  advice = "Rename the right one to 'label'" if role == 'labels' else 'Name the right one'
  if not table.header:
    advice = 'Add a first line with the names of the columns, such as path,label,other'
  return ValueError(f'Expected one column of {role} in {table.path}. Received several candidates: '
                    f'{table.listed(columns)}. {advice}, or keep only the columns that are needed.')


def _no_labels(table: Table, column: int) -> NoLabelsError:
  return NoLabelsError(f'Expected a column of labels in {table.path}. Received only paths and '
                       f"{table.title(column)}. Add a column named 'label'.")
