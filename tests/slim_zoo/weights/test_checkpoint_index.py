"""Crafted TensorFlow checkpoints, which TensorFlow's reader trusts and ours rejects."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import tensorflow as tf

from scripts.fuzzing import runs
from scripts.fuzzing.writers import block, field, fixed32, masked_crc32c, shape, table, varint
from slim_zoo.weights.reader import Checkpoint

_NUMBERS = np.float32([1, 2])
_RAW = _NUMBERS.tobytes()
_HEADER = field(1, 1) + field(3, field(1, 1))


def _entry(*, dtype=1, sizes=(2,), shard=0, offset=0, size=8, data=_RAW, more=b''):
  """An entry of the index; by default, the correct one for `_NUMBERS`."""
  return (field(1, dtype) + field(2, shape(*sizes)) + field(3, shard) + field(4, offset)
          + field(5, size) + fixed32(6, masked_crc32c(data)) + more)


def _index(entry, header=_HEADER):
  return _table([(b'', header), (b'a', entry)])


def _table(entries):
  return table([(entries[-1][0], block(entries))])


def _write(folder, index, data=_RAW):
  (folder / 'x.index').write_bytes(index)
  (folder / 'x.data-00000-of-00001').write_bytes(data)
  return str(folder / 'x')


def _read_all(prefix):
  checkpoint = Checkpoint(prefix)
  return [checkpoint.read(name) for name in checkpoint.shapes]


def _refused(prefix, message):
  """Opens and reads everything; expects a one-line error."""
  with pytest.raises(ValueError, match=message) as caught:
    _read_all(prefix)
  assert '/x ' in str(caught.value)
  assert str(caught.value).isprintable() and len(str(caught.value)) < 1000


def test_tensorflow_reads_files_of_the_test_writer(tmp_path):
  """Tests the writer of the tests."""
  index = _index(field(1, 1) + field(2, shape(2)) + field(5, 8) + fixed32(6, masked_crc32c(_RAW)))
  reader = tf.train.load_checkpoint(_write(tmp_path, index))
  np.testing.assert_array_equal(reader.get_tensor('a'), _NUMBERS)


def _texts(lengths, texts):
  raw = b''.join(map(varint, lengths))
  return raw + struct.pack('<I', masked_crc32c(struct.pack('<I', len(raw)))) + texts


_EXTENT = field(1, field(2, 1))
_ENTRIES = {
  'negative size': (_entry(sizes=(-5,)), 'a tensor of the shape'),
  '2^40': (_entry(sizes=(2 ** 40,)), 'in 8 bytes'),
  '2^40, and so says its size': (_entry(sizes=(2 ** 40,), size=2 ** 42),
                                 'x.data-.* has 8 bytes, but the index says'),
  '2^80': (_entry(sizes=(2 ** 40, 2 ** 40)), 'a tensor of the shape'),
  'empty and huge': (_entry(sizes=(0, 2 ** 47, 2 ** 47)), 'a tensor of the shape'),
  '300 dimensions': (_entry(sizes=(1,) * 300), 'a tensor of the shape'),
  '10,000 dimensions': (_entry(sizes=(1,) * 10_000), 'more than 4,096 parts'),
  'unknown rank': (field(1, 1) + field(2, field(3, 1)), 'the field 3'),
  'named dimension': (field(1, 1) + field(2, field(2, field(1, 2) + field(2, b'\xff'))), 'field 2'),
  'offset beyond the file': (_entry(offset=2 ** 40), 'has 8 bytes, but the index says'),
  'negative offset': (_entry(offset=-8), 'bytes at -8'),
  'negative length': (_entry(size=-8), '-8 bytes'),
  'another length': (_entry(size=4), 'in 4 bytes'),
  'no such data file': (_entry(shard=7), 'in the data file 7 of 1'),
  'negative data file': (_entry(shard=-1), 'a tensor of the shape'),
  'no type': (_entry(dtype=0), 'of the type 0'),
  'unknown type': (_entry(dtype=99), 'of the type 99'),
  'reference': (_entry(dtype=101), 'of the type 101'),
  'resource': (_entry(dtype=20), 'of the type 20'),
  'variant': (_entry(dtype=21), 'of the type 21'),
  'type beyond 32 bits': (_entry(dtype=2 ** 32 + 1), 'of the type 4294967297'),
  'nothing': (b'', 'of the type 0'),
  'no message': (b'\xff\xff', 'within a number'),
  'field twice': (_entry() + field(1, 1), 'the field 1'),
  'unknown field': (_entry() + field(9, 1), 'the field 9'),
  'field of another kind': (_entry() + field(7, 1), 'the field 7'),
  'long number': (b'\x88\x80\x80\x80\x80\x80\x00\x01' + _entry()[2:], 'superfluous'),
  'number of 65 bits': (b'\x08' + b'\x81' + b'\x80' * 8 + b'\x02' + _entry()[2:], 'superfluous'),
  'part twice': (_entry(more=field(7, _EXTENT) * 2), 'twice'),
  'part beyond': (_entry(more=field(7, field(1, field(1, 1) + field(2, 2)))), 'from 1 of 2'),
  'part of other rank': (_entry(more=field(7, _EXTENT * 2)), '2 dimensions'),
  'part': (_entry(more=field(7, _EXTENT)), 'in parts'),
}


@pytest.mark.parametrize('name', _ENTRIES)
def test_invalid_entries_are_rejected(tmp_path, name):
  entry, message = _ENTRIES[name]
  _refused(_write(tmp_path, _index(entry)), message)


@pytest.mark.parametrize('data, count, message', [
  (_texts([2 ** 40, 1], b'abc'), 2, 'texts of'),
  (_texts([2 ** 63] * 2, b'abc'), 2, 'texts of'),
  (_texts([1, 1], b'abc'), 2, 'texts of 2'),
  (_texts([1, 1], b'ab'), 2 ** 28, '268,435,456 texts'),
  (b'\xff' * 40, 4, 'than ten bytes'),
])
def test_invalid_strings_are_rejected(tmp_path, data, count, message):
  entry = _entry(dtype=7, sizes=(count,), size=len(data), data=data)
  _refused(_write(tmp_path, _index(entry), data), message)


_FOOTER = 48


def _with_footer(offset, size, other_size=17):
  """A table whose footer has this position of the index; the first block replaces another."""
  data = table([(b'a', block([(b'a', b'12345')]))])
  assert data[17] == 0
  footer = b''.join(map(varint, (0, other_size, offset, size))).ljust(_FOOTER - 8, b'\0')
  return data[:-_FOOTER] + footer + data[-8:]


def _raw_block(content, starts=(0,)):
  end = struct.pack(f'<{len(starts) + 1}I', *starts, len(starts))
  return table([(b'b', content + end)])


_TABLES = {
  'empty': (b'', 'empty'),
  'no table': (b'x' * 1000, 'footer'),
  'list of 2^40 bytes': (_with_footer(0, 2 ** 40), 'a block that ends at'),
  'list at 2^63': (_with_footer(2 ** 63, 4), 'a block that ends at'),
  'other block of 2^40 bytes': (_with_footer(0, 17, 2 ** 40), 'a block that ends at'),
  'numbers without an end': (b'x' * 20 + b'\xff' * 40 + _index(b'')[-8:], 'ten bytes'),
  '2^32 starts': (table([(b'b', b'\xff' * 8)]), '4,294,967,295 starts'),
  'no starts': (table([(b'b', bytes(8))]), '0 starts'),
  'no block': (table([(b'b', b'')]), 'a block without an end'),
  'start within an entry': (_raw_block(b'\0\1\1ab', (0, 2)), 'where no entry is'),
  'start at a shared name': (_raw_block(b'\0\1\0a\1\1\0b', (0, 4)), 'not within its block'),
  'shares more than there is': (_raw_block(b'\5\1\0a'), 'not within its block'),
  'value beyond': (_raw_block(b'\0\1\x7fa'), 'not within its block'),
  'value of 2^60': (_raw_block(b'\0\1' + varint(2 ** 60) + b'a'), 'not within its block'),
  'not sorted': (_table([(b'b', b''), (b'a', b'')]), 'not sorted'),
  'twice': (_table([(b'a', b''), (b'a', b'')]), 'not sorted'),
  'the same block again': (table([(b'a', block([(b'a', b'')]))], block(
    [(b'a', varint(0) + varint(12))] * 1000)), 'not sorted'),
  'place of a block and more': (table([(b'a', block([(b'a', b'')]))], block(
    [(b'a', varint(0) + varint(12) + b'x')])), 'something behind it'),
  'long names': (_raw_block(b'\0' + varint(2 ** 14) + b'\0' + bytes(2 ** 14) + b''.join(
    varint(2 ** 14) + b'\1\0' + bytes([i]) for i in range(1, 256))), 'longer names'),
  'many names': (_raw_block(b'\0\4\0\0\0\0\0' + b''.join(
    b'\0\4\0' + i.to_bytes(4, 'big') for i in range(1, 300_000))), 'more or longer names'),
}


@pytest.mark.parametrize('name', _TABLES)
def test_invalid_tables_are_rejected(tmp_path, name):
  data, message = _TABLES[name]
  (tmp_path / 'x').write_bytes(data)  # A checkpoint of the first format.
  _refused(str(tmp_path / 'x'), message)
  (tmp_path / 'x.index').write_bytes(data)
  _refused(str(tmp_path / 'x'), r'damaged \(')


_INDICES = {
  'no header': (table([]), 'header'),
  'header elsewhere': (_table([(b'a', _HEADER)]), '1 data files'),
  'no data files': (_index(_entry(), field(3, field(1, 1))), '0 data files'),
  '2^31 data files': (_index(_entry(), field(1, 2 ** 31) + field(3, b'')), '2,147,483,648 data'),
  'name that is no text': (_table([(b'', _HEADER), (b'\xff', _entry())]), 'utf-8'),
  'part that is none': (_table([(b'', _HEADER), (b'\0a', _entry(sizes=(-1,)))]), 'of the shape'),
}


@pytest.mark.parametrize('name', _INDICES)
def test_invalid_indices_are_rejected(tmp_path, name):
  index, message = _INDICES[name]
  _refused(_write(tmp_path, index), message)


def test_compressed_blocks_are_rejected(tmp_path):
  data = bytearray(_index(_entry()))
  end = data.index(b'a' + _entry()) + 1 + len(_entry()) + 8
  data[end] = 1
  _refused(_write(tmp_path, bytes(data)), 'a compressed block')


# The first format: one table.

def _first_format(sizes, *, dtype=1, numbers=field(5, _RAW)):
  everything = b''.join(field(1, b'') for _ in sizes)
  about = field(1, b'a') + field(2, shape(*sizes)) + field(3, dtype) + field(4, everything)
  key = b'\0a\0\1' + (b'\1' + bytes([len(sizes)]) if sizes else b'\0') + b'\x80\x7f' * len(sizes)
  tensor = field(2, field(1, b'a') + field(2, everything) + field(3, numbers))
  return _table([(b'', field(1, field(1, about) + field(2, field(1, 1)))), (key, tensor)])


def test_the_first_format(tmp_path):
  (tmp_path / 'x').write_bytes(_first_format((2,)))
  np.testing.assert_array_equal(Checkpoint(str(tmp_path / 'x')).read('a'), _NUMBERS)


_FIRST_FORMAT = {
  '2^30': (_first_format((2 ** 30,)), r'the shape \(1073741824,\) in'),
  '2^28 texts': (_first_format((2 ** 28,), dtype=7, numbers=field(8, b'a')), 'the shape'),
  '2^80': (_first_format((2 ** 40, 2 ** 40)), 'overflow'),
  'negative': (_first_format((-1,)), 'negative'),
  'more than there is': (_first_format((3,)), 'not found'),
  'unknown type': (_first_format((2,), dtype=99), 'Unexpected type'),
}


@pytest.mark.parametrize('name', _FIRST_FORMAT)
def test_invalid_files_of_the_first_format_are_rejected(tmp_path, name):
  data, message = _FIRST_FORMAT[name]
  (tmp_path / 'x').write_bytes(data)
  _refused(str(tmp_path / 'x'), message)


# What TensorFlow writes is read.

def test_data_in_several_files(tmp_path):
  """As saved by parameter servers, whose files are merged."""
  values = {'a': np.arange(5, dtype='f4'), 'b': np.arange(6, dtype='i8'), 'c': np.float16(3)}
  for name, value in values.items():
    tf.raw_ops.SaveV2(prefix=str(tmp_path / name), tensor_names=[name], tensors=[value],
                      shape_and_slices=[''])
  tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[str(tmp_path / name) for name in values],
                                destination_prefix=str(tmp_path / 'x'))
  assert (tmp_path / 'x.data-00002-of-00003').exists()
  checkpoint = Checkpoint(str(tmp_path / 'x'))
  for name, value in values.items():
    np.testing.assert_array_equal(checkpoint.read(name), value)
  os.remove(tmp_path / 'x.data-00002-of-00003')
  _refused(str(tmp_path / 'x'), 'No such file')


def test_types_and_many_names(tmp_path):
  values = {f'scope_{i // 10}/unit_{i}/weights': np.full((i % 3, 2), i, 'f4') for i in range(400)}
  values |= {code: np.ones((2, 1), code) for code in (
    'f8', 'f2', 'i8', 'i4', 'i2', 'i1', 'u8', 'u4', 'u2', 'u1', '?', 'c8', 'c16')}
  values['text'] = np.array([[b'one', b'', b'three' * 100]])
  tensors = {**values, 'bfloat16': tf.constant([1, 2], tf.bfloat16),
             'quantized': tf.quantization.quantize([1.0], 0, 1, tf.qint8).output}
  tf.raw_ops.SaveV2(prefix=str(tmp_path / 'x'), tensor_names=list(tensors),
                    tensors=list(tensors.values()), shape_and_slices=[''] * len(tensors))
  checkpoint = Checkpoint(str(tmp_path / 'x'))
  assert set(checkpoint.shapes) == set(tensors)
  for name, value in values.items():
    assert checkpoint.shapes[name] == value.shape
    np.testing.assert_array_equal(checkpoint.read(name), value)
  np.testing.assert_array_equal(checkpoint.read('bfloat16').astype('f4'), [1, 2])
  checkpoint.read('quantized')
  with pytest.raises(ValueError, match='no tensor'):
    checkpoint.read('nobody')


def test_tensors_in_parts_leave_the_others_readable(tmp_path):
  tf.raw_ops.SaveV2(prefix=str(tmp_path / 'x'), tensor_names=['parts', 'parts', 'whole'],
                    tensors=[np.ones((2, 3)), np.ones((2, 3)), np.ones(2)],
                    shape_and_slices=['4 3 0,2:0,3', '4 3 2,2:0,3', ''])
  checkpoint = Checkpoint(str(tmp_path / 'x'))
  assert checkpoint.shapes == {'parts': (4, 3), 'whole': (2,)}
  np.testing.assert_array_equal(checkpoint.read('whole'), [1, 1])
  with pytest.raises(ValueError, match='in parts'):
    checkpoint.read('parts')


@pytest.mark.slow
@pytest.mark.parametrize('name', [
  'checkpoint V2, index', pytest.param('checkpoint V1', marks=pytest.mark.thorough),
  pytest.param('checkpoint V2, data', marks=pytest.mark.thorough),
  pytest.param('checkpoint V2, object-based', marks=pytest.mark.thorough)])
def test_damaged_checkpoints_load_or_are_rejected(name):
  results = [*runs.read_damaged(name, 220)]  # Number 209 has a name that only one reader finds.
  assert len(results) == 220
  for result in results:
    assert result.outcome in (runs.LOADED, runs.REFUSED), result
    assert not result.events and result.mebibytes < 64, result
  assert {result.outcome for result in results} == {runs.LOADED, runs.REFUSED}
