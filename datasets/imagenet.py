"""The 1,000 classes of ILSVRC 2012: their numbers, WordNet ids and names."""

from __future__ import annotations

import collections
import csv
import functools
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

NUM_CLASSES = 1000  # Without the background class that some networks have before them.


class _Classes(NamedTuple):
  """The classes' numbers in [0, 1000)."""
  by_id: dict[str, int]
  by_name: dict[str, int]


def numbers_of(class_names: Sequence[str]) -> tuple[list[int], str] | None:
  """Finds ImageNet's numbers of classes that are called by its ids or names.

  Args:
    class_names: WordNet ids such as 'n01440764'; or names such as 'tench', in any case, with
      blanks, hyphens or underscores, also the first of several synonyms, 'tench, Tinca tinca'.

  Returns:
    (a number in [0, 1000) for each, 'ids' or 'names'); None unless every one is known by the same
    kind and no two are the same class. Two names of ImageNet, crane and maillot, are each those of
    two classes; they are not known.
  """
  known = _classes()
  for kind, table, key in (('ids', known.by_id, str.lower), ('names', known.by_name, _plain)):
    numbers = [table.get(key(name)) for name in class_names]
    if numbers and None not in numbers and len(set(numbers)) == len(numbers):
      return numbers, kind
  return None


@functools.cache
def _classes() -> _Classes:
  path = pathlib.Path(__file__).parent / 'imagenet_labels.tsv'
  with open(path, encoding='utf-8', newline='') as file:
    rows = list(csv.DictReader(file, delimiter='\t'))
  counts = collections.Counter(_plain(row['name']) for row in rows)
  return _Classes({row['wnid']: int(row['index']) for row in rows},
                  {_plain(row['name']): int(row['index']) for row in rows
                   if counts[_plain(row['name'])] == 1})


def _plain(name: str) -> str:
  return ' '.join(re.split(r'[\s_-]+', name.partition(',')[0].strip().lower()))
