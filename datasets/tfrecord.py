"""TFRecord files in TF-Slim's format: its own datasets, and any others."""

from __future__ import annotations

import functools
import glob
import itertools
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets import (
  dataset,
  folder_layout,
  integer_labels,
  labels_file,
  record_files,
  record_keys,
  records,
  split_names,
  splits,
)
from datasets.readers import Readers
from files import cache, image_types
from files.reasons import listed as listed_names


class Source(NamedTuple):
  """How a dataset is stored.

  Attributes:
    file_pattern: pattern of a split's files, with '%s' for the split.
    channels: channels of the images.
    class_names: names to use if there is no `labels.txt`. With None, every integer up to the
      largest label is a class, unless labels are sparse; see `integer_labels.up_to_largest`.
  """
  file_pattern: str
  channels: int = 3
  class_names: tuple[str, ...] | None = None


SOURCES = {
    'cifar10': Source('cifar10_%s.tfrecord'),
    'flowers': Source('flowers_%s_*.tfrecord'),
    # The background class and 1,000 classes.
    'imagenet': Source('%s-*', class_names=tuple(str(label) for label in range(1001))),
    'mnist': Source('mnist_%s.tfrecord', channels=1),
    'visualwakewords': Source('%s.record-*'),
    'tfrecord': Source('*%s*.tfrecord*'),
}
_CONVERTED = ('cifar10', 'flowers', 'imagenet', 'mnist')
# Other usual names; those without '%s' are training files.
_OTHER_PATTERNS = ('*%s*.tfrec', '%s*/*.tfrec*', '*%s*.record*', '%s-?????-of-?????',
                   '*.tfrec*', '*.record*')
# Files in a folder that may be anything.
_MOST_LOOKED_AT = 1000
_NUMBER = re.compile(r'-?\d+')
_SHARD = re.compile(r'(.*[-_])(\d{5})-of-(\d{5})(.*)', re.DOTALL)


def get_split(name: str, split_name: str, dataset_dir,
              *, options: dataset.Options = dataset.Options()) -> dataset.Dataset:
  """Makes a split of a folder of TFRecord files.

  Args:
    name: a key of `SOURCES`.
    split_name: 'train', 'validation', 'test' if there are such files.
    dataset_dir: the folder, which may contain a `labels.txt`.
    options: see `dataset.Options`.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError, FileNotFoundError: if files are missing or damaged, or a label is out of range.
  """
  source = SOURCES[name]
  root = Path(dataset_dir)
  pattern = options.file_pattern or source.file_pattern
  if not root.exists():
    raise FileNotFoundError('Expected --dataset_dir to be a folder of TFRecord files. '
                            f'Received: {root}, which does not exist.')
  others = _OTHER_PATTERNS if pattern == SOURCES['tfrecord'].file_pattern else ()
  native = {'train': [str(root)]} if root.is_file() else next(
      filter(None, (_native_splits(root, one) for one in (pattern, *others))), {})
  if not native:
    raise FileNotFoundError(
        f'Expected TFRecord files named {pattern} in {root}, with %s for the split '
        f'({", ".join(splits.KNOWN)}). Received none. Check --dataset_dir and --file_pattern'
        + (', or run download_and_convert_data.py.' if name in _CONVERTED else '.')
        + _if_images(root))
  chosen, part = splits.choose(
      split_name, tuple(native), source=f'the TFRecord files in {root}',
      validation_fraction=options.validation_fraction)

  if not options.file_pattern and not root.is_file():
    _check_complete(native[chosen])
  keys = record_keys.find(native[chosen][0], options.record_keys, is_multi=options.multi_label)
  parse_label = functools.partial(
      keys.parse_label, missing='' if keys.is_text else record_files.NO_LABEL)

  def scan(split: str) -> list[record_files.RecordFile]:
    return record_files.scan(native[split], parse_label, kind=keys.label, readers=options.readers)

  listed, first_label = _class_names(root if root.is_dir() else root.parent, source)
  label_sets = None
  if options.multi_label:
    files, class_names, notes, label_sets = _with_label_sets(
        {split: record_files.scan_texts(paths, keys.parse_labels,
                                        kind=f'{keys.label}{record_files.SEVERAL}',
                                        readers=options.readers)
         for split, paths in native.items()}, chosen, class_names=listed, first_label=first_label)
  elif keys.is_text:
    files, class_names, notes = _with_text_classes(
        {split: record_files.scan_texts(paths, parse_label, kind=keys.label,
                                        readers=options.readers)
         for split, paths in native.items()}, chosen, class_names=listed, first_label=first_label)
  else:
    files, class_names, notes = with_classes(scan, chosen, tuple(native), class_names=listed,
                                             first_label=first_label)
  is_by_name = keys.is_text and not listed and not all(map(_NUMBER.fullmatch, class_names))
  examples = records.RecordExamples(files, keys.parse_image)
  if part:
    examples = examples.select(splits.part_of(
        examples, class_names, part, validation_fraction=options.validation_fraction,
        label_sets=label_sets))
  return dataset.Dataset(name, split_name, class_names, source.channels, examples,
                         made_split=bool(part),
                         open_ended_labels=listed is None and not is_by_name,
                         notes=(*filter(None, [keys.note]),
                                *_compression_notes(files, options.readers), *notes),
                         numbered_by_name=(listed is None and bool(notes)) or is_by_name,
                         label_sets=label_sets)


def _check_complete(paths: Sequence[str]) -> None:
  """Raises ValueError if files of a numbered set, such as `-00003-of-01024`, are missing."""
  sets: dict[tuple[str, str, str], set[int]] = {}
  for path in paths:
    if match := _SHARD.fullmatch(path):
      start, number, count, end = match.groups()
      sets.setdefault((start, count, end), set()).add(int(number))
  for (start, count, end), numbers in sets.items():
    first = int(0 not in numbers and int(count) in numbers)  # Some sets are numbered from 1.
    missing = [f'{start}{number:05d}-of-{count}{end}'
               for number in range(first, first + int(count)) if number not in numbers]
    if missing:
      raise ValueError(
          f'Expected {int(count)} files {start}*-of-{count}{end}. Received: {len(numbers)}; '
          f'missing: {listed_names(map(os.path.basename, missing))}. Copy them, or finish their '
          'conversion. To use a part of the data: --file_pattern.')


def with_classes(scan: Callable[[str], list[record_files.RecordFile]], chosen: str,
                 native: Sequence[str], *, class_names: tuple[str, ...] | None,
                 first_label: int = 0
                 ) -> tuple[list[record_files.RecordFile], tuple[str, ...], tuple[str, ...]]:
  """Scans a split's files, and makes classes from their labels if they are not listed.

  Args:
    scan: function from a split to its scanned files.
    chosen: the split.
    native: all splits; the others are scanned if labels are sparse, see
      `integer_labels.up_to_largest`.
    class_names: one per label; None if they are unknown.
    first_label: the label of the first of these.

  Returns:
    (the files, with classes as labels; the class names; notes for the user).

  Raises:
    ValueError: if a label is out of range; the message names the record.
  """
  files = scan(chosen)
  if class_names:
    _check_listed(files, len(class_names), first_label)
    return ([file._replace(labels=file.labels - first_label) for file in files], class_names,
            labels_file.first_note(first_label))

  def every_split() -> list[np.ndarray]:
    return [file.labels for split in native for file in _checked(scan(split))]

  classes = integer_labels.up_to_largest([file.labels for file in _checked(files)], every_split)
  return ([file._replace(labels=classes.of(file.labels)) for file in files], classes.names,
          classes.notes)


def _with_text_classes(
    scanned: Mapping[str, Sequence[tuple[record_files.RecordFile, list[str]]]], chosen: str, *,
    class_names: tuple[str, ...] | None, first_label: int
) -> tuple[list[record_files.RecordFile], tuple[str, ...], tuple[str, ...]]:
  """Does the same as `with_classes` for labels that are texts.

  Texts that are all integers are the numbers of classes.

  Args:
    scanned: the files of each split and the texts of their records.
    chosen, class_names, first_label: see `with_classes`.
  """
  texts = {text for files in scanned.values() for _, of_file in files for text in of_file}
  if all(map(_NUMBER.fullmatch, texts)):
    value = integer_labels.value
    return with_classes(
        lambda split: [file._replace(labels=np.array(list(map(value, of_file)), np.int64))
                       for file, of_file in scanned[split]],
        chosen, tuple(scanned), class_names=class_names, first_label=first_label)
  training = scanned.get('train', scanned[chosen])
  names = class_names or tuple(sorted({text for _, of_file in training for text in of_file}))
  places = {name: place for place, name in enumerate(names)}
  files = []
  for file, of_file in scanned[chosen]:
    unknown = next((number for number, text in enumerate(of_file) if text not in places), None)
    if unknown is not None:
      raise ValueError(
          f'Expected one of the {len(names)} classes in every record. Received '
          f'{cache.printable(of_file[unknown])!r} in record {unknown} of '
          f'{cache.printable(file.path)}. Known: {listed_names(names)}.')
    files.append(file._replace(labels=np.array([places[text] for text in of_file], np.int64)))
  return files, names, ()


def _with_label_sets(
    scanned: Mapping[str, Sequence[tuple[record_files.RecordFile, list[str]]]], chosen: str, *,
    class_names: tuple[str, ...] | None, first_label: int
) -> tuple[list[record_files.RecordFile], tuple[str, ...], tuple[str, ...],
           tuple[tuple[int, ...], ...]]:
  """Does the same as `_with_text_classes` for records with several labels, or none.

  Args:
    scanned: the files of each split and the labels of their records, see `record_keys.labels_in`.
    chosen, class_names, first_label: see `with_classes`.

  Returns:
    (the files, with numbers of sets as labels; the class names; notes; the classes of each set).
  """
  found = {split: [[record_keys.labels_in(text) for text in of_file] for _, of_file in files]
           for split, files in scanned.items()}
  if not any(map(any, found[chosen])):
    raise ValueError(f'--multi_label: expected records with labels in the split {chosen!r}. '
                     'Received: none. Check --record_keys.')
  width = _multi_hot_width(found)
  notes: tuple[str, ...] = ()
  if width:
    found = {split: [[tuple(str(place) for place, value in enumerate(labels) if value == '1')
                      for labels in of_file] for of_file in of_files]
             for split, of_files in found.items()}
    first_label, class_names = 0, class_names or tuple(map(str, range(width)))
    notes = (f'Each record has {width} numbers, 1 for each of its classes.',)
    if len(class_names) != width:
      raise ValueError(f'Expected {len(class_names)} numbers in each record, one for each line of '
                       f'{labels_file.FILENAME}. Received: {width}.')
  # Each label as a record of its own; the message of a wrong one names its own record.
  flat = {split: [(file, [label for labels in of_file for label in labels])
                  for (file, _), of_file in zip(scanned[split], of_files, strict=True)]
          for split, of_files in found.items()}
  texts = {split: {label for _, labels in files for label in labels}
           for split, files in flat.items()}
  known: set[str] | None = set(class_names or texts.get('train', texts[chosen]))
  if all(_NUMBER.fullmatch(text) for of_split in texts.values() for text in of_split):
    known = {str(first_label + place) for place in range(len(class_names))} if class_names else None
  for (file, _), of_file in zip(scanned[chosen], found[chosen], strict=True):
    _check_labels(file, of_file, known)
  files, names, more = _with_text_classes(flat, chosen, class_names=class_names,
                                          first_label=first_label)
  of_files = []
  for file, of_file in zip(files, found[chosen], strict=True):
    places = iter(file.labels.tolist())
    of_files.append([list(itertools.islice(places, len(labels))) for labels in of_file])
  labels, sets = dataset.number_sets(list(itertools.chain.from_iterable(of_files)))
  numbers = iter(labels)
  return ([file._replace(labels=np.array(list(itertools.islice(numbers, len(of_file))), np.int64))
           for file, of_file in zip(files, of_files, strict=True)], names, (*notes, *more), sets)


def _multi_hot_width(found: Mapping[str, Sequence[Sequence[Sequence[str]]]]) -> int:
  """Returns the number of classes if each record has a 0 or a 1 for every class; otherwise 0.

  This is assumed if all records have the same number of labels, all of them 0 or 1, and a record
  repeats one: a list of classes would name each only once.
  """
  records_of_all = [labels for of_files in found.values() for of_file in of_files
                    for labels in of_file]
  widths = {len(labels) for labels in records_of_all}
  values = {label for labels in records_of_all for label in labels}
  repeats = any(len(set(labels)) < len(labels) for labels in records_of_all)
  return widths.pop() if len(widths) == 1 and values <= {'0', '1'} and repeats else 0


def _check_labels(file: record_files.RecordFile, of_file: Sequence[Sequence[str]],
                  known: set[str] | None) -> None:
  """Raises a ValueError that names the first record with a label that is not known.

  If nothing is known, all numbers from 0 are labels.
  """
  for number, labels in enumerate(of_file):
    for label in labels:
      if label.startswith('-') if known is None else label not in known:
        expected = 'numbers from 0' if known is None else listed_names(sorted(known))
        raise ValueError(f'Expected labels that are {expected}. Received: '
                         f'{cache.printable(label)} in record {number} of '
                         f'{cache.printable(file.path)}.')


def _compression_notes(files: Sequence[record_files.RecordFile], readers: Readers | None
                       ) -> tuple[str, ...]:
  packed = [file for file in files if file.compression]
  if not packed:
    return ()
  note = f'{packed[0].compression}: {len(packed)} of {len(files)} files are compressed.'
  if readers is None or readers.count == 1:
    return (note,)
  return (note, f'Each of the {readers.count} workers reads all of a compressed file. Unpack them '
          'once, with gunzip or the like: images hardly take more space.')


def _check_listed(files: Sequence[record_files.RecordFile], num_classes: int, first: int) -> None:
  """Raises a ValueError that names the first record with a label that is not listed."""
  for file in files:
    wrong = np.flatnonzero((file.labels < first) | (file.labels >= first + num_classes))
    if len(wrong):
      from_one = labels_file.first_advice(first, int(file.labels[wrong[0]]), num_classes)
      raise _wrong_label(file, wrong, expected=f'in [{first}, {first + num_classes})',
                         advice=f'Check that {labels_file.FILENAME} belongs to these files.'
                         + from_one)


def _checked(files: list[record_files.RecordFile]) -> list[record_files.RecordFile]:
  """Returns the files; raises a ValueError that names the first record with a negative label."""
  for file in files:
    wrong = np.flatnonzero(file.labels < 0)
    if len(wrong):
      raise _wrong_label(file, wrong, expected='of at least 0',
                         advice='If these records have no class, remove them.')
  return files


def _wrong_label(file: record_files.RecordFile, wrong: np.ndarray, *, expected: str,
                 advice: str) -> ValueError:
  return ValueError(f'Expected labels {expected}. Received {file.labels[wrong[0]]} in record '
                    f'{wrong[0]} of {cache.printable(file.path)} ({len(wrong)} such records in '
                    f'this file). {advice}')


def _native_splits(root: Path, pattern: str) -> dict[str, list[str]]:
  """Finds the files of each split."""
  def files_of(word: str) -> list[str]:
    path = os.path.join(glob.escape(str(root)), pattern.replace('%s', word))
    return sorted(file for file in glob.glob(path) if os.path.isfile(file))

  found: dict[str, list[str]] = {}
  for split in splits.KNOWN if '%s' in pattern else ('train',):
    files = files_of(split)
    # A pattern such as '*%s*' matches the files of 'validation' for 'val', too.
    if files and not (split == 'val' and files == found.get('validation')):
      found[split] = files
  if '%s' not in pattern:
    return found
  for split, words in split_names.SPELLINGS.items():
    taken = {file for files in found.values() for file in files}
    others = [file for word in words for spelled in (word, word.capitalize())
              for file in files_of(spelled) if file not in taken]
    if others and not {split, 'val' if split == 'validation' else split} & {*found}:
      found[split] = sorted(set(others))
  return found


def _if_images(root: Path) -> str:
  """What to do if a folder has images instead of TFRecords; '' if not."""
  files = itertools.islice(folder_layout.walk(root), _MOST_LOOKED_AT)
  if not any(file.lower().endswith(image_types.SUFFIXES) for file in files):
    return ''
  return (' It has images: --dataset_name=folder reads one directory of images per class, '
          '--dataset_name=csv a list of images.')


def _class_names(root: Path, source: Source) -> tuple[tuple[str, ...] | None, int]:
  """The class names, None if they are not listed; and the label of the first class."""
  path = root / labels_file.FILENAME
  if not path.exists():
    return source.class_names, 0
  names, first = labels_file.read(path)
  return names, first or 0
