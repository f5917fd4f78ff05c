"""TensorFlow's graphs, read from GraphDef messages: operators, and the constants among them.

(https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework: graph.proto,
node_def.proto, attr_value.proto, tensor.proto.) They are read here, field by field, so that no more
memory is taken than a few times the file's size.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterator

import numpy as np

from files.raw_tensors import (
  BFLOAT16,
  MOST_DIMENSIONS,
  are_counts,
  itemsize,
  lay_over,
)
from slim_zoo.weights import wire_format

_MOST_FIELDS = 3_000_000  # Several times as many as the graph of the largest network has.
_MOST_INPUTS = 8  # That are looked at; operators that concatenate have more.
_MOST_STEPS = 16  # From an operator back to a constant.

# The numbers of the fields that are read, message by message.
_NODE = 1
_NAME, _OPERATOR, _INPUT, _ATTRIBUTE = 1, 2, 3, 5
_KEY, _VALUE = 1, 2
_FLOAT, _BOOL, _TENSOR = 4, 5, 8
_TYPE, _SHAPE, _CONTENT = 1, 2, 4
_DIMENSION, _SIZE = 2, 1

# Types of tensors, by their numbers: NumPy's code, and the field that lists values one by one.
_TYPES = {1: ('f4', 5), 2: ('f8', 6), 14: (BFLOAT16, 13), 19: ('f2', 13)}

# What lies between a constant and its use, and changes no number.
_TRANSPARENT = ('Identity', 'ReadVariableOp', 'Reshape', 'Cast', 'Enter', 'Snapshot')


@dataclasses.dataclass
class Node:
  """An operator: its kind, where its inputs come from, and its settings that matter here."""
  operator: str = ''
  inputs: list[str] = dataclasses.field(default_factory=list)
  value: memoryview | None = None
  is_transposed: bool = False
  epsilon: float = 1e-4  # TensorFlow's default for batch norm.


class Messages:
  """Reads messages, and counts their fields, which may be tiny and without end."""

  def __init__(self):
    self._left = _MOST_FIELDS

  def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields the numbers and values of a message's fields."""
    for number, _, value in wire_format.fields(message):
      self._left -= 1
      if self._left < 0:
        raise ValueError(f'a graph of more than {_MOST_FIELDS:,} fields')
      yield number, value

  def nodes(self, graph: memoryview) -> dict[str, Node]:
    """Reads all operators by name."""
    nodes = {}
    for number, value in self.fields(graph):
      if number != _NODE:
        continue
      name, node = self._node(_message(value))
      if name in nodes:
        raise ValueError(f'the node {name[:80]!r} twice')
      nodes[name] = node
    return nodes

  def _node(self, message: memoryview) -> tuple[str, Node]:
    name, node = '', Node()
    for number, value in self.fields(message):
      if number == _NAME:
        name = _text(value)
      elif number == _OPERATOR:
        node.operator = _text(value)
      elif number == _INPUT and len(node.inputs) < _MOST_INPUTS:
        node.inputs.append(_text(value))
      elif number == _ATTRIBUTE:
        self._set(node, _message(value))
    return name, node

  def _set(self, node: Node, attribute: memoryview) -> None:
    entry = dict(self.fields(attribute))
    key = _text(entry.get(_KEY, b''))
    if key not in ('value', 'transpose_b', 'epsilon'):
      return
    found = dict(self.fields(_message(entry.get(_VALUE, b''))))
    if key == 'value' and _TENSOR in found:
      node.value = _message(found[_TENSOR])
    elif key == 'transpose_b':
      node.is_transposed = bool(found.get(_BOOL, 0))
    elif key == 'epsilon' and _FLOAT in found:
      node.epsilon, = struct.unpack('<f', _message(found[_FLOAT]))


def _message(value: int | bytes | memoryview) -> memoryview:
  """Checks that a field has bytes, and returns them."""
  if type(value) is int:
    raise ValueError('a number where a message is expected')
  return memoryview(value)


def _text(value: int | bytes | memoryview) -> str:
  return bytes(_message(value)).decode()


class Constants:
  """The constants of a graph, decoded when they are asked for."""

  def __init__(self, nodes: dict[str, Node], messages: Messages, size: int):
    self._nodes, self._messages = nodes, messages
    self._left = size + 2 ** 20  # Elements that a file may mean by one value.
    self._decoded: dict[str, np.ndarray | None] = {}

  def _constant(self, name: str) -> str | None:
    """Returns the name of the constant of any type that an input comes from, if it is one."""
    for _ in range(_MOST_STEPS):
      name = source(name)
      node = self._nodes.get(name)
      if node is None or node.operator == 'Const':
        return name if node else None
      if node.operator not in _TRANSPARENT or not node.inputs:
        return None
      name = node.inputs[0]
    return None

  def origin(self, name: str) -> str | None:
    """Returns the name of the constant of floats that an input comes from; not of a scalar."""
    name = self._constant(name)
    return name if name and self.array(name) is not None else None

  def is_constant(self, name: str) -> bool:
    """Tells whether an input comes from a constant of any type."""
    return self._constant(name) is not None

  def is_number(self, name: str) -> bool:
    """Tells whether an input is one constant number."""
    node = self._nodes.get(source(name))
    if node is None or node.operator != 'Const' or node.value is None:
      return False
    shape = dict(self._messages.fields(node.value)).get(_SHAPE, b'')
    return math.prod(self._shape(_message(shape))) == 1

  def array(self, name: str) -> np.ndarray | None:
    """Returns a constant of floats; None if it is one of something else, or a scalar."""
    if name not in self._decoded:
      value = self._nodes[name].value
      self._decoded[name] = None if value is None else self._decode(value)
    return self._decoded[name]

  def _decode(self, message: memoryview) -> np.ndarray | None:
    fields: dict[int, list] = {}
    for number, value in self._messages.fields(message):
      fields.setdefault(number, []).append(value)
    kind = fields.get(_TYPE, [0])[-1]
    shape = self._shape(_message(fields.get(_SHAPE, [b''])[-1]))
    if kind not in _TYPES or not shape:
      return None
    code, listed = _TYPES[kind]
    if _CONTENT in fields:
      raw = np.frombuffer(_message(fields[_CONTENT][-1]), np.uint8)
      if len(raw) != math.prod(shape) * itemsize(code):
        raise ValueError(f'a constant of the shape {shape} with {len(raw):,} bytes of data')
      return lay_over(raw, code, shape)
    return self._fill(self._values(fields.get(listed, []), code), shape)

  def _shape(self, message: memoryview) -> tuple[int, ...]:
    sizes = []
    for number, value in self._messages.fields(message):
      if number == _DIMENSION:
        size = dict(self._messages.fields(_message(value))).get(_SIZE, 0)
        sizes.append(wire_format.signed(size) if type(size) is int else -1)
    if len(sizes) > MOST_DIMENSIONS or not are_counts(*sizes):
      raise ValueError('a constant of an unknown shape')
    return tuple(sizes)

  def _values(self, listed: list[int | memoryview], code: str) -> np.ndarray:
    """Decodes values that are listed, packed into one field or each in its own."""
    if code in ('f4', 'f8'):
      raw = np.frombuffer(b''.join(map(_message, listed)), np.uint8)
      return lay_over(raw, code, [len(raw) // itemsize(code)])
    numbers = []  # The bits of types of 16 bits are integers.
    for value in listed:
      numbers += [value] if type(value) is int else wire_format.varints(value, _MOST_FIELDS)
    if not all(0 <= number < 2 ** 16 for number in numbers):
      raise ValueError('a number of more than 16 bits')
    return lay_over(np.array(numbers, '<u2').view(np.uint8), code, [len(numbers)])

  def _fill(self, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Lays values out; the last stands for all that follow it."""
    count = math.prod(shape)
    if len(values) == count:
      return values.reshape(shape)
    self._left -= count
    if not len(values) or len(values) > count or self._left < 0:
      raise ValueError(f'a constant of the shape {shape} with {len(values):,} values')
    array = np.full(count, values[-1])
    array[:len(values)] = values
    return array.reshape(shape)


def source(name: str) -> str:
  """Returns an operator's name in that of its first output."""
  return name.removesuffix(':0')
