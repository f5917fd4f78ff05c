"""Feature files: reading with other libraries, kills at any point, and damage."""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
import zipfile

import numpy as np
import pyarrow.parquet
import pytest
import tensorflow as tf

from scripts.fuzzing.mutations import mutations
from slim_zoo.features import formats
from slim_zoo.features.features import ADVICE

_SUFFIXES = ('.npz', '.tfrecord', '.parquet')
_CLASSES = ('ant', 'bee \udcff')  # A folder's name need not be UTF-8.
_FACTS = {'model_name': 'lenet', 'end_point': 'fc3', 'image_size': 28}
_COUNT, _SHAPE = 10, (2, 3)
_VALUES = np.random.default_rng(0).normal(size=(_COUNT, *_SHAPE)).astype(np.float32)
_LABELS = np.arange(_COUNT) % 2
_NAMES = [f'ant/é {i}.jpg' for i in range(_COUNT)]


def _write(path, *, names=_NAMES, stop=_COUNT, batch=3, class_names=_CLASSES, facts=_FACTS):
  """Writes the missing rows up to `stop`; returns the number of existing ones."""
  with formats.writer(path, facts=facts, class_names=class_names, num_examples=_COUNT,
                      shape=_SHAPE) as output:
    start = output.done
    for row in range(start, stop, batch):
      rows = slice(row, min(row + batch, stop))
      output.write(names[rows], _LABELS[rows], _VALUES[rows])
  return start


def _check(path, names=_NAMES):
  found = formats.read(path)
  assert found.values.dtype == np.float32 and found.labels.dtype == np.int64
  np.testing.assert_array_equal(found.values, _VALUES)
  np.testing.assert_array_equal(found.labels, _LABELS)
  assert found.names == tuple(names)
  assert (found.class_names, found.facts) == (_CLASSES, _FACTS)


@pytest.mark.parametrize('suffix', _SUFFIXES)
def test_round_trip(tmp_path, suffix):
  for number, names in enumerate((_NAMES, [f'\udcfe {i}' for i in range(_COUNT)])):
    path = tmp_path / 'new folder' / f'{number}{suffix}'
    assert _write(path, names=names) == 0
    _check(path, names)
    assert [p.name for p in path.parent.glob(f'{number}*')] == [path.name]


def test_numpy_reads_npz(tmp_path):
  _write(tmp_path / 'f.npz')
  found = np.load(tmp_path / 'f.npz', allow_pickle=False)
  np.testing.assert_array_equal(found['features'], _VALUES)
  np.testing.assert_array_equal(found['labels'], _LABELS)
  assert found['names'].tolist() == _NAMES
  assert found['class_names'].tolist() == list(_CLASSES)
  assert json.loads(str(found['facts'])) == _FACTS


def test_tensorflow_reads_tfrecord(tmp_path):
  _write(tmp_path / 'f.tfrecord')
  records = [tf.train.Example.FromString(record.numpy()).features.feature
             for record in tf.data.TFRecordDataset(str(tmp_path / 'f.tfrecord'))]
  values = np.array([record['features'].float_list.value for record in records], np.float32)
  np.testing.assert_array_equal(values, _VALUES.reshape(_COUNT, -1))
  assert [record['image/class/label'].int64_list.value[0] for record in records] == list(_LABELS)
  assert [record['image/filename'].bytes_list.value[0].decode() for record in records] == _NAMES
  assert records[1]['image/class/text'].bytes_list.value[0] == b'bee \xff'


def test_pyarrow_reads_parquet(tmp_path):
  _write(tmp_path / 'f.parquet', class_names=['ant', 'bee'])
  table = pyarrow.parquet.read_table(tmp_path / 'f.parquet')
  values = np.array(table['features'].to_pylist(), np.float32)
  np.testing.assert_array_equal(values, _VALUES.reshape(_COUNT, -1))
  assert table['name'].to_pylist() == _NAMES
  assert table['label'].to_pylist() == list(_LABELS)
  assert table['class'].to_pylist() == ['ant', 'bee'] * 5
  assert json.loads(table.schema.metadata[b'about'])['shape'] == list(_SHAPE)


def test_large_features_are_written_chunk_by_chunk(tmp_path, monkeypatch):
  monkeypatch.setattr('slim_zoo.features.features._CHUNK', 4 * 6 * 4)  # Four rows.
  for suffix in _SUFFIXES:
    _write(tmp_path / f'f{suffix}')
    _check(tmp_path / f'f{suffix}')
  assert pyarrow.parquet.ParquetFile(tmp_path / 'f.parquet').num_row_groups == 3


@pytest.mark.parametrize('suffix', _SUFFIXES)
def test_existing_rows_are_kept(tmp_path, suffix):
  path = tmp_path / f'f{suffix}'
  assert _write(path, stop=3) == 0
  assert not path.exists()
  assert _write(path, stop=6) == 3
  assert _write(path) == 6
  _check(path)
  assert _write(path) == _COUNT


@pytest.mark.parametrize('suffix, batch', [('.npz', 4), ('.tfrecord', 10), ('.parquet', 10)])
def test_kill_at_any_point_loses_at_most_the_last_batch(tmp_path, killed, suffix, batch):
  for number in range(1, 100):
    path, written = tmp_path / f'{number}{suffix}', 0
    with killed(number) as outcome, formats.writer(
        path, facts=_FACTS, class_names=_CLASSES, num_examples=_COUNT, shape=_SHAPE) as output:
      for row in range(0, _COUNT, batch):
        rows = slice(row, min(row + batch, _COUNT))
        output.write(_NAMES[rows], _LABELS[rows], _VALUES[rows])
        written = rows.stop
    if not outcome.reached:
      break
    if path.exists():
      _check(path)
    assert written <= _write(path) <= written + batch
    _check(path)
    assert not os.path.exists(f'{path}.part')
  assert 10 < number < 99


@pytest.mark.parametrize('name, size', [
  ('features.npy', 200), ('labels.npy', 0), ('names.jsonl', 20), ('rows.json', 3),
  ('about.json', 0)])
def test_lost_rows_are_computed_again(tmp_path, capsys, name, size):
  path = tmp_path / 'f.npz'
  _write(path, stop=6)
  os.truncate(tmp_path / 'f.npz.part' / name, size)
  assert _write(path) == 0
  assert str(tmp_path / 'f.npz.part') in capsys.readouterr().out
  _check(path)


def test_rows_in_the_layout_of_earlier_versions_are_computed_again(tmp_path):
  path, part = tmp_path / 'f.npz', tmp_path / 'f.npz.part'
  _write(path, stop=6)
  (part / 'features.npy').rename(part / 'features.float32')
  (part / 'labels.npy').rename(part / 'labels.int64')
  assert _write(path) == 0
  _check(path)


@pytest.mark.parametrize('changed, message', [
  ({'facts': {**_FACTS, 'image_size': 32}}, 'image_size: 32 .*28'),
  ({'class_names': ('bee', 'ant')}, 'class_names: ')])
def test_rows_of_other_features_are_rejected(tmp_path, capsys, changed, message):
  path = tmp_path / 'f.npz'
  _write(path, stop=6, **changed)
  assert _write(path) == 0
  assert re.search(message, capsys.readouterr().out)
  _check(path)
  with pytest.raises(ValueError, match='f.npz.*--output_path'):
    _write(path, **changed)
  _check(path)


@pytest.mark.parametrize('rows', [11, 2])
def test_rows_of_wrong_shape_are_rejected(tmp_path, rows):
  with pytest.raises(ValueError, match=rf'\b10\b.*Received: {rows}\b'), formats.writer(
      tmp_path / 'f.npz', facts={}, class_names=(), num_examples=_COUNT, shape=_SHAPE) as output:
    output.write(['name'] * rows, np.zeros(rows, int), np.zeros([rows, 3, 2]))


@pytest.mark.parametrize('suffix', _SUFFIXES)
def test_damaged_file_gives_one_error_or_correct_features(tmp_path, suffix):
  whole, path = tmp_path / f'whole{suffix}', tmp_path / f'f{suffix}'
  _write(whole)
  messages = []
  for damaged in mutations(whole.read_bytes(), count=60, seed=0):
    path.write_bytes(damaged)
    try:
      _check(path)
    except ValueError as error:
      messages.append(str(error))
  assert len(messages) > 40
  start = re.compile(f'{re.escape(str(path))} .*Expected: .* Received: .*')
  assert [text for text in messages if not start.match(text) or ADVICE not in text] == []


def test_other_files_are_rejected(tmp_path):
  (tmp_path / 'text.npz').write_text('text')
  np.savez(tmp_path / 'other.npz', images=_VALUES)
  with open(tmp_path / 'array.npz', 'wb') as file:
    np.save(file, _VALUES)
  with tf.io.TFRecordWriter(str(tmp_path / 'other.tfrecord')) as writer:
    writer.write(b'')
  table = pyarrow.table({'name': ['a'], 'label': [0], 'features': [[1.0]]})
  pyarrow.parquet.write_table(table, tmp_path / 'other.parquet')
  for path in sorted(tmp_path.iterdir()):
    with pytest.raises(ValueError, match=f'{path} .*Expected: '):
      formats.read(path)
  with pytest.raises(FileNotFoundError):
    formats.read(tmp_path / 'absent.parquet')


@pytest.mark.parametrize('number', [np.nan, np.inf])
def test_non_finite_feature_is_named(tmp_path, number):
  values = _VALUES.copy()
  values[7, 1, 2] = number
  with open(tmp_path / 'f.p', 'wb') as file:
    pickle.dump({'features': values, 'labels': _LABELS}, file)
  with pytest.raises(ValueError, match=r'f.p\b.*\b7\b'):
    formats.read(tmp_path / 'f.p')


@pytest.mark.parametrize('name, message', [
  ('f.csv', "'\\.csv'.* .npz, .parquet, .tfrecord"),
  ('f.pkl', "'.pkl'.* .npz"), ('f', "''.* .npz")])
def test_only_known_formats_are_written(tmp_path, name, message):
  with pytest.raises(ValueError, match=message):
    formats.check_writable(tmp_path / name)


def test_parquet_without_pyarrow_is_explained(monkeypatch):
  monkeypatch.setitem(sys.modules, 'pyarrow', None)
  formats.check_writable('f.npz')
  with pytest.raises(ValueError, match='pyarrow'):
    formats.check_writable('f.parquet')


@pytest.mark.parametrize('header', [b"{'shape': (5, ", b"'''", b'  x\n y\n', b'[' * 5000])
def test_invalid_array_headers(tmp_path, header):
  content = b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header
  with zipfile.ZipFile(tmp_path / 'f.npz', 'w') as archive:
    for name in ('features', 'labels', 'names', 'class_names', 'facts'):
      archive.writestr(f'{name}.npy', content)
  for read in (formats.read, formats.FORMATS['.npz'].read_header):
    with pytest.raises(ValueError, match='f.npz cannot be read'):
      read(tmp_path / 'f.npz')


def test_damaged_data_of_any_compression(tmp_path):
  for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
    _write(tmp_path / 'whole.npz')
    with zipfile.ZipFile(tmp_path / 'whole.npz') as whole, \
        zipfile.ZipFile(tmp_path / 'f.npz', 'w', method) as archive:
      for name in whole.namelist():
        archive.writestr(name, whole.read(name))
    content = bytearray((tmp_path / 'f.npz').read_bytes())
    for name in (b'features.npy', b'facts.npy'):
      start = content.index(name) + len(name) + 9
      content[start:start + 30] = bytes(255 - byte for byte in content[start:start + 30])
    (tmp_path / 'f.npz').write_bytes(content)
    with pytest.raises(ValueError, match='f.npz cannot be read'):
      formats.read(tmp_path / 'f.npz')


@pytest.mark.parametrize('text', ['5', '[]', '[' * 10**5, 'null'])
def test_invalid_descriptions(tmp_path, text):
  path = tmp_path / 'f.tfrecord'
  about = tf.train.Feature(bytes_list=tf.train.BytesList(value=[text.encode()]))
  with tf.io.TFRecordWriter(str(path)) as file:
    file.write(tf.train.Example(features=tf.train.Features(feature={'about': about}))
               .SerializeToString())
  with pytest.raises(ValueError, match='f.tfrecord'):
    formats.read(path)
