"""Mapping labels to outputs by name, or by TF-Slim's offset."""

from __future__ import annotations

import types

import pytest

from datasets import imagenet, labels

_NAMES = ['cat', 'dog', 'owl']


@pytest.mark.parametrize(('offset', 'outputs', 'places'), [
  (0, ['cat', 'dog', 'owl'], [0, 1, 2]),
  (1, ['dog', 'owl'], [-1, 0, 1]),
  (2, ['owl'], [-1, -1, 0]),
  (-1, ['', 'cat', 'dog', 'owl'], [1, 2, 3]),
  (-2, ['', '', 'cat', 'dog', 'owl'], [2, 3, 4]),
])
def test_offsets(offset, outputs, places):
  assert labels.output_names(_NAMES, offset) == outputs
  assert labels.map_by_offset(3, offset) == places
  # Both ways of mapping agree.
  assert labels.map_by_name(_NAMES, outputs) == places


def test_offset_that_leaves_no_output_is_rejected():
  with pytest.raises(ValueError, match=r'--labels_offset=3\b.* 3 classes'):
    labels.output_names(_NAMES, 3)


@pytest.mark.parametrize(('outputs', 'places'), [
  (['owl', 'cat', 'dog'], [1, 2, 0]),
  (['owl', '', 'cat'], [2, -1, 0]),
  (['dog', 'emu', 'cat', 'owl'], [2, 0, 3]),
])
def test_by_name(outputs, places):
  assert labels.map_by_name(_NAMES, outputs) == places


def test_class_without_a_matching_name_has_no_output():
  assert labels.map_by_name(['', 'cat'], ['', 'cat']) == [-1, 1]


def test_classes_with_the_same_name_are_matched_in_order():
  # ImageNet's labels.txt has two: 'crane' and 'maillot'.
  names = ['background', 'crane', 'cat', 'crane']
  assert labels.map_by_name(names, labels.output_names(names, 0)) == [0, 1, 2, 3]
  assert labels.map_by_name(names, labels.output_names(names, 1)) == [-1, 0, 1, 2]
  assert labels.map_by_name(['cat', 'dog'], ['crane', 'cat', 'crane', 'dog']) == [1, 3]


@pytest.mark.parametrize(('names', 'outputs', 'message'), [
  (['crane', 'cat'], ['crane', 'cat', 'crane'], r"'crane'.*\b2\b.*\b1\b"),
  (['crane', 'cat', 'crane'], ['crane', 'cat'], r"'crane'.*\b1\b.*\b2\b"),
])
def test_ambiguous_class_name_is_rejected(names, outputs, message):
  with pytest.raises(ValueError, match=message):
    labels.map_by_name(names, outputs)


def test_data_without_any_class_of_the_network_are_rejected():
  with pytest.raises(ValueError, match=r'\bemu, fox\b.*\bcat, dog, owl\b'):
    labels.map_by_name(_NAMES, ['emu', 'fox'])
  with pytest.raises(ValueError, match=r'\b0, 1, 2, 3, 4, 5, 6, 7, … \(1000\)'):
    labels.map_by_name([str(i) for i in range(1000)], ['emu'])


def _dataset(num_classes, *, open_ended=False):
  return types.SimpleNamespace(num_classes=num_classes, open_ended_labels=open_ended)


@pytest.mark.parametrize(('classes', 'outputs', 'offset', 'open_ended'), [
  (5, 5, 0, False),
  (1001, 1000, 1, False),
  (1000, 1001, -1, False),
  (1000, 1000, 0, True),
  (200, 1001, 0, True),  # A list of only some images, whose largest label is not conclusive.
  (998, 1000, 0, True),
])
def test_matching_class_counts(classes, outputs, offset, open_ended):
  labels.check_count(_dataset(classes, open_ended=open_ended), outputs, offset)


@pytest.mark.parametrize(('classes', 'outputs', 'offset', 'open_ended', 'message'), [
  (1000, 1001, 0, False, r'1001 classes.* 1000 classes.*--labels_offset=-1$'),
  (1001, 1000, 0, False, r'1000 classes.* 1001 classes.*--labels_offset=1$'),
  (1000, 1001, 1, False, r'\b999\b.*--labels_offset=-1$'),
  (1001, 1000, -1, False, r'\b1002\b.*--labels_offset=1$'),
  (1000, 1001, 0, True, '--labels_offset=-1$'),  # Also where the labels only look like 1000.
  (1001, 1000, 0, True, '--labels_offset=1$'),
  (5, 1000, 0, False, '1000 classes.* 5 classes'),
  (1000, 5, 0, True, '5 classes.* 1000 classes'),
])
def test_mismatched_class_counts_are_rejected(classes, outputs, offset, open_ended, message):
  with pytest.raises(ValueError, match=message) as error:
    labels.check_count(_dataset(classes, open_ended=open_ended), outputs, offset)
  if '--labels_offset=' in message:  # The advice helps.
    advised = int(str(error.value).rpartition('=')[2])
    labels.check_count(_dataset(classes, open_ended=open_ended), outputs, advised)
  else:  # No offset would help.
    assert str(error.value).count('--labels_offset=') == 1


@pytest.mark.parametrize(('classes', 'outputs', 'offset', 'open_ended'), [
  (1001, 1000, 1, False),
  (1000, 1001, -1, False),
  (1000, 1001, -1, True),
  (1001, 1000, 1, True),
  (1000, 1000, 0, False),
  (1001, 1001, 0, True),
  (998, 1000, 0, True),
  (5, 6, 0, False),  # Not ImageNet: the meaning of the sixth is unknown.
])
def test_offset_for_imagenet_with_and_without_background(classes, outputs, offset, open_ended):
  data = _dataset(classes, open_ended=open_ended)
  assert labels.likely_offset(data, outputs) == offset
  if classes != 5:
    labels.check_count(data, outputs, offset)


def test_unclear_background_class_is_an_error():
  with pytest.raises(ValueError, match=r'1001 classes.*\b199\b.*--labels_offset=-1.*_offset=0'):
    labels.likely_offset(_dataset(200, open_ended=True), 1001)


@pytest.mark.parametrize(('places', 'num_outputs', 'expected'), [
  ([0, 1, 2], 3, ['cat', 'dog', 'owl']),
  ([2, 0, 1], 3, ['dog', 'owl', 'cat']),
  ([-1, 0, 1], 2, ['dog', 'owl']),
  ([1, 2, 3], 5, ['', 'cat', 'dog', 'owl', '']),
])
def test_names_by_output(places, num_outputs, expected):
  assert labels.names_by_output(_NAMES, places, num_outputs) == expected


def test_distinct_names():
  assert labels.distinct_names(['', 'crane', 'owl', 'crane', '']) == [
    'class 0', 'crane (1)', 'owl', 'crane (3)', 'class 4']


def test_names_of_imagenets_outputs():
  names, more = imagenet.output_names(1000), imagenet.output_names(1001)
  assert names[340] == 'zebra' and more == ['background', *names]
  assert len(set(names)) == 1000
  assert imagenet.output_names(10) is None
