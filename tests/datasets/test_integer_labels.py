from __future__ import annotations

import numpy as np
import pytest

from datasets import integer_labels

_LARGEST = 2**63 - 1


@pytest.mark.parametrize('labels, names, classes, note', [
  ([0, 2, 1], '012', [0, 1, 2], None),
  ([5], '5', [0], 'labels 5 → class 0'),
  ([1, 3, 2], '123', [0, 1, 2], 'labels 1, 2, 3 → classes 0, 1, 2'),
  ([10, 9, _LARGEST], ['9', '10', str(_LARGEST)], [0, 1, 2],
   f'labels 9, 10, {_LARGEST} → classes 0, 1, 2'),
  (range(1, 1001), list(map(str, range(1, 1001))), range(1000),
   'labels 1, 2, 3, …, 998, 999, 1000 → classes 0, 1, 2, …, 997, 998, 999'),
])
def test_each_value_is_a_class(labels, names, classes, note):
  labels = np.array(labels, np.int64)
  found = integer_labels.of_values([labels[:1], labels, labels[:0]])
  assert found.names == tuple(names)
  assert found.of(np.sort(labels)).tolist() == list(classes)
  assert found.notes == (() if note is None else (note,))


@pytest.mark.parametrize('labels, others, count', [
  ([0, 3], [9], 4), ([0, 1019], [9], 1020), ([0, 1020], [9], 1021), ([0, 1030], [9], 3),
  ([1009], [], 1010), ([_LARGEST], [2, _LARGEST - 1], 3), ([], [], 0),
  ([0, 1500], range(100), 1501)])
def test_all_integers_are_classes_unless_labels_are_sparse(labels, others, count):
  labels, others = np.array(labels, np.int64), np.array(others, np.int64)
  found = integer_labels.up_to_largest([labels], lambda: [labels, others])
  assert len(found.names) == count
  assert [found.names[place] for place in found.of(labels)] == list(map(str, labels.tolist()))


@pytest.mark.parametrize('text, value', [
  ('0', 0), ('007', 7), ('-1', -1), (str(_LARGEST), _LARGEST), ('9' * 5000, _LARGEST + 1),
  ('-' + '9' * 5000, -_LARGEST - 1), ('0' * 5000 + '1', 1)])
def test_value(text, value):
  assert integer_labels.value(text) == value
