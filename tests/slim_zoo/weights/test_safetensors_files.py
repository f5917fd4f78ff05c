"""Safetensors files, written here according to the specification of the format."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from slim_zoo.weights.safetensors_files import read_safetensors

_BASE = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
_CODES = {'f8': 'F64', 'f4': 'F32', 'f2': 'F16', 'i8': 'I64', 'i4': 'I32', 'i2': 'I16', 'i1': 'I8',
          'u8': 'U64', 'u4': 'U32', 'u2': 'U16', 'u1': 'U8', 'b1': 'BOOL'}


def _safetensors(header, data=b'', length=None):
  header = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack('<Q', len(header) if length is None else length) + header + data


def _entries(arrays, start=0):
  entries, raw = {}, b''
  for name, array in arrays.items():
    begin, raw = start + len(raw), raw + array.tobytes()
    entries[name] = {'dtype': _CODES[array.dtype.str[1:]], 'shape': list(array.shape),
                     'data_offsets': [begin, start + len(raw)]}
  return entries, raw


def test_safetensors(tmp_path):
  arrays = {code: (_BASE * 20).astype(code) for code in _CODES}
  arrays |= {'scalar': np.float32(3) * np.ones((), np.float32), 'empty': np.zeros((0, 3), np.int8)}
  arrays |= {f'empty {i}': np.zeros(0, np.float32) for i in range(9)}
  entries, raw = _entries(arrays)
  upper = (_BASE.view(np.uint32) >> 16).astype(np.uint16)
  place = [len(raw), len(raw) + upper.nbytes]
  entries['bfloat16'] = {'dtype': 'BF16', 'shape': [6, 8], 'data_offsets': place}
  entries['__metadata__'] = {'format': 'pt'}
  (tmp_path / 'x.safetensors').write_bytes(_safetensors(entries, raw + upper.tobytes()))
  arrays['bfloat16'] = (upper.astype(np.uint32) << 16).view(np.float32)
  found = read_safetensors(tmp_path / 'x.safetensors')
  assert [*found] == [*arrays]
  for name, array in arrays.items():
    assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found[name], array)


def _entry(dtype='F32', shape=(2,), offsets=(0, 8)):
  return {'a': {'dtype': dtype, 'shape': list(shape), 'data_offsets': list(offsets)}}


# {damage: (file, the tensor or number that the message names)}.
_BAD_SAFETENSORS = {
  'empty': (b'', '0 bytes'),
  'length 2^63': (_safetensors(_entry(), bytes(8), 2 ** 63), f'{2 ** 63:,}'),
  'length beyond': (_safetensors(_entry(), bytes(8), 1000), '1,000'),
  'long': (_safetensors(json.dumps(_entry()).encode().ljust(2 ** 24 + 1), bytes(8)), '16,777,217'),
  'no JSON': (_safetensors(b'hello'), ''),
  'no text': (_safetensors(b'\xff\xfe'), ''),
  'nested': (_safetensors(b'[' * 10 ** 6), ''),
  'a list': (_safetensors(b'[]'), ''),
  'a long number': (_safetensors(b'{"a": ' + b'9' * 10 ** 6 + b'}'), ''),
  'twice': (_safetensors(b'{"a": 1, "a": 2}'), "'a'"),
  'twice and good': (_safetensors(b'{%s, %s}' % ((json.dumps(_entry()).encode()[1:-1],) * 2),
                                  bytes(8)), "'a'"),
  'keys': (_safetensors({'a': {'dtype': 'F32'}}), 'shape'),
  'type': (_safetensors(_entry(dtype='F8_E4M3', shape=(8,)), bytes(8)), "'a'.* F8_E4M3"),
  'half a byte': (_safetensors(_entry(dtype='F4', shape=(16,)), bytes(8)), "'a'.* F4"),
  'type that is a list': (_safetensors(_entry(dtype=[]), bytes(8)), ''),
  'shape': (_safetensors(_entry(shape=(-2,)), bytes(8)), '-2'),
  'fraction': (_safetensors(_entry(shape=(2.0,)), bytes(8)), '2.0'),
  'truth': (_safetensors(_entry(shape=(True,)), bytes(8)), 'true'),
  '2^40': (_safetensors(_entry(shape=(2 ** 40,), offsets=(0, 2 ** 42)), bytes(8)), ''),
  '2^80': (_safetensors(_entry(shape=(2 ** 40, 2 ** 40)), bytes(8)), ''),
  'huge and empty': (_safetensors(_entry(shape=(0,) + (2 ** 40,) * 8, offsets=(0, 0))), ''),
  'many dimensions': (_safetensors(_entry(shape=(1,) * 32 + (2,)), bytes(8)), "'a'.* 33"),
  'offsets': (_safetensors(_entry(offsets=(8, 0)), bytes(8)), '`a`'),
  'hole at the start': (_safetensors(_entry(offsets=(8, 16)), bytes(16)), '`a`'),
  'hole at the end': (_safetensors(_entry(), bytes(16)), ''),
  'cut': (_safetensors(_entry(), bytes(7)), ''),
  'overlap': (_safetensors({**_entry(), 'b': _entry()['a']}, bytes(8)), '`[ab]`'),
}


@pytest.mark.parametrize('name', _BAD_SAFETENSORS)
def test_invalid_files_are_rejected(tmp_path, name):
  data, named = _BAD_SAFETENSORS[name]
  (tmp_path / 'x.safetensors').write_bytes(data)
  with pytest.raises(ValueError, match=rf'(?s)x\.safetensors.*Received: .*{named}'):
    read_safetensors(tmp_path / 'x.safetensors')


def test_damaged_files_load_or_are_rejected(tmp_path, attacks):
  data = _safetensors(*_entries({'a': _BASE[:2], 'b': np.arange(3, dtype='i4')}))
  files = {str(i): damaged for i, damaged in enumerate(attacks.mutations(data, 200, 'safetensors'))}
  outcomes = attacks.read_guarded(tmp_path / 'files', (
    'slim_zoo.weights.safetensors_files', 'read_safetensors'), {'whole': data, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded dict' and 50 < refused < 200  # Both happen.
