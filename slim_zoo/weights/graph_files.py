"""Reading frozen TensorFlow graphs (`.pb`), in which constants replace the variables."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from files.raw_tensors import read_bytes
from files.unpickling import reading
from slim_zoo.weights import keras_config
from slim_zoo.weights.graph_def import Constants, Node, parse, source
from slim_zoo.weights.layer_arrays import FACTOR, RELU6, LayerArrays, ModelArrays, added, variance

_KERNELS = {'Conv2D': 'kernel', 'DepthwiseConv2dNative': 'depthwise_kernel', 'MatMul': 'kernel'}
_BATCH_NORMS = ('FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3')
_MULTIPLICATION = 'Mul'
_ADDITIONS = ('Add', 'AddV2', 'BiasAdd')
_MOST_INPUTS = 8  # Inputs to check; only concatenations have more.
_EPSILON = 1e-4  # TensorFlow's default for batch norm.


def read_graph(path: str | os.PathLike[str]) -> ModelArrays:
  """Reads the layers of a frozen graph.

  Args:
    path: a `.pb` file.

  Returns:
    The arrays of each layer, named as in `layer_arrays.LayerArrays`; constants that belong to no
    layer keep their own names. With them, the size of the model's images.

  Raises:
    ValueError: if the file is damaged or has no weights.
    OSError: if it does not exist or cannot be read.
  """
  advice = ("Copy it again, or freeze the graph: a SavedModel's weights are in separate files next "
            'to its saved_model.pb.')
  with reading(path, 'a frozen graph of TensorFlow, a .pb file', advice) as (file, size):
    nodes = parse(read_bytes(file, size).data)
    layers = LayerArrays(size)
    constants = Constants(nodes, size)
    collector = _Collector(nodes, constants, layers)
    collector.add_kernels()
    collector.add_offsets()
    for name, node in nodes.items():
      array = constants.array(name) if node.op == 'Const' else None
      if array is not None and name not in collector.used:
        layers.add_array(name, array)
    sizes = {keras_config.square([side.size for side in node.attr['shape'].shape.dim])
             for node in nodes.values() if node.op == 'Placeholder' and 'shape' in node.attr}
    return ModelArrays(layers.checked(), sizes.pop() if len(sizes) == 1 else None)


def _epsilon(node: Node) -> float:
  """Returns the epsilon of a batch norm."""
  return node.attr['epsilon'].f if 'epsilon' in node.attr else _EPSILON


def _is_transposed(node: Node) -> bool:
  """Returns whether a matrix product transposes its second factor."""
  return 'transpose_b' in node.attr and node.attr['transpose_b'].b


class _Collector:
  """Collects the layers of a graph.

  Attributes:
    used: the names of the constants in them.
  """

  def __init__(self, nodes: dict[str, Node], constants: Constants, layers: LayerArrays):
    self._nodes, self._constants, self._layers = nodes, constants, layers
    self.used: set[str] = set()

  def add_kernels(self) -> None:
    """Adds the layers with kernels, and batch norm."""
    for name, node in self._nodes.items():
      if node.op not in (*_KERNELS, *_BATCH_NORMS):
        continue
      origins = [self._constants.origin(value) for value in node.input[:_MOST_INPUTS]]
      if node.op in _BATCH_NORMS and len(origins) > 4 and all(origins[2:5]):
        parts = ('gamma', 'beta', 'mean', variance(_epsilon(node)))
        self._add([name], dict(zip(parts, origins[1:5], strict=True)))
      elif node.op in _KERNELS and len(origins) > 1 and origins[1]:
        change = np.transpose if _is_transposed(node) else np.asarray
        self._add([name], {_KERNELS[node.op]: origins[1]}, change)

  def add_offsets(self) -> None:
    """Adds biases and folded batch norm, which is a multiplication and an addition."""
    products = {name: origin for name, node in self._nodes.items()
                if node.op == _MULTIPLICATION and (origin := self._operand(node)[1])}
    then = _followers(self._nodes, self._constants)
    for name, node in self._nodes.items():
      data, origin = self._operand(node) if node.op in _ADDITIONS else ('', None)
      if origin:
        names = [name, data] if data in products else [name]
        offset = added('offset', then.get(name, ''))
        self._add(names, {'scale': products.get(data), offset: origin}, np.ravel)

  def _operand(self, node: Node) -> tuple[str, str | None]:
    """Returns an operator's input, and its constant with one number per channel.

    The constant is None if the operator has none, or if both of its inputs are constant.
    """
    if len(node.input) != 2:
      return '', None
    for data, other in (node.input[:], node.input[::-1]):
      origin = self._constants.origin(other)
      if origin and not self._constants.is_constant(data):
        array = np.asarray(self._constants.array(origin))
        return source(data), origin if array.shape[-1] == array.size else None
    return '', None

  def _add(self, names: list[str], origins: dict[str, str | None],
           change: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
    found = {part: origin for part, origin in origins.items() if origin}
    self.used.update(found.values())
    self._layers.add([*names, *found.values()],
                     **{part: change(np.asarray(self._constants.array(name)))
                        for part, name in found.items()})


def _followers(nodes: dict[str, Node], constants: Constants) -> dict[str, str]:
  """Returns what follows operators, in terms of `layer_arrays.added`."""
  then = {}
  for node in nodes.values():
    if node.op == 'Relu6' and node.input:
      then[source(node.input[0])] = RELU6
    elif node.op == _MULTIPLICATION and len(node.input) == 2:
      for data, other in (node.input[:], node.input[::-1]):
        if constants.is_number(other):
          then[source(data)] = FACTOR
  return then
