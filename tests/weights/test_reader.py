"""Opening checkpoints: what is whole is read, what is cut short is one clear message."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from weights.reader import Checkpoint


def _write(folder, values) -> str:
  prefix = str(folder / 'model.ckpt-1')
  tf.raw_ops.SaveV2(prefix=prefix, tensor_names=list(values), tensors=list(values.values()),
                    shape_and_slices=[''] * len(values))
  return prefix


@pytest.fixture
def prefix(tmp_path):
  return _write(tmp_path, {'a/weights': np.arange(6000, dtype=np.float32).reshape(2, 3000),
                           'b': np.int64(5)})


def test_reads_shapes_and_values(prefix):
  checkpoint = Checkpoint(prefix)
  assert checkpoint.prefix == prefix
  assert checkpoint.shapes == {'a/weights': (2, 3000), 'b': ()}
  np.testing.assert_array_equal(checkpoint.read('a/weights').ravel(), np.arange(6000))
  assert checkpoint.read('b') == 5


_DAMAGES = {
  'empty': lambda data: b'',
  'cut short': lambda data: data[:len(data) // 2],
  'one byte short': lambda data: data[:-1],
  'zeros': lambda data: bytes(len(data)),
  'one byte changed': lambda data: data[:10] + bytes([data[10] ^ 1]) + data[11:],
}


def _read_all(prefix: str) -> dict:
  checkpoint = Checkpoint(prefix)
  return {name: checkpoint.read(name) for name in checkpoint.shapes}


@pytest.mark.parametrize('damage', _DAMAGES)
@pytest.mark.parametrize('suffix', ['.index', '.data-00000-of-00001'])
def test_damaged_files_are_one_message(prefix, suffix, damage):
  with open(prefix + suffix, 'rb') as file:
    data = file.read()
  with open(prefix + suffix, 'wb') as file:
    file.write(_DAMAGES[damage](data))
  with pytest.raises(ValueError, match=r'The checkpoint .*model.ckpt-1 cannot be read; it is cut '
                     r'short or damaged \(.+\). Copy it again') as error:
    _read_all(prefix)
  assert '\n' not in str(error.value)


def test_missing_data_file(prefix, tmp_path):
  (tmp_path / 'model.ckpt-1.data-00000-of-00001').unlink()
  with pytest.raises(ValueError, match='cannot be read'):
    Checkpoint(prefix).read('a/weights')
