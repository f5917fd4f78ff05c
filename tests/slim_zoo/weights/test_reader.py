"""Opening checkpoints: intact ones are read, damaged ones give one clear error."""

from __future__ import annotations

import gc
import os
import re
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.weights.reader import Checkpoint


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
def test_damaged_files_give_one_error(prefix, suffix, damage):
  with open(prefix + suffix, 'rb') as file:
    data = file.read()
  with open(prefix + suffix, 'wb') as file:
    file.write(_DAMAGES[damage](data))
  with pytest.raises(ValueError, match=r'model\.ckpt-1 .*\(.+\)') as error:
    _read_all(prefix)
  assert '\n' not in str(error.value)


def test_error_states_what_is_wrong(prefix):
  data = f'{prefix}.data-00000-of-00001'
  size = os.path.getsize(data)
  with open(data, 'r+b') as file:
    byte = file.read(1)
    file.seek(0)
    file.write(bytes([byte[0] ^ 1]))
  with pytest.raises(ValueError, match='checksum'):
    _read_all(prefix)
  os.truncate(data, size - 1)
  with pytest.raises(ValueError, match=rf'00000-of-00001 .*{size - 1:,} .*{size:,}'):
    _read_all(prefix)
  os.truncate(f'{prefix}.index', 0)
  with pytest.raises(ValueError, match=r'model\.ckpt-1\.index'):
    _read_all(prefix)


def test_links_are_removed_with_the_reader(tmp_path, monkeypatch):
  (tmp_path / 'run[1]').mkdir()
  (tmp_path / 'links').mkdir()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'links'))
  checkpoint = Checkpoint(_write(tmp_path / 'run[1]', {'b': np.int64(5)}))
  assert len(list((tmp_path / 'links').iterdir())) == 1
  assert checkpoint.path == str(tmp_path / 'run[1]' / 'model.ckpt-1')
  assert checkpoint.read('b') == 5
  del checkpoint
  gc.collect()
  assert list((tmp_path / 'links').iterdir()) == []


def test_messages_name_the_path_and_not_the_link(tmp_path):
  (tmp_path / 'run[1]').mkdir()
  prefix = _write(tmp_path / 'run[1]', {'b': np.int64(5)})
  os.truncate(f'{prefix}.index', 0)
  with pytest.raises(ValueError, match=r'run\[1\]') as error:
    Checkpoint(prefix)
  assert 'link' not in str(error.value)


def test_missing_data_file(prefix, tmp_path):
  (tmp_path / 'model.ckpt-1.data-00000-of-00001').unlink()
  with pytest.raises(ValueError, match='model.ckpt-1'):
    Checkpoint(prefix).read('a/weights')


def _write_first_format(path: str, values) -> None:
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    variables = [tf.compat.v1.get_variable(name, initializer=value)
                 for name, value in values.items()]
    session.run([variable.initializer for variable in variables])
    saver = tf.compat.v1.train.Saver(variables, write_version=tf.compat.v1.train.SaverDef.V1)
    saver.save(session, path, write_meta_graph=False, write_state=False)


@pytest.mark.parametrize(('name', 'other'), [('run[1]', 'run1'), ('a*b', 'axb'), ('a?b', 'axb')])
def test_path_is_not_read_as_a_pattern(tmp_path, name, other):
  for folder, value in ((name, 1), (other, 2)):
    (tmp_path / folder).mkdir()
    _write_first_format(str(tmp_path / 'x.ckpt'), {'b': np.int64(value)})
    (tmp_path / 'x.ckpt').rename(tmp_path / folder / 'x.ckpt')
  assert Checkpoint(str(tmp_path / name / 'x.ckpt')).read('b') == 1


def test_first_format(tmp_path):
  # One file, the prefix itself, as the checkpoints of 2016 that TF-Slim published.
  values = {'a/weights': np.arange(6000, dtype=np.float32).reshape(2, 3000), 'b': np.int64(5)}
  path = str(tmp_path / 'inception_v1.ckpt')
  _write_first_format(path, values)
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
    with pytest.raises(ValueError, match=re.escape(str(path))):
      _read_all(path)
