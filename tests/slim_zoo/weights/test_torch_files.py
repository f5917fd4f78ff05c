"""PyTorch's state dicts, written here in PyTorch's formats without PyTorch."""

from __future__ import annotations

import collections
import contextlib
import copy
import io
import pickle
import re
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

from slim_zoo.weights.torch_files import read_torch

_RNG = np.random.default_rng(0)
_BASE = _RNG.normal(size=(6, 8)).astype(np.float32)

# What stands for PyTorch's own while a test writes a file.

_STORAGES = {'f8': 'DoubleStorage', 'f4': 'FloatStorage', 'f2': 'HalfStorage', 'i8': 'LongStorage',
             'i4': 'IntStorage', 'i2': 'ShortStorage', 'i1': 'CharStorage', 'u1': 'ByteStorage',
             'b1': 'BoolStorage', 'bfloat16': 'BFloat16Storage'}


def _named(name, module, base=object):
  return type(name, (base,), {'__module__': module, '__qualname__': name})


_CLASSES = {code: _named(name, 'torch') for code, name in _STORAGES.items()}
_SIZE = _named('Size', 'torch', tuple)


def _function(name):
  def function(*arguments):
    raise AssertionError('nobody calls this')
  function.__module__, function.__name__, function.__qualname__ = 'torch._utils', name, name
  return function


_REBUILD = {name: _function(name) for name in (
  '_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter')}


class _Storage:
  """Numbers that tensors share."""

  def __init__(self, values, code=None):
    self.values = np.ascontiguousarray(values).reshape(-1)
    self.code = code or self.values.dtype.str[1:]


class _Tensor:
  """A tensor, every part of which can be made invalid."""

  def __init__(self, storage, shape, strides=None, offset=0, rebuild='_rebuild_tensor_v2'):
    if strides is None:
      strides = tuple(int(np.prod(shape[i + 1:])) for i in range(len(shape)))
    self.arguments = (storage, offset, tuple(shape), tuple(strides))
    self.rebuild = rebuild

  def __reduce__(self):
    if self.rebuild == '_rebuild_parameter':
      inner = _Tensor(self.arguments[0], *self.arguments[2:], self.arguments[1])
      return _REBUILD[self.rebuild], (inner, True, collections.OrderedDict())
    more = (False, collections.OrderedDict()) if self.rebuild.endswith('v2') else ()
    return _REBUILD[self.rebuild], (*self.arguments, *more)


def _whole(array):
  return _Tensor(_Storage(array), array.shape)


class _Pickler(pickle._Pickler):
  """Writes storages as references, in the order of their keys."""

  def __init__(self, file, legacy, change=None):
    super().__init__(file, 2)
    self.storages, self.legacy, self.change = {}, legacy, change

  def persistent_id(self, obj):
    if not isinstance(obj, _Storage):
      return None
    known = [key for key, storage in self.storages.items() if storage is obj]
    key = known[0] if known else str(len(self.storages))
    self.storages[key] = obj
    reference = ('storage', _CLASSES[obj.code], key, 'cpu', obj.values.size)
    reference += (None,) if self.legacy else ()
    return self.change(reference) if self.change else reference


@contextlib.contextmanager
def _torch_in_sight():
  """Makes the names available to the pickler."""
  torch, utils = types.ModuleType('torch'), types.ModuleType('torch._utils')
  vars(torch).update({c.__name__: c for c in (*_CLASSES.values(), _SIZE)}, _utils=utils)
  vars(utils).update(_REBUILD)
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, 'torch', torch)
    patch.setitem(sys.modules, 'torch._utils', utils)
    yield


def _pickled(value, legacy, change=None):
  file = io.BytesIO()
  with _torch_in_sight():
    pickler = _Pickler(file, legacy, change)
    pickler.dump(value)
  return file.getvalue(), pickler.storages


def _ordered(array, order):
  return array.astype(array.dtype.newbyteorder(order)).tobytes()


def _zip_of(data, storages=None, *, root='archive', order='<', byteorder=True,
            compression=zipfile.ZIP_STORED, more=()):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', compression) as archive:
    archive.writestr(f'{root}/data.pkl', data)
    if byteorder:
      archive.writestr(f'{root}/byteorder', {'<': 'little', '>': 'big'}[order])
    for key, storage in (storages or {}).items():
      archive.writestr(f'{root}/data/{key}', _ordered(storage.values, order))
    for name, content in more:
      archive.writestr(name, content)
    archive.writestr(f'{root}/version', '3\n')
  return file.getvalue()


def _legacy_of(data, storages=None, *, order='<', keys=None, numel=None):
  system = {'protocol_version': 1001, 'little_endian': order == '<',
            'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
  head = [pickle.dumps(x, 2) for x in (0x1950a86a20f9469cfc6c, 1001, system)]
  storages = storages or {}
  keys = sorted(storages) if keys is None else keys
  raw = [struct.pack('<q', storages[key].values.size if numel is None else numel)
         + _ordered(storages[key].values, order) for key in keys if key in storages]
  return b''.join([*head, data, pickle.dumps(keys, 2), *raw])


_WRITERS = {
  'zip': lambda value, **options: _zip_of(*_pickled(value, False), **options),
  'legacy': lambda value, **options: _legacy_of(*_pickled(value, True), **options),
}


@pytest.fixture(params=_WRITERS)
def write(request, tmp_path):
  def write(value, **options):
    path = tmp_path / 'weights.pth'
    path.write_bytes(_WRITERS[request.param](value, **options))
    return path
  return write


def _check(result, expected):
  assert list(result) == list(expected)
  for name, array in expected.items():
    assert type(result[name]) is np.ndarray
    assert result[name].dtype == array.dtype and result[name].dtype.isnative, name
    np.testing.assert_array_equal(result[name], array, err_msg=name)


def _tensors_and_arrays():
  """Returns a state dict with every type and many layouts, and the equivalent NumPy arrays."""
  base = _Storage(_BASE)
  tensors, arrays = collections.OrderedDict(), {}
  for code in _STORAGES:
    if code != 'bfloat16':
      arrays[code] = (_BASE * 20).astype(code)
      tensors[code] = _whole(arrays[code])
  upper = (_BASE.view(np.uint32) >> 16).astype(np.uint16)
  arrays['bfloat16'] = (upper.astype(np.uint32) << 16).view(np.float32)
  tensors['bfloat16'] = _Tensor(_Storage(upper, 'bfloat16'), (6, 8))
  for name, view in {'view': _BASE[1:5, 2:7], 'transposed': _BASE.T, 'row': _BASE[3],
                     'every other': _BASE[::2, 1::3], 'scalar': _BASE[2:3, 4].reshape(()),
                     'empty': _BASE[:0], 'whole': _BASE}.items():
    strides = tuple(s // 4 for s in view.strides)
    offset = (view.__array_interface__['data'][0] - _BASE.__array_interface__['data'][0]) // 4
    tensors[name], arrays[name] = _Tensor(base, view.shape, strides, offset), view
  tensors['parameter'] = _Tensor(base, (6, 8), rebuild='_rebuild_parameter')
  tensors['oldest'] = _Tensor(base, (6, 8), rebuild='_rebuild_tensor')
  arrays['parameter'] = arrays['oldest'] = _BASE
  return tensors, arrays


@pytest.mark.parametrize('order', ['<', '>'])
def test_types_and_layouts(write, order):
  tensors, arrays = _tensors_and_arrays()
  _check(read_torch(write(tensors, order=order)), arrays)


def test_zip_of_any_root_without_byte_order(tmp_path):
  path = tmp_path / 'x.pt'
  path.write_bytes(_WRITERS['zip']({'a': _whole(_BASE)}, root='resnet18-f37072fd', byteorder=False))
  _check(read_torch(path), {'a': _BASE})


_STATE = {'conv.weight': _BASE, 'bn.num_batches_tracked': np.int64(5) * np.ones((), np.int64)}


def _state(prefix=''):
  return collections.OrderedDict((prefix + k, _whole(v)) for k, v in _STATE.items())


def _with_metadata():
  state = _state()
  state._metadata = collections.OrderedDict([('', {'version': 1})])
  return state


@pytest.mark.parametrize('value', [
  _with_metadata(),
  {'state_dict': _state(), 'epoch': 3, 'optimizer': {'state': {0: {'exp': _whole(_BASE)}}}},
  {'net': _state(), 'best': np.float64(0.5), 'size': _SIZE((1, 2)),
   'rates': [1e-3, None]},
  {'model': {'state_dict': _state()}},
  {'epoch': 3, 'state_dict_ema': _state()},
  {'arch': 'resnet50', 'module': _state(), 'is_pretrain': True, 'none': {}},
  {'model': {'encoder': _state(), 'epoch': 3}},
], ids=['metadata', 'state_dict', 'net', 'both', 'averages', 'any name', 'any name inside'])
def test_state_dicts_in_checkpoints(write, value):
  _check(read_torch(write(value)), _STATE)


def test_other_state_dicts_are_named(write, capsys):
  other = {'b': _whole(_BASE)}
  _check(read_torch(write({'state_dict_ema': other, 'state_dict': _state()})), _STATE)
  assert re.search("'state_dict' .*Not used: 'state_dict_ema'", capsys.readouterr().err)


@pytest.mark.parametrize('value, message', [
  ([1, 2], 'no state dict'),
  ({}, 'no state dict'),
  ({'epoch': 3}, "'epoch' of the type int"),
  ({'one': {'a': _whole(_BASE)}, 'other': {'a': _whole(_BASE)}}, "'one' of the type dict"),
  ({'layer': {'a': _whole(_BASE), 'b': 3}}, "'layer' of the type dict"),
  ({'a': _whole(_BASE), 'b': [1]}, "'b' of the type list"),
  ({3: _whole(_BASE)}, 'named tensor'),
  ({'a': _Tensor(_Storage(_BASE), (7, 8))}, 'in a storage of 48 elements'),
  ({'a': _Tensor(_Storage(_BASE), (6, 8), offset=1)}, 'in a storage of 48 elements'),
  ({'a': _Tensor(_Storage(_BASE), (6, 8), offset=-1)}, 'without a storage'),
  ({'a': _Tensor(_Storage(_BASE), (2,), (48,))}, 'in a storage of 48 elements'),
  ({'a': _Tensor(_Storage(_BASE), (2,), (-1,), 5)}, 'shape and strides'),
  ({'a': _Tensor(_Storage(_BASE), (2 ** 40,), (0,))}, 'in a storage of 48 elements'),
  ({'a': _Tensor(_Storage(_BASE), (2 ** 20, 2 ** 20), (0, 0))}, 'in a storage of 48 elements'),
  ({'a': _Tensor(_Storage(_BASE), (-1,), (1,))}, 'shape and strides'),
  ({'a': _Tensor(_Storage(_BASE), (6,), (8, 1))}, 'shape and strides'),
  ({'a': _Tensor(_Storage(_BASE), (1,) * 40, (1,) * 40)}, 'shape and strides'),
  ({'a': _Tensor(_Storage(_BASE), (1.0,), (1,))}, 'shape and strides'),
  ({'a': _Tensor('cpu', (1,))}, 'without a storage'),
  ({'a': np.ones(3)}, "'a' of the type ndarray"),
])
def test_other_content_is_rejected(write, value, message):
  with pytest.raises(ValueError, match=message) as caught:
    read_torch(write(value))
  assert 'weights.pth' in str(caught.value) and 'model.state_dict()' in str(caught.value)


@pytest.mark.parametrize('change, message', [
  (lambda r: r[:4], 'a reference to'),
  (lambda r: ('file', *r[1:]), 'a reference to'),
  (lambda r: r[0], 'a reference to'),
  (lambda r: (r[0], 'FloatStorage', *r[2:]), 'unknown kind'),
  (lambda r: (*r[:2], '../../etc/passwd', *r[3:]), 'no such member'),
  (lambda r: (*r[:4], 2 ** 40, *r[5:]), 'for which the archive has'),
  (lambda r: (*r[:4], -1, *r[5:]), 'unknown kind'),
  (lambda r: (*r[:4], 47, *r[5:]), 'for which the archive has'),
  (lambda r: (*r[:5], ('v', 40, 9)), 'not within the storage'),
  (lambda r: (*r[:5], ('v', -1, 9)), 'not within the storage'),
])
def test_invalid_references_are_rejected(tmp_path, change, message):
  path = tmp_path / 'x.pth'
  path.write_bytes(_zip_of(*_pickled({'a': _Tensor(_Storage(_BASE), (2,))}, False, change)))
  with pytest.raises(ValueError, match=message):
    read_torch(path)


def test_views_of_the_old_format(tmp_path):
  data = _pickled({'a': _Tensor(_Storage(_BASE), (2, 4), offset=1)}, True,
                  lambda r: (*r[:5], ('v', 10, 20)))
  (tmp_path / 'x.pth').write_bytes(_legacy_of(*data))
  _check(read_torch(tmp_path / 'x.pth'), {'a': _BASE.ravel()[11:19].reshape(2, 4)})


@pytest.mark.parametrize('options, message', [
  ({'compression': zipfile.ZIP_DEFLATED}, 'compressed member'),
  ({'more': [('other/data.pkl', b'N.')]}, 'without one data.pkl'),
  ({'root': 'a/b'}, 'without one data.pkl'),
])
def test_invalid_archives_are_rejected(tmp_path, options, message):
  (tmp_path / 'x.pth').write_bytes(_WRITERS['zip'](_state(), **options))
  with pytest.raises(ValueError, match=message):
    read_torch(tmp_path / 'x.pth')


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_repeated_and_outside_members(tmp_path):
  path = tmp_path / 'folder' / 'x.pth'
  path.parent.mkdir()
  path.write_bytes(_WRITERS['zip'](_state(), more=[('archive/data/0', b'x')]))
  with pytest.raises(ValueError, match='twice'):
    read_torch(path)
  # Members are read but never unpacked, so their names do no harm.
  path.write_bytes(_WRITERS['zip'](_state(), more=[('../outside', b'x'), ('/outside', b'x')]))
  _check(read_torch(path), _STATE)
  assert [p.name for p in tmp_path.rglob('*')] == ['folder', 'x.pth']


def test_members_with_shared_data_are_bounded(tmp_path):
  """Directory entries that all point to one member would be read repeatedly."""
  value = {str(i): _whole(np.zeros(2 ** 14, np.float32)) for i in range(50)}
  data, storages = _pickled(value, False)
  with zipfile.ZipFile(tmp_path / 'x.pth', 'w') as archive:
    archive.writestr('archive/data.pkl', data)
    archive.writestr('archive/data/0', storages['0'].values.tobytes())
    for key in list(storages)[1:]:
      entry = copy.copy(archive.getinfo('archive/data/0'))
      entry.filename = f'archive/data/{key}'
      archive.filelist.append(entry)
  assert (tmp_path / 'x.pth').stat().st_size < 2 * 2 ** 16
  with pytest.raises(ValueError, match='in a file of'):
    read_torch(tmp_path / 'x.pth')


def test_tensors_with_shared_storage_are_bounded(write):
  storage = _Storage(np.zeros(2 ** 18, np.float32))
  assert len(read_torch(write({str(i): _Tensor(storage, (2 ** 18,)) for i in range(4)}))) == 4
  with pytest.raises(ValueError, match='share parts until they unfold'):
    read_torch(write({str(i): _Tensor(storage, (2 ** 18,)) for i in range(300)}))


def test_changed_storage_in_a_zip_is_detected(tmp_path):
  data = _WRITERS['zip'](_state())
  at = data.index(_BASE.tobytes()) + 50
  (tmp_path / 'x.pth').write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1:])
  with pytest.raises(ValueError, match='CRC'):
    read_torch(tmp_path / 'x.pth')


@pytest.mark.parametrize('options, message', [
  ({'numel': 2 ** 40}, 'have (48|1) elements'),
  ({'numel': -1}, 'have (48|1) elements'),
  ({'keys': ['0']}, 'a list of storages'),
  ({'keys': ['0', '0', '1']}, 'a list of storages'),
  ({'keys': [0, 1]}, 'a list of storages'),
])
def test_invalid_old_files_are_rejected(tmp_path, options, message):
  (tmp_path / 'x.pth').write_bytes(_WRITERS['legacy'](_state(), **options))
  with pytest.raises(ValueError, match=message):
    read_torch(tmp_path / 'x.pth')


@pytest.mark.parametrize('data', [b'', b'\x80', b'hello', pickle.dumps({'a': 1}, 2), b'PK\x03\x04',
                                  pickle.dumps(0x1950a86a20f9469cfc6c, 2)])
def test_other_files(tmp_path, data):
  (tmp_path / 'x.pth').write_bytes(data)
  with pytest.raises(ValueError, match='Expected: .*PyTorch'):
    read_torch(tmp_path / 'x.pth')


# Attacks and damage, in a guarded process.

_READ_TORCH = ('slim_zoo.weights.torch_files', 'read_torch')


def test_attacks_are_rejected(tmp_path, attacks):
  files = {}
  for name, data in attacks.attack_pickles().items():
    files[f'zip: {name}'] = _zip_of(data)
    files[f'legacy: {name}'] = _legacy_of(data)
    files[f'legacy, first: {name}'] = data
  outcomes = attacks.read_guarded(tmp_path / 'files', _READ_TORCH, files)
  assert [name for name, outcome in outcomes.items() if outcome.startswith('loaded')] == []


@pytest.mark.parametrize('name', _WRITERS)
def test_damaged_files_load_or_are_rejected(tmp_path, attacks, name):
  data = _WRITERS[name]({'state_dict': _state(), 'epoch': 1})
  files = {str(i): damaged for i, damaged in enumerate(attacks.mutations(data, 200, name))}
  outcomes = attacks.read_guarded(tmp_path / 'files', _READ_TORCH, {'whole': data, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded dict' and 50 < refused < 200  # Both happen.
