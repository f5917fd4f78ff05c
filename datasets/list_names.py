"""What the columns of lists of images are called, and how splits and missing labels are spelled."""

from __future__ import annotations

import re

from datasets import split_names

# Names are compared without capitals, blanks and punctuation: 'Image ID' is 'imageid'.
_PATH = re.compile(
    r'(relative|rel|absolute|abs|full)?(image|img|picture|pic|photo|file)?s?'
    r'(filename|fname|filepath|path|file|image|img|picture|pic|photo|name|id|url|uri)s?')
_LABELS = frozenset(('label', 'class', 'category', 'categories', 'target', 'groundtruth', 'gt',
                     'classname', 'labelname', 'categoryname', 'targetname', 'classlabel'))
_SUBJECTS = frozenset(('breed', 'species', 'genus', 'variety', 'cultivar', 'diagnosis', 'disease',
                       'dx', 'emotion', 'landmark', 'scene', 'y'))
# 'landmark_id' and 'LandmarkId', but not 'orchid'.
_ID = re.compile(r'.*([\W_](id|Id|ID)|[a-z](Id|ID))')
# Ids of what is in several images, or of where they are from, and of no class.
_OTHER_IDS = frozenset((
    'patient', 'subject', 'user', 'person', 'case', 'lesion', 'study', 'series', 'session', 'visit',
    'exam', 'scan', 'slide', 'video', 'frame', 'camera', 'sequence', 'group', 'batch', 'row',
    'sample', 'annotation', 'record', 'source', 'site', 'location', 'hospital', 'device', 'author'))
_INDEX = re.compile(r'unnamed\d*|index|idx|row|rowid|no|')
_SPLITS = frozenset(('split', 'set', 'subset', 'partition', 'datasplit', 'splitname'))
_SPLIT_FLAG = re.compile(r'is(train|training|val|valid|validation|test|testing)(image|set|data)?')
_MISSING = frozenset(('', 'nan', 'none', 'null', 'na', 'n/a', '<na>', '#n/a', 'nat'))


def plain(name: str) -> str:
  """A column's name as it is compared with others."""
  return re.sub(r'[\W_]+', '', name.lower())


def is_path(name: str) -> bool:
  """Whether a column of this name has the images' paths."""
  return bool(_PATH.fullmatch(plain(name)))


def is_label(name: str) -> bool:
  """Whether a column of this name has the labels, whatever others there are."""
  return _is_one_of(plain(name), _LABELS)


def may_be_label(name: str) -> bool:
  """Whether a column of this name has the labels if none has a name that says more."""
  if _is_one_of(plain(name), _SUBJECTS):
    return True
  return bool(_ID.fullmatch(name)) and not is_path(name) and not is_aside(name)


def is_aside(name: str) -> bool:
  """Whether a column of this name is left alone: an index, or an id of something else."""
  name = plain(name)
  return bool(_INDEX.fullmatch(name)) or (
      name.endswith('id') and name.removesuffix('id') in _OTHER_IDS)


def is_split(name: str) -> bool:
  """Whether a column of this name says which split an image belongs to."""
  # A column 'dataset' says where an image is from more often than not.
  return plain(name) in _SPLITS or bool(re.fullmatch(r'data[\W_]set', name.lower()))


def is_split_flag(name: str) -> bool:
  """Whether a column of this name says of one split alone whether an image belongs to it."""
  return bool(_SPLIT_FLAG.fullmatch(plain(name)))


def split_of(value: str) -> str | None:
  """The split that a value such as 'Training' or 'test_set' means; None if it is none."""
  split = split_names.split_of(value)
  return None if split == split_names.UNLABELLED else split


def is_missing(label: str) -> bool:
  """Whether a label is what programs write where there is none."""
  return label.lower() in _MISSING


def _is_one_of(name: str, names: frozenset[str]) -> bool:
  return name in names or name.removesuffix('s') in names or name.removesuffix('es') in names
