"""Caffe's networks from each of their formats, against a forward pass in NumPy."""

from __future__ import annotations

import importlib.util
import pathlib
import struct

import numpy as np
import pytest

from files.unpickling import read_pickle
from nets import nets_factory, outline
from preprocessing import preprocessing_factory
from slim_zoo.weights import restore, sources
from slim_zoo.weights.caffe_files import read_caffemodel, read_npy
from slim_zoo.weights.restore import RESTORED


@pytest.fixture(scope='module')
def parity():
  """The forward pass of `tests/nets`, loaded by path, since tests are not a package."""
  path = pathlib.Path(__file__).parents[2] / 'nets' / 'test_numpy_parity.py'
  spec = importlib.util.spec_from_file_location('numpy_parity', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


# Protocol buffers, written according to their specification.

def _varint(number):
  number &= 2 ** 64 - 1
  result = b''
  while number > 127:
    result, number = result + bytes([number & 127 | 128]), number >> 7
  return result + bytes([number])


def _field(number, value):
  if isinstance(value, int):
    return _varint(number << 3) + _varint(value)
  value = value.encode() if isinstance(value, str) else value
  return _varint(number << 3 | 2) + _varint(len(value)) + value


def _old_blob(array):
  """Four dimensions, with ones in front."""
  shape = (1,) * (4 - array.ndim) + array.shape
  return b''.join(_field(i, n) for i, n in enumerate(shape, start=1)) + _field(
    5, array.astype('<f4').tobytes())


def _blob(array):
  return _field(5, array.astype('<f4').tobytes()) + _field(
    7, _field(1, b''.join(map(_varint, array.shape))))


def _unpacked_blob(array):
  return b''.join(_field(7, _field(1, n)) for n in array.shape) + _field(
    8, array.astype('<f8').tobytes())


_OLD_TYPES = {'Convolution': 4, 'InnerProduct': 14, 'LRN': 15, 'Pooling': 17, 'ReLU': 18}


def _old_layer(name, kind, bottom, top, blobs=()):
  return _field(2, _field(2, bottom) + _field(3, top) + _field(4, name)
                + _field(5, _OLD_TYPES[kind]) + b''.join(_field(6, _old_blob(b)) for b in blobs)
                + struct.pack('<Bf', 7 << 3 | 5, 1))


def _layer(name, kind, bottom, top, blobs=(), blob=_blob):
  return _field(100, _field(1, name) + _field(2, kind) + _field(3, bottom) + _field(4, top)
                + b''.join(_field(7, blob(b)) for b in blobs))


# Networks. The layers' weights are in our layout; `_to_caffe` converts them to Caffe's.

_CONVS = {'conv1': (11, 11, 3, 96), 'conv2': (5, 5, 48, 256), 'conv3': (3, 3, 256, 384),
          'conv4': (3, 3, 192, 384), 'conv5': (3, 3, 192, 256)}
_ALEXNET = {**_CONVS, 'fc6': (6, 6, 256, 4096), 'fc7': (1, 1, 4096, 4096), 'fc8': (1, 1, 4096, 10)}


def _random_alexnet(rng):
  layers = {}
  for name, shape in _ALEXNET.items():
    kernel = rng.standard_normal(shape, np.float32)
    kernel *= np.float32(np.sqrt(2 / np.prod(shape[:-1])))
    layers[name] = [kernel, rng.normal(0, 0.2, shape[-1]).astype(np.float32)]
  return layers


def _to_matrix(name, kernel):
  """The layout of converted files: the inputs of `fc6` in the order height, width, channel."""
  return kernel.reshape(-1, kernel.shape[-1]) if name.startswith('fc') else kernel


def _to_caffe(name, kernel):
  kernel = kernel.transpose(3, 2, 0, 1)  # For `fc6`, too: channel, height, width.
  return kernel.reshape(len(kernel), -1) if name.startswith('fc') else kernel


def _lists(layers):
  return {name: [_to_matrix(name, w), b] for name, (w, b) in layers.items()}


def _dicts(layers):
  return {name.encode(): {b'weights': _to_matrix(name, w), b'biases': b}
          for name, (w, b) in layers.items()}


def _caffemodel(layers, layer=_layer, *, pools_first=False):
  """AlexNet's file; or CaffeNet's."""
  parts = [_field(1, 'a name')]
  data = 'data'
  for name, (kernel, biases) in layers.items():
    kind = 'InnerProduct' if name.startswith('fc') else 'Convolution'
    parts.append(layer(name, kind, data, name, [_to_caffe(name, kernel), biases]))
    parts.append(layer(name.replace('conv', 'relu'), 'ReLU', name, name))
    data = name
    if name in ('conv1', 'conv2'):
      for kind in ('Pooling', 'LRN') if pools_first else ('LRN', 'Pooling'):
        top = name.replace('conv', 'norm' if kind == 'LRN' else 'pool')
        parts.append(layer(top, kind, data, top))
        data = top
  return b''.join(parts)


def _save(path, value):
  if isinstance(value, bytes):
    path.write_bytes(value)
  else:
    np.save(path, np.array(value, dtype=object))
  return str(path)


def _restore(path, network, variables, *, channel_order=None, exclude=()):
  """Restores variables from a file like the programs."""
  shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
  weights = sources.open_weights(path, channel_order=channel_order)
  report = restore.plan(weights.source, shapes, weights.takes(network, shapes), exclude=exclude)
  restore.check(report)
  restore.apply(report, weights.source, variables)
  return report


@pytest.mark.slow
def test_alexnet_from_every_format(tmp_path, parity):
  rng = np.random.default_rng(0)
  layers = _random_alexnet(rng)
  images = rng.normal(0, 60, [2, 227, 227, 3]).astype(np.float32)
  expected = parity.alexnet(images, layers)
  assert np.abs(expected[0] - expected[1]).max() > 0.1 * expected.std()
  network = nets_factory.build_network('alexnet', image_shape=(227, 227, 3), num_classes=10)
  for name, value in {
      'lists.npy': _lists(layers), 'dicts.npy': _dicts(layers),
      'x.caffemodel': _caffemodel(layers), 'old.caffemodel': _caffemodel(layers, _old_layer),
  }.items():
    for variable in network.variables.values():
      variable.assign(np.zeros(variable.shape))
    path = _save(tmp_path / name, value)
    report = _restore(path, 'alexnet', network.variables)
    assert len(report.names(RESTORED)) == 16 and report.unused == ()
    logits, _ = network(images, is_training=False)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * expected.std(), err_msg=name)
    pathlib.Path(path).unlink()


def _small(layers=_CONVS, size=2):
  """Layers with few channels, for tests of names only."""
  rng = np.random.default_rng(0)
  kernels = {name: rng.normal(size=(*shape[:2], size, size)) for name, shape in layers.items()}
  return {name: [kernel.astype('f4'), np.arange(size, dtype='f4')]
          for name, kernel in kernels.items()}


def test_npy_files_of_each_kind_give_the_same_arrays(tmp_path):
  layers = _small()
  first = read_npy(_save(tmp_path / 'a.npy', _lists(layers)))
  second = read_npy(_save(tmp_path / 'b.npy', _dicts(layers)))
  assert list(first) == list(second) == [
    f'{name}/{kind}' for name in layers for kind in ('weights', 'biases')]
  for name in first:
    np.testing.assert_array_equal(first[name], second[name])


@pytest.mark.parametrize('layer, dtype', [
  (_layer, 'f4'), (_old_layer, 'f4'),
  (lambda *a: _layer(*a, blob=_unpacked_blob), 'f8'),
])
def test_caffemodels(tmp_path, layer, dtype):
  layers = {**_small(), 'fc6': [np.arange(24, dtype='f4').reshape(1, 2, 3, 4), np.ones(4, 'f4')]}
  arrays = read_caffemodel(_save(tmp_path / 'x.caffemodel', _caffemodel(layers, layer)))
  expected = {}
  for name, (kernel, biases) in layers.items():
    expected |= {f'{name}/weights': _to_caffe(name, kernel), f'{name}/biases': biases}
  assert list(arrays) == list(expected)
  for name, array in expected.items():
    assert arrays[name].dtype == dtype and arrays[name].flags.aligned
    np.testing.assert_array_equal(arrays[name], array)


def _shapes(network):
  return outline.trace(network, 1000, image_shape=(227, 227, 3)).trainable


@pytest.mark.parametrize('layer', [_layer, _old_layer])
def test_caffenet_is_not_alexnet(tmp_path, layer):
  shapes = _shapes('alexnet')
  path = _save(tmp_path / 'x.caffemodel', _caffemodel(_small(), layer))
  assert len(sources.open_weights(path).takes('alexnet', shapes)) == 16
  assert not sources.open_weights(path).facts('alexnet', shapes)
  path = _save(tmp_path / 'y.caffemodel', _caffemodel(_small(), layer, pools_first=True))
  with pytest.raises(ValueError, match='Received: those of caffenet.*--model_name=caffenet'):
    sources.open_weights(path).takes('alexnet', shapes)
  caffenets = {name.replace('alexnet', 'caffenet'): shape for name, shape in shapes.items()}
  takes = sources.open_weights(path).takes('caffenet', caffenets)
  assert takes['caffenet/conv1/weights'].key == 'conv1/weights' and len(takes) == 16
  path = _save(tmp_path / 'x.npy', _lists(_small()))
  note = sources.open_weights(path).facts('alexnet', shapes)['note']
  assert 'bvlc_reference_caffenet' in note


@pytest.mark.slow
def test_vgg_16_of_real_weights(tmp_path, zoo_assets, parity):
  file = zoo_assets / 'weights' / 'vgg16_conv.npy'
  network = nets_factory.build_network('vgg_16', image_shape=(224, 224, 3), num_classes=10)
  exclude = [f'vgg_16/fc{i}' for i in (6, 7, 8)]
  report = _restore(str(file), 'vgg_16', network.variables, channel_order='rgb', exclude=exclude)
  assert len(report.names(RESTORED)) == 26 and report.unused == ()

  preprocess = preprocessing_factory.get_preprocessing('vgg')
  photos = sorted((zoo_assets / 'imagenet_sample').glob('*.jpg'))[::600]
  images = np.stack([preprocess(photo.read_bytes(), 224, 224) for photo in photos])
  x = images
  for name, layer in read_pickle(file).items():
    x = parity.conv(x, [np.float32(part) for part in layer], pad=1)
    if name in ('conv1_2', 'conv2_2', 'conv3_3', 'conv4_3', 'conv5_3'):
      x = parity.pool(x, 2, 2)
  _, end_points = network(images, is_training=False)
  features = end_points['vgg_16/pool5']
  assert (x > 0).mean() > 0.05 and np.abs(x[0] - x[1]).max() > x.std()
  np.testing.assert_allclose(features, x, rtol=0, atol=1e-4 * x.std())

  # The same weights for BGR images, as Caffe's are.
  restored = {row.name: network.variables[row.name].numpy() for row in report.rows}
  layers = read_npy(file)
  swapped = {}
  for name, array in layers.items():
    layer, kind = name.split('/')
    swapped.setdefault(layer, {})[kind] = (
      array[:, :, ::-1] if name == 'conv1_1/weights' else array)
  path = _save(tmp_path / 'bgr.npy', swapped)
  _restore(path, 'vgg_16', network.variables, channel_order='bgr', exclude=exclude)
  for name, array in restored.items():
    np.testing.assert_array_equal(network.variables[name], array)


def test_vgg_needs_the_channel_order(tmp_path):
  shapes = _shapes('vgg_16')
  path = _save(tmp_path / 'x.npy', _lists(_small()))
  with pytest.raises(ValueError, match='--checkpoint_channel_order=bgr .* Received: neither'):
    sources.open_weights(path).takes('vgg_16', shapes)
  take = sources.open_weights(path, channel_order='bgr').takes('vgg_16', shapes)
  assert 'BGR to RGB' in take['vgg_16/conv1/conv1_1/weights'].text()
  path = _save(tmp_path / 'x.caffemodel', _caffemodel(_small()))
  take = sources.open_weights(path).takes('vgg_16', shapes)
  assert 'BGR to RGB' in take['vgg_16/conv1/conv1_1/weights'].text()
  assert 'BGR to RGB' not in take['vgg_16/conv1/conv1_2/weights'].text()


# Damage and attacks.

def _one(blob, name='conv1'):
  return _field(100, _field(1, name) + _field(2, 'Convolution') + _field(7, blob))


def _claims(*shape, data=b'', number=5):
  return _field(7, _field(1, b''.join(map(_varint, shape)))) + _field(number, data)


_BAD = {
  'empty': (b'', 'no layers with weights'),
  'no message': (b'hello, this is no network', 'Received'),
  'text': (b'name: "AlexNet"\nlayer {\n}\n', 'Received'),
  'no blobs': (_layer('conv1', 'Convolution', 'a', 'b'), 'no layers with weights'),
  '2^40': (_one(_claims(2 ** 40, data=bytes(4))), 'with 4 bytes of numbers'),
  '2^40 of nothing': (_one(_claims(2 ** 40)), 'with 0 bytes of numbers'),
  '2^80': (_one(_claims(2 ** 40, 2 ** 40, data=bytes(4))), 'with 4 bytes of numbers'),
  'huge and empty': (_one(_claims(0, *[2 ** 47] * 8)), 'Received'),
  'negative': (_one(_claims(-1, -1, data=bytes(4))), 'of the shape'),
  'one too many': (_one(_claims(2, data=bytes(12))), 'with 12 bytes'),
  'part of a number': (_one(_claims(2, data=bytes(7))), 'with 7 bytes'),
  'dimensions': (_one(_claims(*[1] * 100_000, data=bytes(4))), 'more than 32'),
  'no data': (_one(_field(1, 1) + _field(2, 1) + _field(3, 1) + _field(4, 1)), 'with 0 bytes'),
  'cut': (_one(_claims(2, data=bytes(8)))[:-3], 'left'),
  'twice': (_one(_claims(1, data=bytes(4))) * 2, 'twice'),
  'many fields': (_field(3, '') * 200_000, 'more than 100,000 fields'),
  'many layers': (_field(100, '') * 200_000, 'more than 100,000 fields'),
  'many parts': (_one(_field(5, '') * 200_000), 'more than 100,000 fields'),
  'no text': (_one(_claims(1, data=bytes(4)), b'\xff'), 'damaged data'),
  'old biases of two dimensions': (
    _field(2, _field(4, 'a') + _field(6, _old_blob(np.ones((2, 2, 1, 1))))
           + _field(6, _old_blob(np.ones((2, 2))))), 'of the shape'),
  'ten bytes and more': (b'\xff' * 20, 'more than ten bytes'),
  'a group': (b'\x0b' * 20, 'of the kind 3'),
}


@pytest.mark.parametrize('name', _BAD)
def test_invalid_caffemodels_are_rejected(tmp_path, name):
  data, message = _BAD[name]
  with pytest.raises(ValueError, match=message) as caught:
    read_caffemodel(_save(tmp_path / 'x.caffemodel', data))
  assert 'x.caffemodel' in str(caught.value)


def test_damaged_files_load_or_are_rejected(tmp_path, attacks):
  layers = _small({'conv1': (1, 1), 'fc6': (1, 1)})
  files = {}
  for layer in (_layer, _old_layer):
    data = _caffemodel(layers, layer)
    files |= {f'{layer.__name__} {i}': damaged for i, damaged in enumerate(
      attacks.mutations(data, 200, layer.__name__))}
  outcomes = attacks.read_guarded(tmp_path / 'files', (
    'slim_zoo.weights.caffe_files', 'read_caffemodel'), {'whole': data, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded dict' and 100 < refused < 400  # Both happen.


@pytest.mark.parametrize('value, received', [
  ([np.ones(2)], 'ndarray'), ({}, 'dict'), ({'a': np.ones(2)}, "'a': ndarray"),
  ({'a': [np.ones(2)] * 3}, "'a': list"), ({'a': [np.ones(2), None]}, "'a/biases': NoneType"),
  ({'a\n\x1b': [np.arange(2), np.ones(2)]}, r"'a\n\x1b/weights': ndarray"),
])
def test_npy_files_of_other_content_are_rejected(tmp_path, value, received):
  with pytest.raises(ValueError, match='Received: ') as caught:
    read_npy(_save(tmp_path / 'x.npy', value))
  assert f'Received: {received}.' in str(caught.value)
  assert str(caught.value).isprintable()
