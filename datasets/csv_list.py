"""Lists of images with their labels: CSV and TSV files, or text files of `path label` lines."""

from __future__ import annotations

import csv
import os
import shlex
from pathlib import Path
from typing import NamedTuple

from datasets import cache, dataset, indexed, labels_file, splits

_SUFFIXES = ('.csv', '.tsv', '.txt')
_DELIMITERS = '\t;,'
# What the columns are called in the header of many lists.
_HEADER_WORDS = {'path', 'file', 'filename', 'file_name', 'filepath', 'image', 'img', 'image_path',
                 'image_id', 'name', 'url'}


class Row(NamedTuple):
  """An image's path as the list has it, its label, and the line that says so."""
  path: str
  label: str
  line: int


def get_split(name: str, split_name: str, dataset_dir, *, file_pattern=None,
              validation_fraction: float = 0.1) -> dataset.Dataset:
  """Makes a split of lists of images.

  The first column is an image's path, absolute or relative to the list; the second its label.
  Columns are separated by comma, semicolon or tab, or else by blanks, where the last word is the
  label; paths may be in double quotes. A header is recognised. Labels are names; or, if all are
  integers, the labels themselves.

  Args:
    name: the dataset's name.
    split_name: 'train', 'validation', 'test' if there is one; 'all' if there is only one.
    dataset_dir: a list, or a folder of them called after their splits (`train.csv`, `val.txt` …),
      with a `labels.txt` if classes are to have another order than their names', or names
      at all.
    file_pattern: unused.
    validation_fraction: see `splits.choose`.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError, FileNotFoundError: if a list, a column, an image or a label's name is missing, or
      a label is out of range; with the list's name and line.
  """
  del file_pattern
  lists = _find_lists(Path(dataset_dir))
  chosen, part = splits.choose(split_name, tuple(lists), validation_fraction, str(dataset_dir))
  rows = {split: read_list(path) for split, path in lists.items()}
  class_names, by_number, open_ended = _classes(lists, rows, chosen)
  path = lists[chosen]
  labels_of = {name: label for label, name in enumerate(class_names)}
  labels = [_label(row, path, labels_of, by_number) for row in rows[chosen]]
  paths = _existing(rows[chosen], path)
  names = [row.path.replace(os.sep, '/') for row in rows[chosen]]
  _check_unique(names, rows[chosen], path)
  examples = indexed.IndexedExamples(names, labels, paths=paths)
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part, validation_fraction))
  return dataset.Dataset(name, split_name, class_names, 3, examples, made_split=bool(part),
                         open_ended_labels=open_ended)


def read_list(path: Path) -> list[Row]:
  """Reads a list of images; see `get_split` for its form."""
  with open(path, encoding='utf-8-sig', errors='surrogateescape', newline='') as file:
    text = file.read()
  delimiter = _delimiter(text)
  if delimiter:
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=True)
    lines = []
    for cells in reader:
      lines.append((reader.line_num, cells))
  else:
    lines = [(number, _blank_separated(line))
             for number, line in enumerate(text.splitlines(), start=1)]
  lines = [(number, [cell.strip() for cell in cells]) for number, cells in lines if any(cells)]
  if lines and _is_header(lines, path.parent):
    lines = lines[1:]
  if not lines:
    raise ValueError(f'Expected a list of images and labels. Received {path}, which is empty.')
  for number, cells in lines:
    if len(cells) < 2 or not cells[0] or not cells[1]:
      raise ValueError(f"Expected an image's path and its label, in {path}, line {number}. "
                       f'Received: {" | ".join(cells)[:200]}.')
  return [Row(cells[0], cells[1], number) for number, cells in lines]


def _find_lists(root: Path) -> dict[str, Path]:
  """The list of each split."""
  if root.is_file():
    known = [split for split in splits.KNOWN if root.stem.lower() == split]
    return {known[0] if known else 'train': root}
  if not root.is_dir():
    raise FileNotFoundError('Expected --dataset_dir to be a list of images (.csv, .tsv, .txt) or a '
                            f'folder of such lists. Received: {root}.')
  found = {}
  for split in splits.KNOWN:
    paths = [root / (split + suffix) for suffix in _SUFFIXES if (root / (split + suffix)).is_file()]
    if len(paths) > 1:
      raise ValueError(f'Expected one list for split {split!r}. Received: '
                       f'{", ".join(str(path) for path in paths)}: remove one.')
    if paths:
      found[split] = paths[0]
  if not found:
    raise FileNotFoundError(
        f'Expected a list called after its split in {root}, such as train.csv or val.txt. '
        'Received none; a list of another name can be given as --dataset_dir itself.')
  return found


def _delimiter(text: str) -> str | None:
  """The character that separates columns, from the first line; None for blanks."""
  first = next((line for line in text.splitlines() if line.strip()), '')
  outside = ''.join(first.split('"')[::2])
  counts = {delimiter: outside.count(delimiter) for delimiter in _DELIMITERS}
  best = max(counts, key=counts.get)
  return best if counts[best] else None


def _blank_separated(line: str) -> list[str]:
  """[path, label] of a line: the label is the last word, and quotes around either are dropped."""
  line = line.strip()
  if '"' in line:
    words = shlex.shlex(line, posix=True)
    words.whitespace_split, words.commenters, words.quotes, words.escape = True, '', '"', ''
    try:
      cells = list(words)
    except ValueError:  # a quote that is not closed
      return [line]
    return [' '.join(cells[:-1]), cells[-1]] if len(cells) > 1 else cells
  return line.rsplit(None, 1)


def _is_header(lines: list[tuple[int, list[str]]], folder: Path) -> bool:
  """Whether the first line names the columns."""
  first = lines[0][1]
  if (folder / first[0]).is_file():
    return False
  if first[0].lower() in _HEADER_WORDS:
    return True
  return len(lines) > 1 and (folder / lines[1][1][0]).is_file() and not Path(first[0]).suffix


def _classes(lists: dict[str, Path], rows: dict[str, list[Row]], chosen: str
             ) -> tuple[tuple[str, ...], bool, bool]:
  """(the class names, whether labels are numbers, whether there may be more classes)."""
  every = [row for split in rows.values() for row in split]
  by_number = all(row.label.lstrip('-').isdecimal() for row in every)
  names_file = lists[chosen].parent / labels_file.FILENAME
  if names_file.is_file() and names_file != lists[chosen]:
    return labels_file.read(names_file), by_number, False
  if by_number:
    largest = max(int(row.label) for row in every)
    return tuple(str(label) for label in range(largest + 1)), True, True
  training = rows.get('train', rows[chosen])
  return tuple(sorted({row.label for row in training})), False, False


def _label(row: Row, path: Path, labels_of: dict[str, int], by_number: bool) -> int:
  where = f'in {path}, line {row.line}'
  if by_number:
    if not 0 <= int(row.label) < len(labels_of):
      raise ValueError(f'Expected a label in [0, {len(labels_of)}), {where}. '
                       f'Received: {row.label}.')
    return int(row.label)
  if row.label not in labels_of:
    known = ', '.join(list(labels_of)[:20]) + (', …' if len(labels_of) > 20 else '')
    raise ValueError(f'Expected a known class, {where}. Received: {row.label!r}. Known: {known}.')
  return labels_of[row.label]


def _existing(rows: list[Row], path: Path) -> list[str]:
  """The paths of the images, at each of which there must be a file.

  Folders are listed, for over a network it takes minutes to ask for each of a million files.
  """
  known, images = {}, []
  for row in rows:
    image = path.parent / row.path
    if image.parent not in known:
      known[image.parent] = _files_in(image.parent)
    # What a listing lacks may be a link, or be called otherwise where capitals do not matter.
    if image.name not in known[image.parent] and not image.is_file():
      raise FileNotFoundError(f'Expected an image, in {path}, line {row.line}. Received a path '
                              f'at which there is no file: {cache.printable(image)}.')
    images.append(str(image))
  return images


def _files_in(folder: Path) -> set[str]:
  """The names of a folder's files, links left out; none of a folder that cannot be listed."""
  try:
    with os.scandir(folder) as entries:
      return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
  except OSError:
    return set()


def _check_unique(names: list[str], rows: list[Row], path: Path) -> None:
  seen = {}
  for name, row in zip(names, rows, strict=True):
    if name in seen:
      raise ValueError(f'Expected each image once, in {path}. Received {name} in lines '
                       f'{seen[name]} and {row.line}: remove one.')
    seen[name] = row.line
