"""Reading `.tflite` models.

TensorFlow Lite's own reader hangs and crashes on damaged files, and TensorFlow has no public module
for the format. The numbers of the few fields that are read are those of TensorFlow Lite's schema
(https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np

from files.raw_tensors import MOST_DIMENSIONS, are_counts, itemsize, lay_over, read_bytes
from files.unpickling import reading
from slim_zoo.weights import keras_config
from slim_zoo.weights.flat_buffers import Bytes, Table
from slim_zoo.weights.layer_arrays import (
  FACTOR,
  RELU6,
  LayerArrays,
  ModelArrays,
  added,
  quantized,
)
from slim_zoo.weights.quantization import dequantize

IDENTIFIER = b'TFL3'  # At the bytes 4 to 8.

# Operators and types of tensors, by their numbers in the schema.
_ADD, _CONV, _DEPTHWISE, _DEQUANTIZE, _CONNECTED, _MUL = 0, 3, 4, 6, 9, 18
_NONE, _RELU6 = 0, 3  # Activations that are fused into operators.
_FLOATS, _INTEGERS = {0: 'f4', 1: 'f2'}, {2: 'i4', 3: 'u1', 4: 'i8', 7: 'i2', 9: 'i1'}
_REJECTED = {17: 'int4', 19: 'uint4', 20: 'int2'}
# The numbers of the fields that are read, table by table.
_CODES, _GRAPHS, _BUFFERS = 1, 2, 4
_OLD_CODE, _CODE = 0, 3
_TENSORS, _GRAPH_INPUTS, _OPERATORS = 0, 1, 3
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION = range(5)
_OPERATOR, _INPUTS, _OUTPUTS, _OPTIONS = 0, 1, 2, 4
_ACTIVATIONS = {_ADD: 0, _CONV: 3, _DEPTHWISE: 4, _CONNECTED: 0, _MUL: 0}  # In their options.
_DATA, _PLACE, _SIZE = range(3)


@dataclasses.dataclass(frozen=True)
class _Operator:
  """An operator: its code, the tensors at its first inputs and its output, its activation."""
  code: int
  inputs: list[int]
  output: int
  activation: int


class _Graph:
  """The first graph of a model: its operators, and the tensors between them."""

  def __init__(self, data: Bytes):
    model = data.table(0)
    graphs = model.tables(_GRAPHS)
    if not len(graphs):
      raise ValueError('a model without a graph')
    self._data = data
    self._buffers = model.tables(_BUFFERS)
    self._tensors = graphs[0].tables(_TENSORS)
    self._inputs = graphs[0].numbers(_GRAPH_INPUTS, 2)
    self._names: dict[int, str] = {}
    self._dequantized: dict[int, np.ndarray | None] = {}
    self._left = len(data.raw) + 2 ** 16  # Integers to dequantize: tensors may share them.
    # Numbers below 128 are in the old field, the others in the new one.
    codes = [max(code.number(_OLD_CODE, 'b'), code.number(_CODE, 'i'))
             for code in model.tables(_CODES)]
    self.operators = [operator for table in graphs[0].tables(_OPERATORS)
                      if (operator := _operator(table, codes))]
    # Separate operators convert 16-bit weights to 32 bits.
    self._origins = {operator.output: operator.inputs[0] for operator in self.operators
                     if operator.code == _DEQUANTIZE}
    self._multiplied = {data for operator in self.operators if operator.code == _MUL
                        for data, other in self.sides(operator)
                        if other is not None and other.size == 1}

  def input_shape(self) -> tuple[int, ...]:
    """Returns the shape of the only input; () if there are others."""
    shape = self._tensors[self._inputs[0]].numbers(_SHAPE, MOST_DIMENSIONS + 1) if (
        len(self._inputs) == 1 and 0 <= self._inputs[0] < len(self._tensors)) else ()
    return tuple(map(int, shape))

  def sides(self, operator: _Operator) -> Iterator[tuple[int, np.ndarray | None]]:
    """Yields each of an operator's first two inputs, with the other one if it is constant."""
    first, second = operator.inputs[:2]
    yield first, self.constant(second)
    yield second, self.constant(first)

  def then(self, operator: _Operator) -> str:
    """Tells what follows an addition, as `layer_arrays.added` calls it."""
    if operator.activation == _RELU6:
      return RELU6
    return FACTOR if operator.output in self._multiplied else ''

  def name(self, index: int) -> str:
    """Returns a tensor's name."""
    if index not in self._names:
      self._names[index] = self._tensors[index].text(_NAME)
    return self._names[index]

  def constant(self, index: int) -> np.ndarray | None:
    """Returns a tensor's numbers, dequantized; None if it is computed, missing, or has no scales.

    Raises:
      ValueError: if their number or their scales do not match its shape.
    """
    index = self._origins.get(index, index)
    if index < 0:
      return None
    kind = self._tensors[index].number(_TYPE, 'b')
    if kind in _FLOATS:
      return self._stored(index, _FLOATS[kind])
    if index not in self._dequantized:
      self._dequantized[index] = self._dequantize(index, kind) if kind in _INTEGERS else None
    return self._dequantized[index]

  def weights(self, index: int) -> np.ndarray | None:
    """Returns the numbers of a kernel or of biases; None if they are computed or missing.

    Raises:
      ValueError: if they are of a type that is not read, or for what `constant` raises.
    """
    found, index = self.constant(index), self._origins.get(index, index)
    if found is None and index >= 0:
      tensor = self._tensors[index]
      if self._place(tensor.number(_BUFFER, 'I')):
        kind = tensor.number(_TYPE, 'b')
        name = (f'{np.dtype(_INTEGERS[kind]).name} without scales' if kind in _INTEGERS
                else _REJECTED.get(kind, f'the type {kind}'))
        raise ValueError(f'a kernel or biases of {name}: {self.name(index)[:80]!r}')
    return found

  def integers(self, index: int) -> str:
    """Names the type of the integers that a kernel is quantized to; '' if it is of floats."""
    kind = self._tensors[self._origins.get(index, index)].number(_TYPE, 'b')
    return np.dtype(_INTEGERS[kind]).name if kind in _INTEGERS else ''

  def _dequantize(self, index: int, kind: int) -> np.ndarray | None:
    integers = self._stored(index, _INTEGERS[kind])
    if integers is None:
      return None
    self._left -= integers.size
    if self._left < 0:
      raise ValueError('tensors that have more integers than the file')
    return dequantize(integers, self._tensors[index].table(_QUANTIZATION))

  def _stored(self, index: int, code: str) -> np.ndarray | None:
    """Returns a tensor's numbers as they are in the file, of NumPy's type `code`; None if none."""
    tensor = self._tensors[index]
    place = self._place(tensor.number(_BUFFER, 'I'))
    if place is None:
      return None
    shape = tuple(tensor.numbers(_SHAPE, MOST_DIMENSIONS + 1))
    begin, size = place
    if len(shape) > MOST_DIMENSIONS or not are_counts(*shape) or (
        math.prod(shape) * itemsize(code) != size):
      raise ValueError(f'a constant of the shape {shape} with {size:,} bytes of data')
    return lay_over(self._data.raw, code, shape, offset=begin)

  def _place(self, index: int) -> tuple[int, int] | None:
    """Returns where a buffer begins in the file, and its size; None if it is empty."""
    if index == 0:
      return None
    buffer = self._buffers[index]
    offset, size = buffer.number(_PLACE, 'Q'), buffer.number(_SIZE, 'Q')
    if offset > 1:  # Models of more than 2 GiB: the bytes are behind the flatbuffer.
      if offset + size > len(self._data.raw):
        raise ValueError(f'a buffer of {size:,} bytes at {offset:,} of {len(self._data.raw):,}')
      return offset, size
    begin, size = buffer.bytes_of(_DATA)
    return (begin, size) if size else None


def _operator(table: Table, codes: Sequence[int]) -> _Operator | None:
  """Reads an operator; None if its kind does not matter here."""
  index = table.number(_OPERATOR, 'I')
  if index >= len(codes):
    raise ValueError(f'an operator of the kind {index:,} of {len(codes):,}')
  code = codes[index]
  inputs, outputs = table.numbers(_INPUTS, 3), table.numbers(_OUTPUTS, 1)
  if code not in (*_ACTIVATIONS, _DEQUANTIZE) or not outputs or (
      len(inputs) < (1 if code == _DEQUANTIZE else 2)):
    return None
  options = table.table(_OPTIONS)
  activation = _NONE
  if options and code in _ACTIVATIONS:
    activation = options.number(_ACTIVATIONS[code], 'b', _NONE)
  return _Operator(code, inputs, outputs[0], activation)


def read_tflite(path: str | os.PathLike[str]) -> ModelArrays:
  """Reads the layers of a `.tflite` model, of floats or quantized to 8 or 16 bits.

  Args:
    path: the file.

  Returns:
    The arrays of each layer, named as in `layer_arrays.LayerArrays`. What is quantized is
    dequantized to float32. With them, the size of the model's images.

  Raises:
    ValueError: if the file is damaged, or its weights are of other types.
    OSError: if it does not exist or may not be read.
  """
  expected = 'a .tflite model of floats, or quantized to 8 or 16 bits'
  advice = 'Copy it again, or name the float model that it was made from.'
  with reading(path, expected, advice) as (file, size):
    raw = read_bytes(file, size)
    if bytes(raw[4:8]) != IDENTIFIER:
      raise ValueError(f'a file without {IDENTIFIER.decode()} at its fifth byte')
    layers = LayerArrays(size)
    graph = _Graph(Bytes(raw))
    _add_kernels(graph, layers)
    _add_scales(graph, layers)
    return ModelArrays(layers.checked(), keras_config.square(graph.input_shape()))


def _add_kernels(graph: _Graph, layers: LayerArrays) -> None:
  """Adds the layers with kernels, which are [out, height, width, in] or [out, in]."""
  for operator in graph.operators:
    if operator.code not in (_CONV, _DEPTHWISE, _CONNECTED):
      continue
    kernel = graph.weights(operator.inputs[1])
    if kernel is None:
      continue
    if kernel.ndim != (2 if operator.code == _CONNECTED else 4):
      raise ValueError(f'a kernel of the shape {kernel.shape}')
    # A depthwise one is [1, height, width, channels · multiplier].
    part = quantized('depthwise_kernel' if operator.code == _DEPTHWISE else 'kernel',
                     graph.integers(operator.inputs[1]))
    parts: dict[str, np.ndarray | None] = {
      part: kernel.T if kernel.ndim == 2 else kernel.transpose(1, 2, 3, 0)}
    if len(operator.inputs) > 2:
      parts[added('bias', graph.then(operator))] = graph.weights(operator.inputs[2])
    tensors = [operator.output, *operator.inputs[1:]]
    layers.add([graph.name(index) for index in tensors if index >= 0], **parts)


def _add_scales(graph: _Graph, layers: LayerArrays) -> None:
  """Adds separate batch norm (a multiplication by constants and an addition) and biases.

  Biases are separate if a reshape comes between them and the product.
  """
  products: dict[int, tuple[list[str], np.ndarray]] = {}
  for operator in graph.operators:
    if operator.code not in (_ADD, _MUL):
      continue
    for data, constant in graph.sides(operator):
      if constant is None or not constant.ndim or constant.shape[-1] != constant.size:
        continue
      names = [graph.name(index) for index in (operator.output, *operator.inputs) if index != data]
      constant = constant.reshape(-1)
      if operator.code == _ADD:
        earlier, scale = products.get(data, ([], None))
        offset = added('offset', graph.then(operator))
        layers.add([*names, *earlier], **{'scale': scale, offset: constant})
      elif operator.activation == _NONE:
        products[operator.output] = names, constant
      break
