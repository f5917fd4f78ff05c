"""TensorFlow graphs, parsed by TensorFlow: operators and constants.

(https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/framework: graph.proto,
node_def.proto, attr_value.proto, tensor.proto.) In memory, an empty message takes about 50 times
its two bytes, and a constant with one value may claim any shape. So sizes are checked before a
graph is parsed and before a constant is decoded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from files.raw_tensors import MOST_DIMENSIONS, are_counts
from slim_zoo.weights import wire_format

Node: TypeAlias = Any  # TensorFlow's NodeDef; its class is made at run time.

_MOST_STRUCTURE = 2 ** 24  # Bytes of everything except numbers; large networks have about 1 MB.
_PER_FIELD = 32  # Added for each field: tiny ones also take time and memory.
_LARGE = 128  # Smallest size, in bytes, of a message that is searched for numbers.
_MOST_STEPS = 16  # Steps from an operator back to a constant.

# The fields that lead to a constant's numbers (graph: node; node: attr; its entry: value; attr:
# tensor), and the fields of a tensor with numbers in as many bytes as in memory.
_TO_TENSOR = (1, 5, 2, 8)
_NODE_NAME, _NODE_OPERATOR = 1, 2
_NUMBERS = (4, 5, 6)  # tensor_content, float_val, double_val

_VALUES = {tf.float32.as_datatype_enum: 'float_val', tf.float64.as_datatype_enum: 'double_val',
           tf.float16.as_datatype_enum: 'half_val', tf.bfloat16.as_datatype_enum: 'half_val'}

# Operators between a constant and its use that do not change its values.
_TRANSPARENT = ('Identity', 'ReadVariableOp', 'Reshape', 'Cast', 'Enter', 'Snapshot')


def parse(data: memoryview) -> dict[str, Node]:
  """Parses a GraphDef.

  Args:
    data: a serialized GraphDef.

  Returns:
    The nodes by name.

  Raises:
    ValueError: if it cannot be parsed, has a node twice, or is unreasonably large.
  """
  left = _MOST_STRUCTURE
  for size in _structure(data, _TO_TENSOR):
    left -= size
    if left < 0:
      raise ValueError(f'a graph of more than {_MOST_STRUCTURE:,} bytes without its numbers')
  try:
    graph = tf.compat.v1.GraphDef.FromString(data)
  except DecodeError as error:
    raise ValueError(str(error)) from error
  nodes: dict[str, Node] = {}
  for node in graph.node:
    if node.name in nodes:
      raise ValueError(f'the node {node.name[:80]!r} twice')
    nodes[node.name] = node
  return nodes


def _structure(message: memoryview, path: Sequence[int]) -> Iterator[int]:
  """Yields the sizes of a message's parts, except those of a tensor's numbers.

  Args:
    message: a serialized message.
    path: field numbers on the path from it to a tensor.
  """
  for number, kind, value in wire_format.fields(message):
    size = 8 if isinstance(value, int) else len(value)
    if isinstance(value, int) or kind != wire_format.BYTES or size < _LARGE:
      yield size + _PER_FIELD
    elif path and number == path[0]:
      yield _PER_FIELD
      yield from _structure(value, path[1:])
    else:
      yield _PER_FIELD + (0 if not path and number in _NUMBERS else size)


def is_graph(path: str, head: bytes) -> bool:
  """Tells whether a file with these first bytes is a graph: its first node names an operator."""
  del path
  try:
    number, kind, node = next(wire_format.first_fields(memoryview(head)), (0, 0, None))
    if node is None or (number, kind) != (_TO_TENSOR[0], wire_format.BYTES):
      return False
    found = itertools.islice(wire_format.first_fields(node), 2)
    return [(number, wire_format.is_text(value)) for number, _, value in found] == [
      (_NODE_NAME, True), (_NODE_OPERATOR, True)]
  except ValueError:
    return False


class Constants:
  """The constants of a graph, each decoded on first access."""

  def __init__(self, nodes: Mapping[str, Node], size: int):
    """Decodes nothing yet; `size`, that of the file in bytes, bounds the memory."""
    self._nodes = nodes
    self._left = size + 2 ** 20  # Elements not in the file, which repeat the last value.
    self._decoded: dict[str, np.ndarray | None] = {}

  def _constant(self, name: str) -> str | None:
    """Returns the name of the constant, of any type, that an input comes from, or None."""
    for _ in range(_MOST_STEPS):
      name = source(name)
      node = self._nodes.get(name)
      if node is None or node.op == 'Const':
        return name if node else None
      if node.op not in _TRANSPARENT or not node.input:
        return None
      name = node.input[0]
    return None

  def origin(self, name: str) -> str | None:
    """Returns the name of the float constant that an input comes from, or None; no scalars."""
    name = self._constant(name) or ''
    return name if name and self.array(name) is not None else None

  def is_constant(self, name: str) -> bool:
    """Returns whether an input comes from a constant of any type."""
    return self._constant(name) is not None

  def is_number(self, name: str) -> bool:
    """Returns whether an input is a constant scalar."""
    node = self._nodes.get(source(name))
    if node is None or node.op != 'Const' or 'value' not in node.attr:
      return False
    return math.prod(_shape(node.attr['value'].tensor)) == 1

  def array(self, name: str) -> np.ndarray | None:
    """Returns a constant of floats; None if it has another type or is a scalar."""
    if name not in self._decoded:
      attributes = self._nodes[name].attr
      self._decoded[name] = (
        self._decode(attributes['value'].tensor) if 'value' in attributes else None)
    return self._decoded[name]

  def _decode(self, tensor: Any) -> np.ndarray | None:
    """Decodes a TensorProto, after checking its size."""
    shape = _shape(tensor)
    if tensor.dtype not in _VALUES or not shape:
      return None
    count = math.prod(shape)
    if not tensor.tensor_content:
      listed = len(getattr(tensor, _VALUES[tensor.dtype]))
      if listed != count:
        self._left -= count
        if not 0 < listed < count or self._left < 0:
          raise ValueError(f'a constant of the shape {shape} with {listed:,} values')
    elif len(tensor.tensor_content) != count * tf.as_dtype(tensor.dtype).size:
      raise ValueError(f'a constant of the shape {shape} with {len(tensor.tensor_content):,} bytes '
                       'of data')
    array = tf.make_ndarray(tensor)
    return array.astype(np.float32) if array.dtype == ml_dtypes.bfloat16 else array


def _shape(tensor: Any) -> tuple[int, ...]:
  """Returns the shape of a TensorProto."""
  sizes = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
  if len(sizes) > MOST_DIMENSIONS or not are_counts(*sizes):
    raise ValueError('a constant of an unknown shape')
  return sizes


def source(name: str) -> str:
  """Returns the operator of an input, which may have the suffix of the first output."""
  return name.removesuffix(':0')
