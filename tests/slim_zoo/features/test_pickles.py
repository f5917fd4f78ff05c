"""Pickled features."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from slim_zoo.features import formats

_PIXELS = np.random.default_rng(0).integers(0, 256, [4, 32, 32, 3]).astype(np.uint8)
_CODES = np.random.default_rng(1).normal(size=[4, 1, 1, 512]).astype(np.float32)


@pytest.mark.parametrize('content, values, labels', [
  ({'features': _PIXELS, 'labels': np.array([3, 0, 42, 1], np.uint8), 'sizes': [1, 2]},
   _PIXELS, [3, 0, 42, 1]),
  ({b'features': _CODES, b'labels': np.array([[0], [1], [1], [2]])}, _CODES, [0, 1, 1, 2]),
  ({'features': [[1, 2.5], [3, 4]], 'labels': [1.0, 0.0]}, [[1, 2.5], [3, 4]], [1, 0]),
  ({'features': [np.zeros(3), np.ones(3)], 'labels': (0, 1)}, [[0] * 3, [1] * 3], [0, 1]),
  ({'features': _CODES.astype('>f8'), 'labels': list('abcd')}, _CODES, 'labels .*<U1'),
])
@pytest.mark.parametrize('protocol', [2, pickle.HIGHEST_PROTOCOL])
def test_pickle(tmp_path, content, values, labels, protocol):
  path = tmp_path / 'train.p'
  path.write_bytes(pickle.dumps(content, protocol))
  if isinstance(labels, str):
    with pytest.raises(ValueError, match=labels):
      formats.read(path)
    return
  found = formats.read(path)
  assert found.values.dtype == np.float32 and found.labels.dtype == np.int64
  np.testing.assert_array_equal(found.values, values)
  assert found.labels.tolist() == labels
  assert found.names == tuple(str(i) for i in range(len(labels)))
  assert (found.class_names, found.facts) == ((), {})


class _Attack:
  def __reduce__(self):
    return print, ('attacked',)


@pytest.mark.parametrize('content, reason', [
  ([1, 2], 'list'),
  ({'features': [[1.0]]}, "'labels'"),
  ({'features': [[1.0], [2.0]], 'labels': [0]}, r'\[\(2, 1\), \(1,\)'),
  ({'features': [], 'labels': []}, 'Received: .+'),
  ({'features': 1.5, 'labels': [0]}, r'\(\)'),
  ({'features': ['a'], 'labels': [0]}, 'features .*<U1'),
  ({'features': [[1.0, 2.0], [3.0]], 'labels': [0, 1]}, 'inhomogeneous'),
  ({'features': np.array([1e300]), 'labels': [0]}, 'overflow'),
  ({'features': [[1.0]], 'labels': [-1]}, 'labels .*-1'),
  ({'features': [[1.0]], 'labels': [0.5]}, 'labels .*float64'),
  ({'features': [[1.0]], 'labels': [[0, 1]]}, r'labels .*\(1, 2\)'),
  ({'features': _Attack(), 'labels': [0]}, 'print'),
])
def test_other_content_gives_one_error(tmp_path, capsys, content, reason):
  path = tmp_path / 'train.pickle'
  path.write_bytes(pickle.dumps(content))
  with pytest.raises(ValueError, match=reason) as caught:
    formats.read(path)
  assert str(path) in str(caught.value)
  assert 'attacked' not in capsys.readouterr().out


def test_truncated_pickle(tmp_path):
  path = tmp_path / 'train.pkl'
  path.write_bytes(pickle.dumps({'features': _CODES, 'labels': [0] * 4})[:-100])
  with pytest.raises(ValueError, match=str(path)):
    formats.read(path)
