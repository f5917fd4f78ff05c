"""Comparing an export with the network: predictions, accuracy, and the table."""

from __future__ import annotations

import types

import numpy as np
import pytest

from datasets import dataset, indexed
from slim_zoo.export import comparison
from slim_zoo.export.comparison import Found, Photos


def _photos(labels, *, label_map, label_sets=None, several=False, num_outputs=4):
  examples = indexed.IndexedExamples(
    [f'{place}' for place in range(len(labels))], labels, paths=['x'] * len(labels))
  split = dataset.Dataset('folder', 'validation', ('a', 'b', 'c'), 3, examples,
                          label_sets=label_sets)
  model = types.SimpleNamespace(class_names=[''] * num_outputs)
  return Photos(model, split, label_map, has_several_labels=several)


def test_right_outputs():
  photos = _photos([0, 2, 1], label_map=[3, -1, 0])
  np.testing.assert_array_equal(photos.right, [[0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
  logits = np.eye(4)[[3, 1, 0]]
  assert photos.accuracy(logits) == pytest.approx(1 / 3)  # The third has no right output.
  assert photos.predicted(logits).tolist() == [3, 1, 0]


@pytest.mark.parametrize(('several', 'accuracy'), [
  (False, 1 / 2),  # The largest logit is one of the right classes of the first image only.
  (True, 7 / 8)])
def test_several_labels(several, accuracy):
  photos = _photos([1, 0], label_map=[0, 1, 2], label_sets=((1,), (0, 2)), several=several)
  np.testing.assert_array_equal(photos.right, [[1, 0, 1, 0], [0, 1, 0, 0]])
  logits = np.array([[2., -1, 3, -1], [1.5, 1, -3, -1]])
  assert photos.accuracy(logits) == pytest.approx(accuracy)


@pytest.mark.parametrize(('found', 'difference'), [
  ([[1., -4]], 0), ([[1., -3]], 0.25), ([[np.nan, -4]], np.nan), ([[np.inf, -4]], np.inf)])
def test_difference_is_relative_to_the_largest_logit(found, difference):
  np.testing.assert_allclose(
    comparison.relative_difference(np.array(found), np.array([[1., -4]])), difference)


def test_size_of_a_file_and_of_a_directory(tmp_path):
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  (tmp_path / 'a' / 'b' / 'x').write_bytes(b'123')
  (tmp_path / 'a' / 'y').write_bytes(b'12')
  assert comparison.size_of(tmp_path / 'a') == 5
  assert comparison.size_of(tmp_path / 'a' / 'y') == 2


def test_table():
  network = Found(None, 2_000_000, 10.0, accuracy=0.9, num_photos=10)
  rows = [('model.ckpt-1', network, 'the network'),
          ('model.onnx', Found(1e-6, 1_500_000, None, 1.0, 0.9, 10), 'ONNX model')]
  head, _, first, second = comparison.table(rows).splitlines()
  assert head.split() == ['difference', 'agreement', 'accuracy', 'MB', 'ms', 'per', 'image']
  assert first.split() == ['model.ckpt-1', '0.9000', '2.00', '10.0', 'the', 'network']
  assert second.split() == ['model.onnx', '1.0e-06', '1.0000', '0.9000', '1.50', 'ONNX', 'model']
  without = comparison.table([('m', Found(0.0, 1, 1.0), '')]).splitlines()[0]
  assert 'accuracy' not in without
