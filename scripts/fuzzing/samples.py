"""Small undamaged files of every format of weights."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import pathlib
import pickle
import random
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable

import numpy as np

from scripts.fuzzing import mutations
from scripts.fuzzing.writers import field

# Events that only a reader with a child process may cause.
CHILD_PROCESS = ('subprocess.Popen', 'os.posix_spawn', 'os.fork', '_posixsubprocess.', 'tempfile.',
                 'os.mkdir', 'os.scandir', 'os.listdir', 'os.remove', 'os.rmdir', 'shutil.rmtree',
                 'open', 'signal.')


@dataclasses.dataclass(frozen=True)
class Sample:
  """An undamaged file, or the files of a checkpoint.

  Attributes:
    make: `make() -> {name: bytes}` makes the files.
    path: name of the file to open.
    damage: `damage(data, rng)` returns a damaged copy of one of them.
    damaged: name of the file that is damaged; by default `path`.
    events: prefixes of audit events that its reader may cause.
  """
  make: Callable[[], dict[str, bytes]]
  path: str
  damage: Callable[[bytes, random.Random], bytes] = mutations.damage
  damaged: str = ''
  events: tuple[str, ...] = ()

  def __post_init__(self):
    if not self.damaged:
      object.__setattr__(self, 'damaged', self.path)


def _arrays() -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  return {'conv1/weights': rng.normal(size=(2, 1, 2, 3)).astype(np.float32),
          'conv1/biases': np.arange(3, dtype=np.float32)}


def _layers() -> dict[str, list[np.ndarray]]:
  return {'conv1': list(_arrays().values())}


def _npy() -> bytes:
  file = io.BytesIO()
  np.save(file, np.array(_layers(), dtype=object))
  return file.getvalue()


def _pickle() -> bytes:
  weights, biases = _arrays().values()
  return pickle.dumps({b'conv1': {b'weights': weights, b'biases': biases}}, 2)


def _caffemodel() -> bytes:
  blobs = []
  for array in _arrays().values():
    dims = b''.join(field(1, size) for size in array.shape)
    blobs.append(field(7, field(5, array.tobytes()) + field(7, dims)))
  return field(1, 'AlexNet') + field(
    100, field(1, 'conv1') + field(2, 'Convolution') + b''.join(blobs))


def _old_caffemodel() -> bytes:
  blobs = []
  for array in _arrays().values():
    shape = (1,) * (4 - array.ndim) + array.shape
    blobs.append(field(6, b''.join(field(i, size) for i, size in enumerate(shape, start=1))
                       + field(5, array.tobytes())))
  return field(2, field(4, 'conv1') + field(5, 4) + b''.join(blobs))


def _safetensors() -> bytes:
  header, data = {}, b''
  for name, array in _arrays().items():
    header[name] = {'dtype': 'F32', 'shape': array.shape,
                    'data_offsets': [len(data), len(data) + array.nbytes]}
    data += array.tobytes()
  text = json.dumps(header).encode()
  return struct.pack('<Q', len(text)) + text + data


def _text(text: str) -> bytes:
  return b'X' + struct.pack('<I', len(text)) + text.encode()


def _state_dict(end: bytes) -> bytes:
  """Pickles a state dict as PyTorch does; `end` is appended to each of its references."""
  result, ordered = b'\x80\x02ccollections\nOrderedDict\n)R', b'ccollections\nOrderedDict\n)R'
  for key, (name, array) in enumerate(_arrays().items()):
    strides = np.array(array.strides) // 4
    numbers = [b'(' + b''.join(b'K' + bytes([n]) for n in row) + b't'
               for row in (array.shape, strides)]
    result += (_text(name) + b'ctorch._utils\n_rebuild_tensor_v2\n((' + _text('storage')
               + b'ctorch\nFloatStorage\n' + _text(str(key)) + _text('cpu') + b'K'
               + bytes([array.size]) + end + b'tQK\0' + b''.join(numbers) + b'\x89' + ordered
               + b'tRs')
  return result + b'.'


def _zipped(members: dict[str, bytes]) -> bytes:
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w') as archive:
    for name, data in members.items():
      archive.writestr(zipfile.ZipInfo(name), data)
  return file.getvalue()


def _torch() -> bytes:
  members = {'x/data.pkl': _state_dict(b''), 'x/version': b'3\n'}
  members |= {f'x/data/{i}': array.tobytes() for i, array in enumerate(_arrays().values())}
  return _zipped(members)


def _old_torch() -> bytes:
  facts = {'protocol_version': 1001, 'little_endian': True,
           'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
  parts = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, facts)]
  parts += [_state_dict(b'N'), pickle.dumps(['0', '1'], 2)]
  parts += [struct.pack('<q', array.size) + array.tobytes() for array in _arrays().values()]
  return b''.join(parts)


def _written(write: Callable[[str], None], name: str) -> dict[str, bytes]:
  """Returns the files that `write(path)` writes to a folder."""
  with tempfile.TemporaryDirectory() as folder:
    write(os.path.join(folder, name))
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def _keras(name: str) -> dict[str, bytes]:
  import keras

  model = keras.Sequential([
    keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(2, 1, name='conv1'),
    keras.layers.BatchNormalization(name='bn'), keras.layers.Dense(2, name='fc')])
  save = model.save_weights if name.endswith('.weights.h5') else model.save
  return _written(save, name)


def _frozen_graph() -> bytes:
  import tensorflow as tf

  with tf.Graph().as_default() as graph:
    images = tf.compat.v1.placeholder(tf.float32, [1, 4, 4, 2], name='images')
    weights, biases = (tf.constant(array, name=name) for name, array in _arrays().items())
    tf.nn.bias_add(tf.nn.conv2d(images, weights, 1, 'SAME', name='conv1/Conv2D'), biases)
  return graph.as_graph_def().SerializeToString(deterministic=True)


def _tflite_converter():
  import tensorflow as tf

  weights, biases = _arrays().values()

  @tf.function(input_signature=[tf.TensorSpec([1, 4, 4, 2])])
  def network(images):
    return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, weights, 1, 'SAME'), biases))

  return tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])


def _tflite() -> bytes:
  return _tflite_converter().convert()


def _quantized_tflite() -> bytes:
  """Kernels of int8 with one scale per output, biases of int32."""
  import tensorflow as tf

  rng = np.random.default_rng(1)
  converter = _tflite_converter()
  converter.optimizations = [tf.lite.Optimize.DEFAULT]
  converter.representative_dataset = lambda: (
    [rng.normal(size=(1, 4, 4, 2)).astype(np.float32)] for _ in range(4))
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Of statistics that only other kinds of quantization need.
    return converter.convert()


def _checkpoint() -> dict[str, bytes]:
  """A checkpoint in format V2."""
  import tensorflow as tf

  values = {**_arrays(), 'step': np.int64(7), 'text': np.array([b'one', b'two'])}

  def write(path):
    tf.raw_ops.SaveV2(prefix=path, tensor_names=list(values), tensors=list(values.values()),
                      shape_and_slices=[''] * len(values))

  return _written(write, 'x')


def _object_based() -> dict[str, bytes]:
  import tensorflow as tf

  def write(path):
    variables = {name: tf.Variable(array) for name, array in _arrays().items()}
    tf.train.Checkpoint(**{name.replace('/', '_'): v for name, v in variables.items()}).write(path)

  return _written(write, 'x')


def _old_checkpoint() -> bytes:
  import tensorflow as tf

  values = {**_arrays(), 'step': np.int64(7)}
  files = _written(lambda path: tf.raw_ops.Save(
    filename=path, tensor_names=list(values), data=list(values.values())), 'x.ckpt')
  return files['x.ckpt']


def _tfjs(dtype: str = 'float32') -> dict[str, bytes]:
  """A layers model of TensorFlow.js with one shard."""
  weights, data = [], b''
  for name, array in _arrays().items():
    weights.append({'name': name, 'shape': array.shape, 'dtype': 'float32'})
    if dtype != 'float32':
      low, high = float(array.min()), float(array.max())
      scale = (high - low) / 255
      weights[-1]['quantization'] = {'dtype': dtype, 'min': low, 'scale': scale}
      array = ((array - low) / scale).astype(dtype)
    data += array.tobytes()
  layers = [{'class_name': 'Conv2D', 'config': {'name': 'conv1'}}]
  model = {'format': 'layers-model', 'modelTopology': {'class_name': 'Model', 'config': {
    'layers': layers}}, 'weightsManifest': [{'paths': ['x.bin'], 'weights': weights}]}
  return {'model.json': json.dumps(model).encode(), 'x.bin': data,
          'metadata.json': b'{"labels": ["a", "b"]}'}


def _one(path: str, make: Callable[[], bytes],
         damage: Callable[[bytes, random.Random], bytes] = mutations.damage) -> Sample:
  """A single file."""
  return Sample(lambda: {path: make()}, path, damage)


def _in_a_child(path: str) -> Sample:
  """A Keras file, which is read in a child process."""
  return Sample(lambda: _keras(path), path, events=CHILD_PROCESS)


SAMPLES: dict[str, Sample] = {
  'npy': _one('x.npy', _npy),
  'pickle': _one('x.p', _pickle),
  'caffemodel': _one('x.caffemodel', _caffemodel),
  'caffemodel, old': _one('x.caffemodel', _old_caffemodel),
  'safetensors': _one('x.safetensors', _safetensors),
  'torch': _one('x.pth', _torch),
  'torch, old': _one('x.pth', _old_torch),
  'tflite': _one('x.tflite', _tflite),
  'tflite, quantized': _one('x.tflite', _quantized_tflite),
  'frozen graph': _one('x.pb', _frozen_graph),
  'keras h5': _in_a_child('x.h5'),
  'keras weights.h5': _in_a_child('x.weights.h5'),
  'keras': _in_a_child('x.keras'),
  'tfjs': Sample(_tfjs, 'model.json'),
  'tfjs, quantized': Sample(lambda: _tfjs('uint8'), 'model.json'),
  'tfjs, shard': Sample(lambda: _tfjs('uint8'), 'model.json', damaged='x.bin'),
  'tfjs, labels': Sample(_tfjs, 'model.json', damaged='metadata.json'),
  'checkpoint V1': _one('x.ckpt', _old_checkpoint, mutations.damage_table),
  'checkpoint V2, index': Sample(_checkpoint, 'x', mutations.damage_table, 'x.index'),
  'checkpoint V2, data': Sample(_checkpoint, 'x', damaged='x.data-00000-of-00001'),
  'checkpoint V2, object-based': Sample(_object_based, 'x', mutations.damage_table, 'x.index'),
}
