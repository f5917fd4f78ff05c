"""Mapping labels to the outputs of weights without class names."""

from __future__ import annotations

import csv
import pathlib

import numpy as np
import pytest

from datasets import dataset, imagenet, indexed, label_join

_TABLE = pathlib.Path(imagenet.__file__).parent / 'imagenet_labels.tsv'
_ROWS = list(csv.DictReader(_TABLE.read_text(encoding='utf-8').splitlines(), delimiter='\t'))
_IDS = [row['wnid'] for row in _ROWS]


def _data(class_names, *, by_name=True, open_ended=False):
  names = [f'{i}.jpg' for i in range(len(class_names))]
  examples = indexed.IndexedExamples(names, np.arange(len(names)), encoded=[b''] * len(names))
  return dataset.Dataset('folder', 'test', tuple(class_names), 3, examples,
                         numbered_by_name=by_name, open_ended_labels=open_ended)


def _texts(*ranges):
  """Integers as directories list them: sorted as text."""
  return sorted(str(i) for numbers in ranges for i in numbers)


@pytest.mark.parametrize(('classes', 'outputs', 'offset', 'expected'), [
  # ImageNet's ids and names, with a background class before them and without, in part.
  (_IDS, 1000, None, range(1000)),
  (_IDS, 1001, None, range(1, 1001)),
  (_IDS[5:9], 1000, None, [5, 6, 7, 8]),
  (_IDS[5:9], 1001, None, [6, 7, 8, 9]),
  (_IDS[5:9], 1001, -1, [6, 7, 8, 9]),
  (['Great_White-Shark', 'goldfish', 'tench, Tinca tinca'], 1000, None, [2, 1, 0]),
  # Integers, in the order of texts.
  (_texts(range(1000)), 1000, None, [int(t) for t in _texts(range(1000))]),
  (_texts(range(1, 1001)), 1000, None, [int(t) - 1 for t in _texts(range(1, 1001))]),
  (_texts(range(1000)), 1001, None, [int(t) + 1 for t in _texts(range(1000))]),
  (_texts(range(1, 1001)), 1001, None, [int(t) for t in _texts(range(1, 1001))]),
  (_texts(range(1001)), 1001, None, [int(t) for t in _texts(range(1001))]),
  (_texts(range(1001)), 1000, None, [int(t) - 1 for t in _texts(range(1001))]),
  (['0', '10', '2'], 12, None, [0, 10, 2]),
  (['12', '3'], 12, None, [11, 2]),
  (['10', '3'], 12, 0, [10, 3]),
  (['10', '3'], 12, 1, [9, 2]),
  (['3', '7', '985'], 1001, -1, [4, 8, 986]),
  (['3', '7', '1000'], 1001, None, [3, 7, 1000]),
])
def test_outputs_are_matched_by_class_name(classes, outputs, offset, expected):
  found = label_join.join(_data(classes), outputs, labels_offset=offset)
  assert found.label_map == list(expected)
  assert found.note


@pytest.mark.parametrize(('classes', 'outputs', 'offset', 'flag'), [
  (['cat', 'dog'], 2, None, '--labels_are_indices'),
  (['cat', 'dog'], 2, 0, '--labels_are_indices'),
  (_IDS[:2], 2, None, '--labels_are_indices'),  # Two outputs are not ImageNet's.
  (['crane', 'tench'], 1000, None, '--labels_are_indices'),  # Two classes are named crane.
  (['0', 'dog'], 2, None, '--labels_are_indices'),
  (['3', '7'], 10, None, '--labels_offset=1'),
  (['0', '7', '985'], 1001, None, '--labels_offset=-1'),
  (['0', '11'], 10, None, '--labels_offset'),
  (['3', '10'], 10, 0, '--labels_offset=0'),
])
def test_ambiguous_labels_are_an_error_that_names_the_flag(classes, outputs, offset, flag):
  with pytest.raises(ValueError, match=flag):
    label_join.join(_data(classes), outputs, labels_offset=offset)


@pytest.mark.parametrize(('classes', 'outputs', 'expected'), [
  (['cat', 'dog'], 2, [0, 1]),
  (_texts(range(1000)), 1001, range(1, 1001)),
])
def test_labels_are_indices_if_requested(classes, outputs, expected):
  found = label_join.join(_data(classes), outputs, labels_are_indices=True)
  assert found.label_map == list(expected)


@pytest.mark.parametrize(('classes', 'outputs', 'expected'), [
  (['cat', 'dog'], 2, [0, 1]),
  ([str(i) for i in range(1001)], 1000, range(-1, 1000)),
])
def test_integer_labels_are_outputs(classes, outputs, expected):
  assert label_join.join(_data(classes, by_name=False), outputs).label_map == list(expected)


def test_imagenet_class_names():
  assert [int(row['index']) for row in _ROWS] == list(range(1000))
  assert sorted(set(_IDS)) == _IDS
  assert imagenet.numbers_of(_IDS) == (list(range(1000)), 'ids')
  assert imagenet.numbers_of([]) is None
  assert imagenet.numbers_of([*_IDS[:2], 'cat']) is None
