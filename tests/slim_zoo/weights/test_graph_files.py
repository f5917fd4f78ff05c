"""Reading frozen graphs made with TensorFlow, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from slim_zoo.weights import graph_def
from slim_zoo.weights.graph_files import read_graph

v1 = tf.compat.v1
_RNG = np.random.default_rng(0)
_KERNEL, _BIAS = _RNG.normal(size=(3, 3, 2, 4)).astype('f4'), _RNG.normal(size=4).astype('f4')
_FLOATS = (tf.float32, tf.float64, tf.float16, tf.bfloat16)


def _graph(**tensors):
  graph = v1.GraphDef()
  for name, tensor in tensors.items():
    node = graph.node.add(name=name, op='Const')
    node.attr['dtype'].type = tensor.dtype
    node.attr['value'].tensor.CopyFrom(tensor)
  return graph


def _proto(kind, sizes, **values):
  proto = tf.make_tensor_proto(0, kind)
  proto.Clear()
  proto.dtype = kind.as_datatype_enum
  for size in sizes:
    proto.tensor_shape.dim.add(size=size)
  for field, value in values.items():
    if field == 'tensor_content':
      proto.tensor_content = value
    else:
      getattr(proto, field).extend(value)
  return proto


def _read(tmp_path, graph):
  data = graph if isinstance(graph, bytes) else graph.SerializeToString()
  (tmp_path / 'x.pb').write_bytes(data)
  return read_graph(tmp_path / 'x.pb')


@pytest.mark.parametrize('kind', _FLOATS)
@pytest.mark.parametrize('shape', [(4,), (1, 1), (2, 3, 1, 4), (0, 3)])
@pytest.mark.parametrize('how', ['bytes', 'listed', 'one value'])
def test_constants(tmp_path, kind, shape, how):
  values = _RNG.normal(size=shape).astype(kind.as_numpy_dtype)
  proto = tf.make_tensor_proto(values)
  if how == 'listed':  # TensorFlow writes few numbers so.
    field = {tf.float32: 'float_val', tf.float64: 'double_val'}.get(kind, 'half_val')
    listed = values.ravel()
    listed = listed.view(np.uint16).tolist() if field == 'half_val' else listed.tolist()
    proto = _proto(kind, shape, **{field: listed})
  elif how == 'one value' and values.size:
    values = np.full(shape, values.flat[0])
    proto = tf.make_tensor_proto(values.flat[0], kind, shape)
  found = _read(tmp_path, _graph(a=proto, b=tf.make_tensor_proto(_BIAS), c=tf.make_tensor_proto(3),
                                 d=tf.make_tensor_proto(3.0)))
  assert [*found] == ['a', 'b']
  np.testing.assert_array_equal(found['a'].astype(np.float64), tf.make_ndarray(proto).astype('f8'))
  np.testing.assert_array_equal(found['a'].astype(np.float64), values.astype('f8'))


def _whole():
  with tf.Graph().as_default() as graph:
    images = v1.placeholder(tf.float32, [1, 5, 5, 2])
    with tf.name_scope('a/conv'):
      net = tf.nn.conv2d(images, tf.identity(tf.constant(_KERNEL, name='w')), 1, 'SAME')
      net = tf.nn.relu6(tf.nn.bias_add(net, tf.constant(_BIAS, name='b')))
    with tf.name_scope('a/dense'):
      net = tf.matmul(tf.reduce_mean(net, [1, 2]), tf.constant(_KERNEL[0, 0].T), transpose_b=False,
                      name='one')
      net = tf.matmul(net, tf.constant(_KERNEL[1, 1].T), transpose_b=True, name='two')
    with tf.name_scope('a/half'):
      net = tf.matmul(net, tf.cast(tf.constant(_KERNEL[0, 1].T.astype('f2')), tf.float32))
    tf.nn.softmax(net)
  return graph.as_graph_def()


def test_layers(tmp_path):
  found = {name.partition(';')[0].partition(' :')[0] + name[name.rindex(' : '):]: array
           for name, array in _read(tmp_path, _whole()).items()}
  expected = {'a/conv/Conv2D : kernel': _KERNEL, 'a/conv/BiasAdd : offset before ReLU6': _BIAS,
              'a/dense/one : kernel': _KERNEL[0, 0].T, 'a/dense/two : kernel': _KERNEL[1, 1],
              'a/half/MatMul : kernel': _KERNEL[0, 1].T.astype('f2')}
  assert found.keys() == expected.keys()
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array, name)


def _circle():
  graph = v1.GraphDef()
  for name, other in ('ab', 'ba'):
    graph.node.add(name=name, op='Identity', input=[other])
  graph.node.add(name='c', op='Conv2D', input=['a', 'b'])
  return graph


def _twice():
  graph = _graph(a=tf.make_tensor_proto(_BIAS))
  graph.node.extend(list(graph.node))
  return graph


_ATTACKS = {
  'empty': b'', 'text': b'hello, here is no graph', 'no weights': _graph(a=tf.make_tensor_proto(3)),
  'a saved model': b'\x08\x01\x12\x04\x12\x02ab',
  '2^40 by one value': _graph(a=_proto(tf.float32, [2 ** 40], float_val=[1.0])),
  '2^40 by no value': _graph(a=_proto(tf.float32, [2 ** 20, 2 ** 20])),
  '2^40 by bytes': _graph(a=_proto(tf.float32, [2 ** 20, 2 ** 20], tensor_content=bytes(4))),
  '2^120': _graph(a=_proto(tf.float32, [2 ** 40] * 3, float_val=[1.0])),
  'many of 2^20': _graph(**{f'a{i}': _proto(tf.float32, [2 ** 20], float_val=[1.0])
                            for i in range(1000)}),
  'negative': _graph(a=_proto(tf.float32, [-1, -4], tensor_content=bytes(16))),
  'many dimensions': _graph(a=_proto(tf.float32, [1] * 100, float_val=[1.0])),
  'more values': _graph(a=_proto(tf.float32, [2], float_val=[1.0] * 3)),
  'more bytes': _graph(a=_proto(tf.float32, [2], tensor_content=bytes(9))),
  'more than 16 bits': _graph(a=_proto(tf.float16, [1], half_val=[2 ** 20])),
  'a circle': _circle(),
  'twice': _twice(),
  'names of parts': _graph(**{'a : kernel': tf.make_tensor_proto(_BIAS)}),
  'empty nodes': b'\x0a\x00' * 10 ** 6,
  'empty fields': b'\x0a\x80\x80\x08' + b'\x1a\x00' * 2 ** 16,
  'nested': b'\x0a\xff\x01' * 10 ** 5,
}


def _message(number, content):
  """Writes a length-delimited field."""
  size, length = len(content), b''
  while size > 127:
    size, length = size >> 7, length + bytes([size & 127 | 128])
  return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _lists(size):
  """A node with many empty strings in one attribute, which take eight times as much memory."""
  values = _message(1, b'\x12\x00' * (size // 2))
  attribute = _message(1, b'value') + _message(2, values)
  return _message(1, _message(1, b'a') + _message(5, attribute))


def test_sizes_are_checked_before_parsing():
  nodes = graph_def.parse(memoryview(_lists(2 ** 20)))
  assert len(nodes['a'].attr['value'].list.s) == 2 ** 19
  with pytest.raises(ValueError, match=f'{2 ** 24:,}'):
    graph_def.parse(memoryview(_lists(2 ** 24)))
  large = _graph(a=_proto(tf.float32, [2 ** 23], tensor_content=bytes(2 ** 25)))  # Large numbers.
  assert [*graph_def.parse(memoryview(large.SerializeToString()))] == ['a']


def _bytes(graph):
  return graph if isinstance(graph, bytes) else graph.SerializeToString()


def test_attacks_are_rejected(tmp_path, attacks):
  outcomes = attacks.read_guarded(tmp_path / 'files',
                                  ('slim_zoo.weights.graph_files', 'read_graph'),
                                  {name: _bytes(graph) for name, graph in _ATTACKS.items()})
  assert [name for name, outcome in outcomes.items() if not outcome.startswith('refused')] == []
  assert '1099511627776' in outcomes['2^40 by one value']
  assert 'saved_model.pb' in outcomes['a saved model']


def test_damaged_files_load_or_are_rejected(tmp_path, attacks):
  whole = _whole().SerializeToString()
  files = {str(i): damaged for i, damaged in enumerate(attacks.mutations(whole, 200, 'graph'))}
  outcomes = attacks.read_guarded(tmp_path / 'files',
                                  ('slim_zoo.weights.graph_files', 'read_graph'),
                                  {'whole': whole, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded ModelArrays' and 50 < refused < 200  # Both happen.
