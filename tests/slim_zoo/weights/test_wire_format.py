"""Protocol buffers' wire format, compared with the protobuf package."""

from __future__ import annotations

import pytest
import tensorflow as tf

from slim_zoo.weights import wire_format


@pytest.mark.parametrize('number', [0, 1, 127, 128, 300, 2 ** 31, 2 ** 63 - 1, -1, -2 ** 63])
def test_numbers(number):
  shape = tf.TensorShape([1]).as_proto()
  shape.dim[0].size = number
  shape.dim[0].name = 'x' * 300
  (field, kind, dimension), = wire_format.fields(memoryview(shape.SerializeToString()))
  assert (field, kind) == (2, wire_format.BYTES)
  found = {field: (kind, value) for field, kind, value in wire_format.fields(dimension)}
  assert found[2] == (wire_format.BYTES, b'x' * 300)
  kind, value = found.get(1, (wire_format.VARINT, 0))  # Zero is not written.
  assert (kind, wire_format.signed(value)) == (wire_format.VARINT, number)


def test_packed_numbers():
  assert wire_format.varints(memoryview(b'\x01\xac\x02' + b'\xff' * 9 + b'\x01'), 3) == [1, 300, -1]


@pytest.mark.parametrize('data, reason', [
  (b'\x80', 'ends within a number'),
  (b'\x08' + b'\xff' * 10, 'more than ten bytes'),
  (b'\x0b', 'of the kind 3'),
  (b'\x02\x00', 'the field 0'),
  (b'\x0a\x05abcd', 'of 5 bytes, with 4 left'),
  (b'\x0a' + b'\xff' * 9 + b'\x01', '18,446,744,073,709,551,615 bytes'),
  (b'\x09abcdefg', 'of 8 bytes, with 7 left'),
  (b'\x0dabc', 'of 4 bytes, with 3 left'),
])
def test_invalid_messages_are_rejected(data, reason):
  with pytest.raises(ValueError, match=reason):
    list(wire_format.fields(memoryview(data)))


def test_too_many_packed_numbers():
  with pytest.raises(ValueError, match='more than 3 numbers'):
    wire_format.varints(memoryview(bytes(4)), 3)
