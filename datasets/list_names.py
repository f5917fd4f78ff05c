"""Usual names of the columns of lists of images, and spellings of splits and missing labels."""

from __future__ import annotations

import re

from datasets import split_names

# Names are compared in lower case, without blanks and punctuation: 'Image ID' is 'imageid'.
_PATH = re.compile(
    r'(relative|rel|absolute|abs|full)?(image|img|picture|pic|photo|file)?s?'
    r'(filename|fname|filepath|path|file|image|img|picture|pic|photo|name|id|url|uri)s?')
_LABELS = frozenset(('label', 'class', 'category', 'categories', 'target', 'groundtruth', 'gt',
                     'classname', 'labelname', 'categoryname', 'targetname', 'classlabel'))
_SUBJECTS = frozenset(('breed', 'species', 'genus', 'variety', 'cultivar', 'diagnosis', 'disease',
                       'dx', 'emotion', 'landmark', 'scene', 'y'))
# 'landmark_id' and 'LandmarkId', but not 'orchid'.
_ID = re.compile(r'.*([\W_](id|Id|ID)|[a-z](Id|ID))')
# Ids of things that are not classes: of what several images share, or of where they are from.
_OTHER_IDS = frozenset((
    'patient', 'subject', 'user', 'person', 'case', 'lesion', 'study', 'series', 'session', 'visit',
    'exam', 'scan', 'slide', 'video', 'frame', 'camera', 'sequence', 'group', 'batch', 'row',
    'sample', 'annotation', 'record', 'source', 'site', 'location', 'hospital', 'device', 'author'))
_INDEX = re.compile(r'unnamed\d*|index|idx|row|rowid|no|')
_SPLITS = frozenset(('split', 'set', 'subset', 'partition', 'datasplit', 'splitname'))
_SPLIT_FLAG = re.compile(r'is(train|training|val|valid|validation|test|testing)(image|set|data)?')
_MISSING = frozenset(('', 'nan', 'none', 'null', 'na', 'n/a', '<na>', '#n/a', 'nat'))


def plain(name: str) -> str:
  """Normalizes a column's name for comparison."""
  return re.sub(r'[\W_]+', '', name.lower())


def is_path(name: str) -> bool:
  """Whether a column of this name contains paths of images."""
  return bool(_PATH.fullmatch(plain(name)))


def is_label(name: str) -> bool:
  """Whether a column of this name contains the labels, regardless of other columns."""
  return _is_one_of(plain(name), _LABELS)


def may_be_label(name: str) -> bool:
  """Whether a column of this name contains the labels if no other name is more specific."""
  if _is_one_of(plain(name), _SUBJECTS):
    return True
  return bool(_ID.fullmatch(name)) and not is_path(name) and not is_aside(name)


def is_aside(name: str) -> bool:
  """Whether a column of this name is ignored: an index, or an id of something else."""
  name = plain(name)
  return bool(_INDEX.fullmatch(name)) or (
      name.endswith('id') and name.removesuffix('id') in _OTHER_IDS)


def is_split(name: str) -> bool:
  """Whether a column of this name contains splits."""
  # But not 'dataset', which usually says where an image is from.
  return plain(name) in _SPLITS or bool(re.fullmatch(r'data[\W_]set', name.lower()))


def is_split_flag(name: str) -> bool:
  """Whether a column of this name says whether an image belongs to one split."""
  return bool(_SPLIT_FLAG.fullmatch(plain(name)))


def split_of(value: str) -> str | None:
  """The split of a value such as 'Training' or 'test_set'; None if it is not a split."""
  split = split_names.split_of(value)
  return None if split == split_names.UNLABELLED else split


def is_missing(label: str) -> bool:
  """Whether a label stands for a missing one, such as 'nan'."""
  return label.lower() in _MISSING


def _is_one_of(name: str, names: frozenset[str]) -> bool:
  return name in names or name.removesuffix('s') in names or name.removesuffix('es') in names
