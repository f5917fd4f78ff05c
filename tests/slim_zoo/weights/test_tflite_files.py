"""Models of TensorFlow Lite: made by its converter, read by our reader, damaged in many ways."""

from __future__ import annotations

import struct

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from tflite_writer import finish, reference, table, vector

from slim_zoo.weights.tflite_files import read_tflite

_RNG = np.random.default_rng(0)
_CONV, _DEPTHWISE, _DENSE, _BIAS, _SCALE = (
  _RNG.normal(size=shape).astype(np.float32)
  for shape in ((3, 3, 2, 4), (3, 2, 4, 2), (8, 5), (4,), (8,)))


@pytest.fixture(scope='module')
def model():
  @tf.function(autograph=False, input_signature=[tf.TensorSpec([1, 5, 6, 2])])
  def network(images):
    with tf.name_scope('a/conv'):
      net = tf.nn.relu6(tf.nn.bias_add(tf.nn.conv2d(images, _CONV, 1, 'SAME'), _BIAS))
    with tf.name_scope('a/depthwise'):
      net = tf.nn.relu(tf.nn.depthwise_conv2d(net, _DEPTHWISE, [1] * 4, 'SAME'))
    with tf.name_scope('a/norm'):
      net = tf.nn.relu(tf.nn.relu(net * _SCALE + 2 * _SCALE))
    with tf.name_scope('a/dense'):
      return tf.reduce_mean(net, [1, 2]) @ _DENSE

  return tf.lite.TFLiteConverter.from_concrete_functions(
    [network.get_concrete_function()], network).convert()


def _read(tmp_path, data):
  (tmp_path / 'x.tflite').write_bytes(data)
  return read_tflite(tmp_path / 'x.tflite')


def test_layers(tmp_path, model):
  arrays = _read(tmp_path, model)
  found = {(name.split('/')[1], name.rpartition(' : ')[2]): array
           for name, array in arrays.items()}
  expected = {('conv', 'kernel'): _CONV, ('conv', 'bias before ReLU6'): _BIAS,
              ('depthwise', 'depthwise_kernel'): _DEPTHWISE.reshape(3, 2, 8, 1),
              ('norm', 'scale'): _SCALE, ('norm', 'offset'): 2 * _SCALE,
              ('dense', 'kernel'): _DENSE}
  for key, value in expected.items():
    np.testing.assert_array_equal(found.pop(key), value, str(key))
  assert all(not array.any() for array in found.values())  # Biases where there were none.


# Attacks. A table's fields are found through its vtable, which is before it.

def _field(data, table, number):
  """Returns where a field of a table is."""
  fields = table - struct.unpack_from('<i', data, table)[0]
  return table + struct.unpack_from('<H', data, fields + 4 + 2 * number)[0]


def _target(data, at):
  return at + struct.unpack_from('<I', data, at)[0]


def _changed(data, at, code, value):
  data = bytearray(data)
  struct.pack_into('<' + code, data, at, value)
  return bytes(data)


def _shape(data, sizes):
  """Gives the first kernel another shape."""
  old = struct.pack('<5I', 4, 4, 3, 3, 2)
  assert data.count(old) == 1
  return data.replace(old, struct.pack('<5I', 4, *sizes))


def _attacks(data):
  root = _target(data, 0)
  graphs, buffers = (_target(data, _field(data, root, number)) for number in (2, 4))
  graph = _target(data, graphs + 4)
  operators = _target(data, _field(data, graph, 3))
  return {
    'empty': b'', 'short': data[:6], 'cut': data[:len(data) // 2], 'another': b'\0' * 100,
    'no identifier': data.replace(b'TFL3', b'TFL2'),
    'root beyond': _changed(data, 0, 'I', len(data)),
    'root at the end': _changed(data, 0, 'I', len(data) - 2),
    'vtable beyond': _changed(data, root, 'i', -2 ** 31),
    'vtable before': _changed(data, root, 'i', 2 ** 31 - 1),
    'vtable is the table': _changed(data, root, 'i', 0),
    'graphs beyond': _changed(data, _field(data, root, 2), 'I', 2 ** 32 - 1),
    'many graphs': _changed(data, graphs, 'I', 2 ** 32 - 1),
    'no graphs': _changed(data, graphs, 'I', 0),
    'graph is its vector': _changed(data, graphs + 4, 'I', 0),
    'many operators': _changed(data, operators, 'I', 2 ** 30),
    'operators far away': _changed(data, _field(data, graph, 3), 'I', 2 ** 32 - 64),
    'many buffers': _changed(data, buffers, 'I', 2 ** 31),
    'few buffers': _changed(data, buffers, 'I', 1),
    '2^40 elements': _shape(data, (2 ** 20, 2 ** 20, 1, 1)),
    '2^120 elements': _shape(data, (2 ** 30,) * 4),
    'negative': _shape(data, (2 ** 32 - 4, 2 ** 32 - 3, 3, 2)),
    'less elements': _shape(data, (4, 3, 3, 1)),
    'another rank': _shape(data, (4, 3, 3, 2)).replace(struct.pack('<2I', 4, 4),
                                                       struct.pack('<2I', 2, 4)),
  }


def test_attacks_are_refused(tmp_path, model, attacks):
  outcomes = attacks.read_guarded(tmp_path / 'files',
                                  ('slim_zoo.weights.tflite_files', 'read_tflite'),
                                  _attacks(model))
  assert [name for name, outcome in outcomes.items() if not outcome.startswith('refused')] == []
  assert '1,099,511,627,776' not in outcomes['2^40 elements']
  assert '(1048576, 1048576, 1, 1) with 288 bytes' in outcomes['2^40 elements']


def test_damaged_files_load_or_are_refused(tmp_path, model, attacks):
  files = {str(i): damaged for i, damaged in enumerate(attacks.mutations(model, 200, 'tflite'))}
  outcomes = attacks.read_guarded(tmp_path / 'files',
                                  ('slim_zoo.weights.tflite_files', 'read_tflite'),
                                  {'whole': model, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded ModelArrays' and 50 < refused < 200  # Both happen.


def _shared(count, length):
  """A model whose operators are one and the same, with a long name."""
  builder = flatbuffers.Builder()
  number = builder.CreateByteVector(bytes(4))
  buffers = vector(builder, [table(builder, {}), table(builder, {0: reference(number)})])
  shape, name = vector(builder, [1] * 4, 'Int32'), builder.CreateString('n' * length)
  tensors = vector(builder, [table(builder, {0: reference(shape), 2: ('Uint32', 1),
                                             3: reference(name)})] * 3)
  indices = vector(builder, [0, 1, 2], 'Int32')
  operator = table(builder, {1: reference(indices), 2: reference(indices)})
  operators = vector(builder, [operator] * count)
  graph = table(builder, {0: reference(tensors), 3: reference(operators)})
  return finish(builder, codes=[3], graph=graph, buffers=buffers)


def test_tables_that_are_shared(tmp_path, attacks):
  """What is there once must not become much by being named often."""
  files = {'few': _shared(3, 5), 'many': _shared(5_000, 5), 'long': _shared(2_000, 10_000),
           'too many': _shared(200_000, 1)}
  outcomes = attacks.read_guarded(tmp_path / 'files',
                                  ('slim_zoo.weights.tflite_files', 'read_tflite'),
                                  files)
  assert outcomes['few'] == 'loaded ModelArrays'
  assert 'longer than the file' in outcomes['long']
  assert '200,000 tables' in outcomes['too many']
