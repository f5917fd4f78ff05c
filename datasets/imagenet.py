"""The 1,000 classes of ILSVRC 2012: numbers, WordNet ids and names."""

from __future__ import annotations

import collections
import csv
import functools
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

NUM_CLASSES = 1000  # Without the background class, which is output 0 of some networks.


class _Classes(NamedTuple):
  """The names, and the classes' numbers, in [0, 1000)."""
  names: list[str]
  by_id: dict[str, int]
  by_name: dict[str, int]


def numbers_of(class_names: Sequence[str]) -> tuple[list[int], str] | None:
  """Finds the numbers of classes that are named by ImageNet's ids or names.

  Args:
    class_names: WordNet ids such as 'n01440764'; or names such as 'tench', in any case, with
      blanks, hyphens or underscores; of several synonyms, 'tench, Tinca tinca', the first counts.

  Returns:
    (a number in [0, 1000) for each, 'ids' or 'names'); None unless all class names are ids or all
    are names, and all are different classes. Two names of ImageNet, crane and maillot, belong to
    two classes each; they count as unknown.
  """
  known = _classes()
  for kind, table, key in (('ids', known.by_id, str.lower), ('names', known.by_name, _plain)):
    numbers = [table[key(name)] for name in class_names if key(name) in table]
    if numbers and len(set(numbers)) == len(class_names):
      return numbers, kind
  return None


def output_names(num_outputs: int) -> list[str] | None:
  """Returns the name of each output of a network that was trained on ImageNet.

  Two names belong to two classes each; they are followed by the id.

  Args:
    num_outputs: 1000, or 1001 with the background class first.

  Returns:
    Distinct names; None for another number of outputs.
  """
  if num_outputs not in (NUM_CLASSES, NUM_CLASSES + 1):
    return None
  return ['background'][:num_outputs - NUM_CLASSES] + _classes().names


def output_ids(num_outputs: int) -> list[str] | None:
  """Returns the WordNet id of each output, like `output_names`."""
  if num_outputs not in (NUM_CLASSES, NUM_CLASSES + 1):
    return None
  return ['background'][:num_outputs - NUM_CLASSES] + list(_classes().by_id)


def with_names(class_names: Sequence[str]) -> list[str]:
  """Adds ImageNet's name to each class name that is a WordNet id: 'n01440764 tench'."""
  known = _classes()
  return [f'{name} {known.names[known.by_id[name]].removesuffix(f" ({name})")}'
          if name in known.by_id else name for name in class_names]


def numbers_of_ids() -> dict[str, int]:
  """The class, in [0, 1000), of each WordNet id, in the order of the classes."""
  return _classes().by_id


@functools.cache
def _classes() -> _Classes:
  path = pathlib.Path(__file__).parent / 'imagenet_labels.tsv'
  with open(path, encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file, delimiter='\t'))
  counts = collections.Counter(_plain(row['name']) for row in rows)
  names = [row['name'] if counts[_plain(row['name'])] == 1 else f'{row["name"]} ({row["wnid"]})'
           for row in rows]
  return _Classes(names, {row['wnid']: int(row['index']) for row in rows},
                  {_plain(row['name']): int(row['index']) for row in rows
                   if counts[_plain(row['name'])] == 1})


def _plain(name: str) -> str:
  return ' '.join(re.split(r'[\s_-]+', name.partition(',')[0].strip().lower()))
