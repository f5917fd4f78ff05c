"""Which columns of a list of images hold their paths, their labels and their splits."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

from datasets import list_names
from datasets.list_table import LOOKED_AT, Table, is_file, shown

# More different values than these are no splits.
_MOST_SPELLINGS = 20
_ONE = {'1': True, '1.0': True, 'true': True, '0': False, '0.0': False, 'false': False}


class Columns(NamedTuple):
  """The columns of a list, by their places.

  Attributes:
    image: of the paths.
    label: of the labels; None where each class has a column.
    classes: the columns of the classes, in which one has a 1; none where there is one of labels.
    split: of the splits; None if there is none.
    ignored: the others.
  """
  image: int
  label: int | None
  classes: tuple[int, ...]
  split: int | None
  ignored: tuple[int, ...]


def choose(table: Table) -> Columns:
  """Says which column is what.

  Names in the header decide; where they do not, a column that holds paths of files has the images,
  and a single other one the labels. Without a header, the labels are right of the paths if these
  are first.

  Raises:
    ValueError: if that does not say which column has the labels.
  """
  if table.width < 2:
    raise ValueError(f"Expected an image's path and its label, in {table.path}, line "
                     f'{table.lines[0].number}. Received: {shown(table.lines[0])}.')
  image = _image_column(table)
  others = [column for column in range(table.width) if column != image]
  find = _named_roles if table.header else _placed_roles
  label, classes, split = find(table, image, others)
  used = {label, split, *classes}
  ignored = tuple(column for column in others if column not in used and any(table.values(column)))
  return Columns(image, label, classes, split, ignored)


def _image_column(table: Table) -> int:
  columns = range(table.width)
  if table.header:
    named = [column for column in columns if list_names.is_path(table.name(column))]
    # Names go before places; but an id or a name may be beside what is the file.
    for column in [*named, *(other for other in columns if other not in named)]:
      if _holds_files(table, column):
        return column
    return named[0] if named else 0
  if _holds_files(table, 0):
    return 0
  found = [column for column in columns if _holds_files(table, column)]
  if len(found) > 1:
    raise _undecided(table, found, "the images' paths")
  return found[0] if found else 0


def _holds_files(table: Table, column: int) -> bool:
  cells = (line.cells[column:column + 1] for line in table.lines[:LOOKED_AT])
  return any(cell and is_file(table.path.parent / cell[0]) for cell in cells)


def _named_roles(table: Table, image: int, others: Sequence[int]
                 ) -> tuple[int | None, tuple[int, ...], int | None]:
  """(the column of labels, those of classes, that of splits) below a header."""
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
    return _same_label(table, image, sure or likely, [*sure, *likely]), (), split
  if len(left) == 1:
    return left[0], (), split
  if _are_classes(table, left):
    return None, tuple(left), split
  raise _undecided(table, left or others, 'the labels')


def _placed_roles(table: Table, image: int, others: Sequence[int]
                  ) -> tuple[int | None, tuple[int, ...], int | None]:
  """(the column of labels, none of classes, that of splits) without a header."""
  split = _split_column(table, others, others[:1] if image == 0 else ())
  if image == 0:
    left = [column for column in others if column != split]
    if len(left) > 2 and _are_classes(table, left) and all(
        sum(_ONE[line.cells[column].lower()] for column in left) == 1 for line in table.lines):
      raise ValueError(f"Expected the classes' names in the first line of {table.path}, which has "
                       'a column for each class. Received no header: add one, such as '
                       'path,daisy,tulips.')
    return others[0], (), split
  left = [column for column in others if column != split]
  if len(left) > 1:
    left = [column for column in left if not _is_index(table, column)]
  if len(left) != 1:
    raise _undecided(table, left or others, 'the labels')
  return left[0], (), split


def _split_column(table: Table, others: Sequence[int], labels: Sequence[int]) -> int | None:
  """The column that says which split an image is of: by its name, or else by its values."""
  if len(others) == 1:
    if list_names.is_split(table.name(others[0])) and _are_splits(table, others[0]):
      raise _no_labels(table, others[0])
    return None
  named = [column for column in others if list_names.is_split(table.name(column))]
  found = named or [column for column in others
                    if column not in labels and _are_splits(table, column)]
  if len(found) > 1:
    raise _undecided(table, found, 'the splits')
  return found[0] if found else None


def _are_splits(table: Table, column: int) -> bool:
  """Whether a column holds splits: nothing else; or several, and little else."""
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
          f"Expected splits in a column 'split' with the values train, validation and test, in "
          f'{table.path}. Received {table.title(column)}: write it so, or remove it if it does not '
          'say which images to train on.')


def _same_label(table: Table, image: int, chosen: Sequence[int], possible: Sequence[int]) -> int:
  """One of the chosen columns, if all say the same, in other words perhaps.

  Of all the possible ones that do, that right of the paths is taken, if these are first: there
  labels were looked for before names were.
  """
  different = [column for column in chosen if not _agree(table, chosen[0], column)]
  if different:
    raise _undecided(table, chosen, 'the labels')
  if image == 0 and 1 in possible and _agree(table, chosen[0], 1):
    return 1
  return chosen[0]


def _agree(table: Table, one: int, other: int) -> bool:
  """Whether two columns divide the images alike."""
  if one == other:
    return True
  pairs = set(zip(table.values(one), table.values(other), strict=True))
  return len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs})


def _are_classes(table: Table, columns: Sequence[int]) -> bool:
  """Whether columns hold nothing but 0 and 1."""
  return len(columns) > 1 and all(
      value.lower() in _ONE for column in columns for value in table.values(column))


def _is_index(table: Table, column: int) -> bool:
  """Whether a column counts the lines: integers, each once."""
  values = list(table.values(column))
  return all(map(str.isdecimal, values)) and len(set(values)) == len(values)


def one_of(table: Table, columns: Columns) -> list[str]:
  """The class of each line of a list that has a column for each class.

  Raises:
    ValueError: if a line has several classes or none.
  """
  names = [table.name(column) for column in columns.classes]
  if len(set(names)) < len(names) or not all(names):
    raise ValueError(f'Expected a name of its own for each class in the header of {table.path}. '
                     f'Received: {", ".join(names)[:200]}.')
  found = [[name for name, column in zip(names, columns.classes, strict=True)
            if _ONE[line.cells[column].lower()]] for line in table.lines]
  for is_wrong, received, advice in (
      (lambda count: count > 1, 'several', 'Several labels an image are not supported'),
      (lambda count: not count, 'no', 'An image without a class needs one of its own')):
    wrong = [number for number, classes in enumerate(found) if is_wrong(len(classes))]
    if wrong:
      raise ValueError(
          f'Expected a single 1 in the columns {table.listed(columns.classes)} of {table.path}. '
          f'Received {received} in {len(wrong)} of {len(found)} lines, the first of which is line '
          f'{table.lines[wrong[0]].number}. {advice}: remove such lines. If these columns are no '
          "classes, keep only the images' paths and their labels.")
  return [classes[0] for classes in found]


def _undecided(table: Table, columns: Sequence[int], role: str) -> ValueError:
  advice = ("Rename the right one to 'label'" if role == 'the labels' else 'Name the right one')
  if not table.header:
    advice = 'Add a first line with the names of the columns, such as path,label,other'
  return ValueError(f'Expected one column with {role} in {table.path}. Received several that may '
                    f'be it: {table.listed(columns)}. {advice}, or keep only the columns that are '
                    'needed.')


def _no_labels(table: Table, column: int) -> ValueError:
  return ValueError(f'Expected a column of labels in {table.path}. Received only '
                    f"{table.title(column)} beside the images' paths: add one, called 'label'.")
