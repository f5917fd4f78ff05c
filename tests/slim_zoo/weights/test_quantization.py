"""Quantized models of TensorFlow Lite, written field by field: what they mean, and attacks."""

from __future__ import annotations

import struct

import flatbuffers
import numpy as np
import pytest
from tflite_writer import finish, reference, table, vector

from slim_zoo.weights import sources
from slim_zoo.weights.tflite_files import read_tflite

_CODES = {'f4': 0, 'i4': 2, 'u1': 3, 'i8': 4, 'i2': 7, 'i1': 9, 'int4': 17, 'float64': 10}
_CONV, _DEPTHWISE, _CONNECTED = 3, 4, 9
_READER = 'slim_zoo.weights.tflite_files', 'read_tflite'


def _tensor(builder, tensor, name, buffer):
  shape, text = vector(builder, tensor['shape'], 'Int32'), builder.CreateString(name)
  fields = {0: reference(shape), 1: ('Int8', _CODES[tensor['type']]), 2: ('Uint32', buffer),
            3: reference(text)}
  if 'scales' in tensor:
    scales = vector(builder, tensor['scales'], 'Float32')
    zeros = vector(builder, tensor.get('zeros', [0] * len(tensor['scales'])), 'Int64')
    fields[4] = reference(table(builder, {
      2: reference(scales), 3: reference(zeros), 4: ('Uint8', tensor.get('details', 0)),
      6: ('Int32', tensor.get('dimension', 0))}))
  return table(builder, fields)


def _model(kernel, biases=None, *, code=_CONV, times=1):
  """Writes a model of one operator.

  Args:
    kernel, biases: `{'type', 'shape', 'data', 'scales', 'zeros', 'dimension', 'details'}`.
    code: the operator's.
    times: number of operators, each with a tensor of its own for the same kernel.
  """
  builder = flatbuffers.Builder()
  stored = [tensor for tensor in (kernel, biases) if tensor]
  data = [builder.CreateByteVector(tensor['data']) for tensor in stored]
  buffers = vector(builder, [table(builder, {}), *(table(builder, {0: reference(place)})
                                                     for place in data)])
  result = {'type': 'f4', 'shape': [1]}
  tensors = [_tensor(builder, result, 'net/conv1/Relu', 0)]
  tensors += [_tensor(builder, tensor, f'net/conv1/{i}', i + 1) for i, tensor in enumerate(stored)]
  extra = [_tensor(builder, kernel, 'k', 1) for _ in range(times - 1)]
  operators = []
  for place in (1, *range(len(tensors), len(tensors) + len(extra))):
    inputs = vector(builder, [0, place, *([2] if biases else [])], 'Int32')
    outputs = vector(builder, [0], 'Int32')
    operators.append(table(builder, {1: reference(inputs), 2: reference(outputs)}))
  graph = table(builder, {0: reference(vector(builder, tensors + extra)),
                           3: reference(vector(builder, operators))})
  return finish(builder, codes=[code], graph=graph, buffers=buffers)


def _of(kind, numbers, shape, **parameters):
  data = np.array(numbers, kind if kind in ('i1', 'u1', 'i2', 'i4', 'i8', 'f4') else 'u1').tobytes()
  return {'type': kind, 'shape': list(shape), 'data': data, **parameters}


# A kernel [outputs, height, width, inputs] of two outputs with three inputs each, its parameters,
# and the values that they mean, [inputs, outputs].
_EIGHT = [-128, 0, 127, 4, -4, 2]
_MEANINGS = {
  'int8, one scale': (_of('i1', _EIGHT, (2, 1, 1, 3), scales=[0.5]),
                      [[-64, 2], [0, -2], [63.5, 1]], 'int8'),
  'int8, a zero point': (_of('i1', _EIGHT, (2, 1, 1, 3), scales=[0.5], zeros=[-4]),
                         [[-62, 4], [2, 0], [65.5, 3]], 'int8'),
  'int8 per output': (_of('i1', _EIGHT, (2, 1, 1, 3), scales=[0.5, 2]),
                      [[-64, 8], [0, -8], [63.5, 4]], 'int8'),
  'int8 per output, zero points': (
    _of('i1', _EIGHT, (2, 1, 1, 3), scales=[0.5, 2], zeros=[0, 2]),
    [[-64, 4], [0, -12], [63.5, 0]], 'int8'),
  'int8 per input': (_of('i1', _EIGHT, (2, 1, 1, 3), scales=[1, 2, 4], dimension=3),
                     [[-128, 4], [0, -8], [508, 8]], 'int8'),
  'uint8': (_of('u1', [0, 131, 255, 130, 132, 133], (2, 1, 1, 3), scales=[0.25], zeros=[131]),
            [[-32.75, -0.25], [0, 0.25], [31, 0.5]], 'uint8'),
  'int16': (_of('i2', [-32768, 0, 3, 1, 2, 4], (2, 1, 1, 3), scales=[0.5]),
            [[-16384, 0.5], [0, 1], [1.5, 2]], 'int16'),
  'floats': (_of('f4', _EIGHT, (2, 1, 1, 3)), [[-128, 4], [0, -4], [127, 2]], ''),
}


def _read(tmp_path, data):
  (tmp_path / 'x.tflite').write_bytes(data)
  arrays = read_tflite(tmp_path / 'x.tflite')
  return {name.rpartition(' : ')[2]: array for name, array in arrays.items()}


@pytest.mark.parametrize('name', _MEANINGS)
def test_kernels(tmp_path, name):
  kernel, expected, integers = _MEANINGS[name]
  (part, found), = _read(tmp_path, _model(kernel)).items()
  assert part == ('kernel' if name == 'floats' else f'kernel of {integers}')
  assert found.shape == (1, 1, 3, 2) and found.dtype == np.float32
  np.testing.assert_array_equal(found[0, 0], expected)
  assert sources.open_weights(str(tmp_path / 'x.tflite')).integers == integers


@pytest.mark.parametrize('code, shape, dimension, part, expected', [
  (_CONNECTED, (2, 3), 0, 'kernel', [[-64, 8], [0, -8], [63.5, 4]]),
  (_DEPTHWISE, (1, 3, 1, 2), 3, 'depthwise_kernel',
   [[[[-64], [0]]], [[[63.5], [8]]], [[[-2], [4]]]])])
def test_kernels_of_other_operators(tmp_path, code, shape, dimension, part, expected):
  kernel = _of('i1', _EIGHT, shape, scales=[0.5, 2], dimension=dimension)
  found = _read(tmp_path, _model(kernel, code=code))
  np.testing.assert_array_equal(found[f'{part} of int8'], expected)


@pytest.mark.parametrize('biases, expected', [
  (_of('i4', [2 ** 30, -3], (2,), scales=[0.5]), [2 ** 29, -1.5]),
  (_of('i4', [2 ** 30, -3], (2,), scales=[0.5, 4]), [2 ** 29, -12]),
  (_of('i8', [2 ** 40, -3], (2,), scales=[0.5]), [2 ** 39, -1.5]),
  (_of('f4', [0.5, -3], (2,)), [0.5, -3])])
def test_biases(tmp_path, biases, expected):
  found = _read(tmp_path, _model(_MEANINGS['int8, one scale'][0], biases))
  np.testing.assert_array_equal(found['bias'], expected)


_BIASES = _of('i4', [1, 2], (2,), scales=[0.5])


def _kernel(kind='i1', **parameters):
  return _of(kind, range(6), (2, 1, 1, 3), **{'scales': [0.5], **parameters})


_INF, _NAN = float('inf'), float('nan')
_ATTACKS = {
  'two zero points of one scale': _model(_kernel(zeros=[0, 0])),
  'no zero points': _model(_kernel(zeros=[])),
  'three scales': _model(_kernel(scales=[1, 1, 1])),
  'scales of nothing': _model({**_kernel(scales=[1] * 9), 'shape': [9, 0], 'data': b'\0'}),
  'three zero points': _model(_kernel(scales=[1, 1], zeros=[0, 0, 0])),
  'many scales': _model(_kernel(scales=[1] * 1000)),
  'another dimension': _model(_kernel(scales=[1, 1], dimension=3)),
  'dimension 4': _model(_kernel(scales=[1, 1], dimension=4)),
  'dimension -1': _model(_kernel(scales=[1, 1, 1], dimension=-1)),
  'dimension 2^31 - 1': _model(_kernel(scales=[1, 1], dimension=2 ** 31 - 1)),
  'scale 0': _model(_kernel(scales=[0])),
  'second scale 0': _model(_kernel(scales=[1, 0])),
  'negative scale': _model(_kernel(scales=[-1])),
  'scale NaN': _model(_kernel(scales=[_NAN])),
  'second scale NaN': _model(_kernel(scales=[1, _NAN])),
  'infinite scale': _model(_kernel(scales=[_INF])),
  'too large a scale': _model(_kernel(scales=[3e38])),
  'zero point 128 of int8': _model(_kernel(zeros=[128])),
  'zero point -1 of uint8': _model(_kernel('u1', zeros=[-1])),
  'zero point 256 of uint8': _model(_kernel('u1', zeros=[256])),
  'zero point 2^63 - 1': _model(_kernel(zeros=[2 ** 63 - 1])),
  'zero point of biases': _model(_kernel(), {**_BIASES, 'zeros': [1]}),
  'scales of biases': _model(_kernel(), {**_BIASES, 'scales': [1, 1, 1]}),
  'biases without scales': _model(_kernel(), _of('i4', [1, 2], (2,))),
  'no scales': _model(_kernel(scales=[])),
  'no parameters': _model(_of('i1', range(6), (2, 1, 1, 3))),
  'in blocks': _model(_kernel(details=2)),
  'int4': _model(_of('int4', range(3), (2, 1, 1, 3), scales=[1])),
  'float64': _model(_of('float64', range(48), (2, 1, 1, 3))),
  'more integers than bytes': _model({**_kernel(), 'shape': [2, 1, 1, 300]}),
  'scales beyond the file': _model(_kernel(scales=[0.5, 0.5])).replace(
    struct.pack('<I2f', 2, 0.5, 0.5), struct.pack('<I2f', 2 ** 31, 0.5, 0.5)),
}


def test_attacks_are_refused(tmp_path, attacks):
  outcomes = attacks.read_guarded(tmp_path / 'files', _READER, _ATTACKS)
  assert [name for name, outcome in outcomes.items() if not outcome.startswith('refused')] == []
  for name, reason in {'three scales': '3 scales along the dimension 0', 'int4': 'int4',
                       'no parameters': 'int8 without scales', 'scale NaN': 'positive',
                       'zero point 128 of int8': '128 of int8',
                       'scales beyond the file': '2,147,483,648'}.items():
    assert reason in outcomes[name]


def test_kernels_that_are_shared(tmp_path, attacks):
  """What is there once must not become much by being named often."""
  kernel = _of('i1', np.zeros(2 ** 18), (2 ** 9, 1, 1, 2 ** 9), scales=[1])
  files = {f'{times}': _model(kernel, times=times) for times in (1, 100)}
  outcomes = attacks.read_guarded(tmp_path / 'files', _READER, files)
  assert outcomes['1'] == 'loaded ModelArrays'
  assert 'more integers than the file' in outcomes['100']


def test_damaged_files_load_or_are_refused(tmp_path, attacks):
  whole = _model(_kernel(scales=[0.5, 2]), _BIASES)
  files = {str(i): damaged for i, damaged in enumerate(attacks.mutations(whole, 200, 'quantized'))}
  outcomes = attacks.read_guarded(tmp_path / 'files', _READER, {'whole': whole, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded ModelArrays' and 50 < refused < 200  # Both happen.
