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
  assert checkpoint.path == prefix
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


def test_first_format(tmp_path):
  # One file, the prefix itself, as the checkpoints of 2016 that TF-Slim published.
  values = {'a/weights': np.arange(6000, dtype=np.float32).reshape(2, 3000), 'b': np.int64(5)}
  path = str(tmp_path / 'inception_v1.ckpt')
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    variables = [tf.compat.v1.get_variable(name, initializer=value)
                 for name, value in values.items()]
    session.run([variable.initializer for variable in variables])
    saver = tf.compat.v1.train.Saver(variables, write_version=tf.compat.v1.train.SaverDef.V1)
    saver.save(session, path, write_meta_graph=False, write_state=False)
  assert [found.name for found in tmp_path.iterdir()] == ['inception_v1.ckpt']
  assert Checkpoint(path).shapes == {'a/weights': (2, 3000), 'b': ()}
  for name, value in _read_all(path).items():
    np.testing.assert_array_equal(value, values[name])
    assert value.dtype == values[name].dtype
  with open(path, 'rb') as file:
    data = file.read()
  for damage in ('empty', 'cut short', 'one byte short', 'zeros'):
    with open(path, 'wb') as file:
      file.write(_DAMAGES[damage](data))
    with pytest.raises(ValueError, match='cannot be read; it is cut short or damaged'):
      _read_all(path)
