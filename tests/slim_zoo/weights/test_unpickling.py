"""Pickles: arrays equal those read by the standard library; nothing is executed."""

from __future__ import annotations

import builtins
import collections
import copyreg
import functools
import io
import json
import operator
import os
import pathlib
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from files.unpickling import read_pickle
from scripts.fuzzing.mutations import mutations

_ROOT = pathlib.Path(__file__).parents[3]
_RNG = np.random.default_rng(0)
_WEIGHTS = {'conv1': [_RNG.normal(size=(3, 3, 2, 4)).astype(np.float32), np.arange(4, dtype='f4')],
            'fc8': {'weights': np.asfortranarray(_RNG.normal(size=(5, 7))), 'biases': np.zeros(7)}}


def _same(a, b):
  """Compares two trees to the last bit; ordered dicts become dicts."""
  if isinstance(b, np.ndarray) and b.dtype != object:
    assert type(a) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a, b)
    assert a.flags.f_contiguous == b.flags.f_contiguous
  elif isinstance(b, np.ndarray):
    assert a.shape == b.shape
    _same(a.ravel().tolist(), b.ravel().tolist())
  elif isinstance(b, dict):
    assert type(a) is dict and list(a) == list(b)
    _same(list(a.values()), list(b.values()))
  elif isinstance(b, (list, tuple)):
    assert type(a) is type(b) and len(a) == len(b)
    for x, y in zip(a, b, strict=True):
      _same(x, y)
  else:
    assert type(a) is type(b) and a == b


_VALUES = {
  'weights': _WEIGHTS,
  'bytes keys': {key.encode(): value for key, value in _WEIGHTS.items()},
  'images': {'features': np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3), 'labels': [3, 70000]},
  'numbers': [0, 1, -1, 255, 256, 65536, -2 ** 31, 2 ** 40, -2 ** 100, 1.5, -0.0, 1e300, True,
              False, None],
  'text': ['', 'a', 'é\n\\', '\u20ac', '\U0001f600', 'x' * 300, b'', b'\x00\xff\n', b'y' * 300],
  'containers': [(), [], {}, (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), {1: [2], b'3': (4,)},
                 collections.OrderedDict([('z', 1), ('a', 2)])],
  'scalars': [np.float32(1.5), np.int64(-7), np.float64(0.1), np.bool_(True)],
  'types': [np.arange(3).astype(code) for code in (
    '?', 'i1', 'u2', '>i4', 'u8', 'f2', '>f4', 'f8', 'c8', 'S5', 'U3', '>U4')],
  'shapes': [np.float32(2) * np.ones(()), np.zeros((0, 3)), np.ones((1, 1, 1, 2))],
  'objects': np.array(['a', None, 3], dtype=object),
  'shared': [_WEIGHTS['conv1']] * 3,
}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('name', _VALUES)
def test_pickles_of_every_protocol(tmp_path, name, protocol):
  path = tmp_path / 'values.p'
  path.write_bytes(pickle.dumps(_VALUES[name], protocol))
  _same(read_pickle(path), pickle.loads(path.read_bytes()))  # noqa: S301 - the test's own file


def test_module_names_of_numpy_1_and_2(tmp_path):
  data = pickle.dumps(_WEIGHTS, 2)
  new, old = b'numpy._core.multiarray', b'numpy.core.multiarray'
  assert (new in data) != (old in data)
  for name in (new, old):
    path = tmp_path / name.decode()
    path.write_bytes(data.replace(new, old).replace(old, name))
    _same(read_pickle(path), _WEIGHTS)


@pytest.mark.parametrize('name', ['weights', 'bytes keys', 'objects'])
def test_npy_files_of_objects(tmp_path, name):
  np.save(tmp_path / 'x.npy', np.array(_VALUES[name], dtype=object))
  _same(read_pickle(tmp_path / 'x.npy'), _VALUES[name])


@pytest.mark.parametrize('version', [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize('array', [*_VALUES['types'], *_VALUES['shapes'],
                                   np.asfortranarray(np.ones((2, 3)))])
def test_npy_files_of_numbers(tmp_path, array, version):
  with open(tmp_path / 'x.npy', 'wb') as file:
    np.lib.format.write_array(file, array, version=version)
  _same(read_pickle(tmp_path / 'x.npy'), np.load(tmp_path / 'x.npy'))


# Files of Python 2, whose text is bytes: opcodes that Python 3 reads and does not write.

def _python2(value, protocol):
  """Pickles as Python 2 does: arrays, dicts, lists, integers and text."""
  if isinstance(value, bytes):
    if not protocol:
      return b"S'" + repr(b'"' + value)[3:-1].encode() + b"'\n"
    short = len(value) < 256
    return (b'U' + bytes([len(value)]) if short else b'T' + struct.pack('<i', len(value))) + value
  if isinstance(value, dict):
    return b'(d' + b''.join(_python2(k, protocol) + _python2(v, protocol) + b's'
                            for k, v in value.items())
  if isinstance(value, list):
    return b'(l' + b''.join(_python2(v, protocol) + b'a' for v in value)
  if isinstance(value, tuple):
    return b'(' + b''.join(_python2(v, protocol) for v in value) + b't'
  if isinstance(value, np.ndarray):
    kind = value.dtype.str[1:].encode()
    dtype = b'cnumpy\ndtype\n' + _python2((kind, 0, 1), protocol) + b'R' + _python2(
      (3, b'<', None, None, None, -1, -1, 0), protocol) + b'b'
    return (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n'
            + _python2((0,), protocol) + _python2(b'b', protocol) + b'tR(I1\n'
            + _python2(value.shape, protocol) + dtype + b'I00\n'
            + _python2(value.tobytes(), protocol) + b'tb')
  return b'N' if value is None else b'I%d\n' % value


_PYTHON2_VALUE = {b'conv1': [_WEIGHTS['conv1'][0], _WEIGHTS['conv1'][1]],
                  b'caf\xe9': {b'weights': np.arange(300, dtype='<i4'), b'names': [b"it's\n\\"]}}


@pytest.mark.parametrize('protocol', [0, 2])
def test_files_of_python_2(tmp_path, protocol):
  data = _python2(_PYTHON2_VALUE, protocol) + b'.'
  (tmp_path / 'x.p').write_bytes(data)
  expected = pickle.loads(data, encoding='latin1')  # noqa: S301 - the test's own file
  assert list(expected) == ['conv1', 'café'] and expected['café']['names'] == ["it's\n\\"]
  _same(read_pickle(tmp_path / 'x.p'), expected)


def test_published_style_file(zoo_assets):
  weights = read_pickle(zoo_assets / 'weights' / 'vgg16_conv.npy')
  assert len(weights) == 13
  assert [w.shape for w in weights['conv1_1']] == [(3, 3, 3, 64), (64,)]


# Attacks. Each is a pickle; `_CANARY` appears in the working folder if one runs.

_CANARY = 'canary'


class _Calls:
  """An object pickled as a call."""

  def __init__(self, function, *arguments, state=None):
    self._reduced = (function, arguments) if state is None else (function, arguments, state)

  def __reduce__(self):
    return self._reduced

  def __call__(self):
    """Makes it callable, as pickle requires."""


class _Named:
  """An object with state, pickled with NEWOBJ and BUILD."""

  def __init__(self):
    self.a = 1

  def __setstate__(self, state):
    os.system(f'touch {_CANARY}')


def _doubling(count):
  """A list of two references to a list of two references, and so on."""
  return b']' + b''.join(b'q\x00]h\x00ah\x00a' for _ in range(count)) + b'.'


def _array_state(shape, data, code=b'f4'):
  return (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01' + shape
          + b'cnumpy\ndtype\n(U' + bytes([len(code)]) + code + b'I00\nI01\ntR(K\x03U\x01<NNNK'
          b'\x00K\x00K\x00tb' + b'I00\n' + data + b'tb.')


_TOUCH = f'touch {_CANARY}'
_CALLS = {
  'os.system': _Calls(os.system, _TOUCH),
  'subprocess': _Calls(subprocess.Popen, ['touch', _CANARY]),
  'eval': _Calls(eval, f'open("{_CANARY}", "w")'),
  'exec': _Calls(exec, f'open("{_CANARY}", "w")'),
  'open': _Calls(open, _CANARY, 'w'),
  'getattr': _Calls(_Calls(getattr, _Calls(__import__, 'os'), 'system'), _TOUCH),
  'import': _Calls(__import__, 'antigravity'),
  'attrgetter': _Calls(operator.attrgetter('system'), _Calls(__import__, 'os')),
  'methodcaller': _Calls(operator.methodcaller('touch'), pathlib.PurePosixPath(_CANARY)),
  'partial': functools.partial(os.system, _TOUCH),
  'copyreg': _Calls(copyreg._reconstructor, pathlib.PurePosixPath, object, None),
  'map': _Calls(list, _Calls(map, os.system, [_TOUCH])),
  'np.load': _Calls(np.load, 'other.npy', None, True),
  'np.fromfile': _Calls(np.fromfile, '/dev/zero'),
  'np.memmap': _Calls(np.memmap, _CANARY, 'u1', 'w+', 0, (5,)),
  'np.save': _Calls(np.save, _CANARY, [1]),
  'pickle.loads': _Calls(  # An attack, which must be refused.
    pickle.loads, pickle.dumps(_Calls(os.system, _TOUCH))),  # noqa: S301
  'nested in an array': np.array([_Calls(os.system, _TOUCH)], dtype=object),
  'nested in an ordered dict': collections.OrderedDict(a=_Calls(os.system, _TOUCH)),
  'state of a class': _Named(),
  'state of a dict': _Calls(collections.OrderedDict, state=_Calls(os.system, _TOUCH)),
  'state of a function': _Calls(_Calls, print, state={'__code__': 1}),
  'type': _Calls(type, 'x', (), {}),
  'builtins': builtins.__dict__['vars'],
}
_MAGIC_CALL = b'cnumpy.core.multiarray\n_reconstruct\n'
_OPCODES = {
  'INST': b"(S'touch canary'\nios\nsystem\n.",
  'OBJ': b"(cos\nsystem\nS'touch canary'\no.",
  'NEWOBJ': b"cos\nsystem\n(S'touch canary'\nt\x81.",
  'NEWOBJ_EX': b"cos\nsystem\n(S'touch canary'\nt}\x92.",
  'STACK_GLOBAL': b"\x8c\x02os\x8c\x06system\x93(S'touch canary'\ntR.",
  'dotted name': b'\x80\x04\x8c\x05numpy\x8c\x19ndarray.__init_subclass__\x93.',
  'dotted name of ours': b'\x80\x04\x8c\x05numpy\x8c\x0edtype.__call__\x93.',
  'EXT': b'\x82\x01.',
  'EXT4': b'\x84\xff\xff\xff\x7f.',
  'PERSID': b'Pos.system\n.',
  'BINPERSID': b'NQ.',
  'NEXT_BUFFER': b'\x97.',
  'name left over': b'cnumpy\ndtype\n.',
  'type left over': b"cnumpy\ndtype\n(S'f4'\nI00\nI01\ntR.",
  'state of a name': b'cnumpy\ndtype\n}(U\x08functionU\x01xub.',
  'state of a name, slots': b'cnumpy\ndtype\n(N}(U\x08functionU\x01xutb.',
  'state of a list': b']}(U\x06appendNub.',
  'items of a name': b'cnumpy\ndtype\nU\x01aU\x01bs.',
  'append to a name': b'cnumpy\ndtype\nU\x01aa.',
  'call of a list': b'])R.',
  'call without a tuple': b'ccollections\nOrderedDict\n]R.',
  'other encoding': b'c_codecs\nencode\n(X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13tR.',
  'subclass': _MAGIC_CALL + b'(cnumpy\ndtype\n(K\x00tU\x01btR.',
  'unhashable key': b'}]Ns.',
  'key that nests': b'}' + b')' + b'\x85' * 50_000 + b'Ns.',
  'nested lists': b']' * 50_000 + b'a' * 49_999 + b'.',
  'nested tuples': b')' + b'\x85' * 50_000 + b'.',
  'nested object arrays': b']' + b''.join(b'q\x00' + _array_state(b'(K\x01t', b'(h\x00l', b'O')[:-1]
                                           for _ in range(2000)) + b'.',
  'nested arrays and lists': b']' + b''.join(
    b'q\x00' + _array_state(b'(K\x01t', b'((h\x00ll', b'O')[:-1] for _ in range(5000)) + b'.',
  'control characters': b'\x8c\x05\x1b[31m\x8c\x03\n\r\x07\x93.',
  'lone surrogates': b'\x8c\x03\xed\xa0\x80\x8c\x01x\x93.',
  'holds itself': b']q\x00h\x00a.',
  'doubling': _doubling(60),
  'doubling, within the depth': _doubling(30),
  'huge bytes': b'\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.',
  'huge text': b'\x8d\x00\x00\x00\x00\x00\x01\x00\x00.',
  'huge bytes, 32 bits': b'B\xff\xff\xff\x7f.',
  'negative string': b'T\xff\xff\xff\xff.',
  'huge bytearray': b'\x96\x00\x00\x00\x00\x00\x01\x00\x00.',
  'huge frame': b'\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.',
  'huge integer': b'\x8b\x00\x00\x00\x40' + b'\x01' * 1000 + b'.',
  'long integer': b'\x8b\xa0\x86\x01\x00' + b'\x01' * 100_000 + b'.',
  'long decimal': b'L' + b'9' * 1_000_000 + b'L\n.',
  'long decimal index': b'Np' + b'9' * 1_000_000 + b'\n.',
  'memo that is not there': b'Nr\xff\xff\xff\xffj\xfe\xff\xff\xff.',
  'array of 2^40': _array_state(b'(\x8a\x06\x00\x00\x00\x00\x00\x01t', b'U\x01x'),
  'array of 2^40, no data': _array_state(b'(\x8a\x06\x00\x00\x00\x00\x00\x01t', b'U\x00'),
  'array of huge emptiness': _array_state(b'(K\x00' + b'\x8a\x05\xff\xff\xff\xff\x7f' * 9 + b't',
                                          b'U\x00'),
  'array of negative size': _array_state(b'(J\xff\xff\xff\xfft', b'U\x00'),
  'array of objects as bytes': _array_state(b'(K\x01t', b'U\x08abcdefgh', b'O8'),
  'array of objects, other count': _array_state(b'(K\x02t', b']', b'O'),
  'array of voids': _array_state(b'(K\x01t', b'U\x01x', b'V1'),
  'array of huge text': _array_state(b'(K\x00t', b'U\x00', b'U99999999'),
  'array of impossible text': _array_state(b'(K\x01t', b'U\x04\xff\xff\xff\xff', b'U1'),
  'array of fields': _array_state(b'(K\x01t', b'U\x01x', b'f4,f4'),
  'copies': (b'c_codecs\nencode\nq\x01(X' + struct.pack('<I', 2 ** 18) + b'x' * 2 ** 18
             + b'X\x06\x00\x00\x00latin1tq\x02]' + b'h\x01h\x02Ra' * 10_000 + b'.'),
  'copies of an array': (
    b'T' + struct.pack('<I', 2 ** 16) + b'x' * 2 ** 16 + b'q\x01]' + b''.join(
      _array_state(b'(M\x00\x40t', b'h\x01')[:-1] + b'a' for _ in range(2000)) + b'.'),
  'copies of pairs': (b'ccollections\nOrderedDict\nq\x01(]' + b'(K\x01Nta' * 20_000 + b'tq\x02]'
                      + b'h\x01h\x02R0' * 10_000 + b'.'),
  'long arguments': (b'ccollections\nOrderedDict\nq\x01(' + b'N' * 50_000 + b'tq\x02'
                     + b'h\x01h\x02R0' * 10_000 + b'.'),
  'long keys': (b'}X' + struct.pack('<I', 10 ** 5) + b'x' * 10 ** 5 + b'Ns.'),
  'text with an escape': b"S'\\N{BULLET}'\n.",
  'text with another escape': b"S'\\d'\n.",
  'text in no encoding': b'X\x01\x00\x00\x00\xff.',
  'empty': b'',
  'no value': b'.',
  'marks only': b'(' * 100_000,
  'no end': b']' * 1000,
  'data behind': b'N.N',
  'unknown opcode': b'\xff',
}


def attack_pickles():
  """Returns {name: pickle}; `tests/weights/test_torch_files.py` wraps the same."""
  pickles = dict(_OPCODES)
  for name, value in _CALLS.items():
    for protocol in (0, 2, 4):
      pickles[f'{name}, protocol {protocol}'] = pickle.dumps(value, protocol)
  return pickles


_NPY_HEADERS = {
  'npy: 2^40 elements': "{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }",
  'npy: 2^90 elements': "{'descr': '<f4', 'fortran_order': False, 'shape': "
                        "(1073741824, 1073741824, 1073741824), }",
  'npy: negative': "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }",
  'npy: fields': "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }",
  'npy: code': "{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os'),), }",
  'npy: nested': '(' * 5000 + ')' * 5000,
  'npy: digits': "{'descr': '<f4', 'fortran_order': False, 'shape': (" + '1' * 60_000 + 'x), }',
  'npy: repeated': "{'descr': '<f4', 'fortran_order': False, 'shape': (" + '1, ' * 9000 + '), }',
}


def _npy(header, data=b''):
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + data


def _attack_files():
  files = {name: _npy(header, bytes(4)) for name, header in _NPY_HEADERS.items()}
  objects = "{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"
  for name, data in attack_pickles().items():
    files[name] = data
    files[f'npy: {name}'] = _npy(objects, data)
  return files


def read_guarded(folder, function, files, ignored=()):
  """Reads files in a guarded process; fails on anything except a value or one ValueError.

  Returns:
    {name: outcome}, each 'loaded …' or 'refused …'.
  """
  folder.mkdir()
  names = {f'{i:05}': name for i, name in enumerate(files)}
  for number, name in names.items():
    (folder / number).write_bytes(files[name])
  script = pathlib.Path(__file__).with_name('guarded_reader.py')
  done = subprocess.run([sys.executable, script, *function, folder], capture_output=True, text=True,
                        env={**os.environ, 'PYTHONPATH': str(_ROOT)}, timeout=500)
  assert done.returncode == 0, done.stderr[-2000:]
  assert sorted(os.listdir(folder)) == sorted(names), 'a file was written'
  outcomes = {}
  for number, (outcome, memory, events) in json.loads(done.stdout).items():
    name = names[number]
    assert not [e for e in events if not e.startswith(ignored)], (name, events)
    assert outcome.startswith(('loaded', 'refused')), (name, outcome)
    assert 'MemoryError' not in outcome, (name, outcome)
    assert memory < 100 * len(files[name]) + 2 ** 24, (name, memory)
    if outcome.startswith('refused'):
      assert str(folder / number) in outcome and 'Expected: ' in outcome, (name, outcome)
      assert 'Received: ' in outcome and outcome.isprintable(), (name, outcome)
      assert len(outcome) < 1000, (name, outcome)
    outcomes[name] = outcome
  return outcomes


_READ_PICKLE = ('files.unpickling', 'read_pickle')


def test_attacks_are_rejected(tmp_path):
  outcomes = read_guarded(tmp_path / 'files', _READ_PICKLE, _attack_files())
  loaded = [name for name, outcome in outcomes.items() if outcome.startswith('loaded')]
  assert loaded == []
  for name, reason in {
      'os.system, protocol 4': "the name 'posix.system'",
      'copies of an array': 'copies',
      'long arguments': 'a call with 50,000 arguments',
  }.items():
    assert reason in outcomes[name], (name, outcomes[name])


@pytest.mark.parametrize('code, seen', [
  (f'import os; os.system("touch {_CANARY}")', 'a file was written'),
  ('import os; os.system("true")', 'os.system'),
  ('import this_is_no_module', 'import'),
  ('memory = bytearray(2 ** 25)', r'\b33\d{6}'),
  ('raise KeyError', 'crashed'),
])
def test_guard_detects_executed_code(tmp_path, code, seen):
  """Tests the guard itself, with files that are executed."""
  with pytest.raises(AssertionError, match=seen):
    read_guarded(tmp_path / 'files', ('guarded_reader', 'run_python'), {'x': code.encode()},
                 ignored=('compile', 'exec'))


def _samples():
  objects = io.BytesIO()
  np.save(objects, np.array(_WEIGHTS, dtype=object))
  numbers = io.BytesIO()
  np.save(numbers, np.arange(12, dtype='f4').reshape(3, 4))
  small = {'a': [np.arange(3, dtype='u1'), 'é', 1.5], 'b': (np.float32(1), None, b'x'), 'c': {}}
  return {
    'npy of objects': objects.getvalue(),
    'npy of numbers': numbers.getvalue(),
    'protocol 0': pickle.dumps(small, 0),
    'protocol 2': pickle.dumps(small, 2),
    'protocol 4': pickle.dumps(small, 4),
    'protocol 5': pickle.dumps(small, 5),
    'Python 2, protocol 0': _python2(_PYTHON2_VALUE, 0) + b'.',
    'Python 2, protocol 2': _python2(_PYTHON2_VALUE, 2) + b'.',
  }


def test_damaged_files_load_or_are_rejected(tmp_path):
  files = {f'{name} {i}': damaged for name, data in _samples().items()
           for i, damaged in enumerate(mutations(data, 200, name))}
  outcomes = read_guarded(tmp_path / 'files', _READ_PICKLE, files)
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert len(files) == 1600 and 400 < refused < 1600  # Both happen.


def test_missing_files_and_folders(tmp_path):
  with pytest.raises(FileNotFoundError):
    read_pickle(tmp_path / 'none.p')
  with pytest.raises(ValueError, match='Received: a folder'):
    read_pickle(tmp_path)
