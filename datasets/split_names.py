"""Recognizing names of splits, such as `Train`, `valid`, `test_set`, `seg_train`, `val2017`."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable
from typing import NamedTuple

# The "split" of images without classes, for prediction.
UNLABELLED = 'unlabelled'

# The splits with labels, and the words for each.
SPELLINGS = {
    'train': ('train', 'training', 'trn'),
    'validation': ('validation', 'val', 'valid', 'validate', 'eval', 'evaluation', 'dev'),
    'test': ('test', 'testing', 'tst'),
}
_UNLABELLED_WORDS = ('pred', 'predict', 'prediction', 'predictions', 'unlabelled', 'unlabeled')
_SPLIT_OF = {word: split for split, words in SPELLINGS.items() for word in words} | dict.fromkeys(
    _UNLABELLED_WORDS, UNLABELLED)
# Words that do not change the meaning of a split's name.
_FILLERS = ('set', 'sets', 'split', 'data', 'dataset', 'image', 'images', 'img', 'imgs', 'photos',
            'pictures', 'pics', 'dir', 'folder')
_GLUED = re.compile(rf'({"|".join(sorted(_SPLIT_OF, key=len, reverse=True))})'
                    rf'(?:{"|".join(sorted(_FILLERS, key=len, reverse=True))})')


class _Parsed(NamedTuple):
  """The split in a name, and the other words of the name."""
  split: str
  rest: tuple[str, ...]


def split_of(name: str) -> str | None:
  """Returns the split that a name alone means.

  Args:
    name: name of a directory or file, without suffix.

  Returns:
    'train', 'validation', 'test' or `UNLABELLED`; None if the name has no word for a split, more
    than one, or other words as well.
  """
  parsed = _parse(name)
  return parsed.split if parsed and not parsed.rest else None


def is_filler(name: str) -> bool:
  """Returns whether a name is generic, such as `images` or `data`."""
  words = _words(name)
  return bool(words) and all(word in _FILLERS for word in words)


def find(names: Iterable[str]) -> dict[str, str]:
  """Finds the splits among names in the same directory.

  In addition to the names that `split_of` recognizes, names that differ only in the split are
  splits, such as `seg_train` and `seg_test`.

  Returns:
    `{name: split}`, in the order of the names.
  """
  parsed = {name: found for name in names if (found := _parse(name))}
  by_rest = collections.defaultdict(set)
  for found in parsed.values():
    by_rest[found.rest].add(found.split)
  return {name: found.split for name, found in parsed.items()
          if not found.rest or len(by_rest[found.rest]) > 1}


def _parse(name: str) -> _Parsed | None:
  """Finds the split in a name; returns None if there is no word for one, or more than one."""
  splits, rest = [], []
  for word in _words(name):
    glued = _GLUED.fullmatch(word)
    word = glued[1] if glued else word
    if word in _SPLIT_OF:
      splits.append(_SPLIT_OF[word])
    elif word not in _FILLERS:
      rest.append(word)
  return _Parsed(splits[0], tuple(rest)) if len(splits) == 1 else None


def _words(name: str) -> list[str]:
  """The words of a name in lower case, without digits: `trainImages_2` is train, images."""
  return re.findall(r'[^\W\d_]+', re.sub(r'([a-z])([A-Z])', r'\1 \2', name).lower())
