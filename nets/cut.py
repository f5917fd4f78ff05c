"""Splits a network into a trunk, whose output for an image never changes, and a head.

The trunk is everything that depends on the images but not on trained variables or random numbers.
It is found in the network's graph, so no network has to declare where it ends; the boundary may
consist of several tensors. The head is called like a `network.Network`, with these tensors instead
of images.

Both parts read the variables of the replica that calls them: gradients and the moving averages of
batch norm are those of the whole network.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Mapping, Sequence

import tensorflow as tf

from nets import complexity
from nets.network import Network
from nets.stand_in import StandIn

_IMAGES, _KEYS, _STEP = 'cut/images', 'cut/keys', 'cut/step'
# End points that training and evaluation use.
_OUTPUTS = ('AuxLogits',)
# Prefix of the outputs that update a variable, before the variable's name.
_UPDATE = 'update/'


@dataclasses.dataclass(frozen=True)
class Boundary:
  """A tensor between trunk and head.

  Attributes:
    name: its name in the network's graph.
    shape: of one example.
    dtype: of the tensor.
  """
  name: str
  shape: tuple[int, ...]
  dtype: tf.DType


@dataclasses.dataclass(frozen=True)
class _Trace:
  """A network's graph, with placeholders for its inputs and variables.

  Attributes:
    graph: the graph.
    placeholders: names of the variables' placeholders, by variable.
    outputs: names of the tensors that are used: `logits`, end points, and the updates of variables,
      by `update/` and the variable's name.
  """
  graph: tf.Graph
  placeholders: dict[str, str]
  outputs: dict[str, str]


def _trace(network: Network, image_shape: Sequence[int], batch: int, *,
           is_training: bool) -> _Trace:
  with tf.Graph().as_default() as graph:
    # A fixed batch size: no shape is then computed from the trunk's tensors.
    images = tf.compat.v1.placeholder(tf.float32, [batch, *image_shape], _IMAGES)
    keys = tf.compat.v1.placeholder(tf.int64, [batch, 2], _KEYS)
    step = tf.compat.v1.placeholder(tf.int64, [], _STEP)
    variables = {name: StandIn(tf.compat.v1.placeholder(variable.dtype, variable.shape,
                                                        f'cut/variables/{name}'))
                 for name, variable in network.variables.items()}
    logits, end_points = network(images, is_training=is_training, keys=keys, step=step,
                                 variables=variables)
    outputs = {'logits': logits, **{name: end_points[name] for name in _OUTPUTS
                                    if name in end_points}}
    outputs |= {f'{_UPDATE}{name}': variable.update for name, variable in variables.items()
                if variable.update is not None}
  return _Trace(graph, {name: variable.tensor.name for name, variable in variables.items()},
                {key: tensor.name for key, tensor in outputs.items()})


def _boundary(trace: _Trace, inference: tf.Graph, trainable: Sequence[str]) -> list[tf.Tensor]:
  """Finds the tensors of the trunk that the head or the result uses.

  Operations that differ in inference, such as dropout and batch norm with batch statistics, do not
  belong to the trunk, so the same trunk serves training and validation. Nor do operations that read
  a variable that training updates, whether trainable or not.
  """
  graph = trace.graph
  same = {op.name: op.node_def for op in inference.get_operations()}
  changed = [*trainable, *(key.removeprefix(_UPDATE) for key in trace.outputs
                           if key.startswith(_UPDATE))]
  hot = {trace.placeholders[name].partition(':')[0] for name in changed} | {_KEYS, _STEP}
  trunk: set[str] = set()
  found: dict[str, tf.Tensor] = {}
  used = _needed(graph, list(trace.outputs.values()))  # Not the layers after a head's end point.
  for op in graph.get_operations():  # In the order of their creation: inputs come first.
    if op.name not in used:
      continue
    inputs = [*(tensor.op.name for tensor in op.inputs), *(o.name for o in op.control_inputs)]
    if op.name in hot or same.get(op.name) != op.node_def or any(name in hot for name in inputs):
      hot.add(op.name)
      found |= {tensor.name: tensor for tensor in op.inputs if tensor.op.name in trunk}
    elif op.name == _IMAGES or any(name in trunk for name in inputs):
      trunk.add(op.name)
  outputs = [graph.get_tensor_by_name(name) for name in trace.outputs.values()]
  found |= {tensor.name: tensor for tensor in outputs if tensor.op.name in trunk}
  return list(found.values())


def _needed(graph: tf.Graph, ends: Sequence[str], starts: Sequence[str] = ()) -> set[str]:
  """Finds the names of the operations that `ends` need, given the tensors `starts`."""
  given = set(starts)
  needed, waiting = set(), [name for name in ends if name not in given]
  while waiting:
    op = graph.get_tensor_by_name(waiting.pop()).op
    if op.name in needed:
      continue
    needed.add(op.name)
    waiting += [tensor.name for tensor in op.inputs if tensor.name not in given]
    waiting += [f'{control.name}:0' for control in op.control_inputs if control.outputs]
  return needed


def _definition(trace: _Trace, ends: Sequence[str],
                starts: Sequence[str]) -> tf.compat.v1.GraphDef:
  """Returns the operations that `ends` need, given the tensors `starts`."""
  needed = _needed(trace.graph, ends, starts)
  whole = trace.graph.as_graph_def()
  part = tf.compat.v1.GraphDef(versions=whole.versions, library=whole.library)
  part.node.extend(node for node in whole.node if node.name in needed)
  return part


class _Part:
  """A part of a network as a function of its input tensors and variables.

  As a function of its own it is differentiated as a whole: a `tf.GradientTape` does not record
  operations that are imported into the function that it watches.
  """

  def __init__(self, trace: _Trace, ends: Sequence[str], starts: Sequence[str]):
    definition = _definition(trace, ends, starts)
    present = {node.name for node in definition.node}
    self.variables = [name for name, placeholder in trace.placeholders.items()
                      if placeholder.partition(':')[0] in present]
    self.others = [name for name in (_IMAGES, _KEYS, _STEP) if name in present]
    taken = {name if ':' in name else f'{name}:0' for node in definition.node
             for name in node.input}
    self._needed = [name in taken for name in starts]
    names = [*itertools.compress(starts, self._needed), *(f'{name}:0' for name in self.others),
             *(trace.placeholders[name] for name in self.variables)]
    self.digest = hashlib.sha256(b'\n'.join(sorted(
        node.SerializeToString(deterministic=True) for node in definition.node))).hexdigest()
    self.multiply_adds = sum(complexity.multiply_adds(trace.graph.get_operation_by_name(name))
                             for name in present)
    self._apply = tf.function(lambda *values: tf.graph_util.import_graph_def(
        definition, dict(zip(names, values, strict=True)), list(ends), name=''), autograph=False)

  def __call__(self, starts: Sequence[tf.Tensor], others: Mapping[str, tf.Tensor],
               variables: Mapping[str, tf.Variable]) -> list[tf.Tensor]:
    """Computes the ends.

    Args:
      starts: values of the part's start tensors.
      others: images, keys and step, where they are needed.
      variables: the network's variables.
    """
    return self._apply(*itertools.compress(starts, self._needed),
                       *(others[name] for name in self.others),
                       *(tf.convert_to_tensor(variables[name]) for name in self.variables))


class Trunk:
  """The part of a network that training does not change; call it inside a `tf.function`."""

  def __init__(self, network: Network, image_shape: Sequence[int], boundary: Sequence[Boundary]):
    def make(batch: int) -> _Part:
      trace = _trace(network, image_shape, batch, is_training=False)
      return _Part(trace, [tensor.name for tensor in boundary], ())

    self._network, self._part = network, functools.cache(make)

  def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Computes the boundary's tensors for float32 images [batch, height, width, channels]."""
    return tuple(self._part(images.shape[0])((), {_IMAGES: images}, self._network.variables))

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """The variables that it depends on, by name."""
    return {name: self._network.variables[name] for name in self._part(1).variables}

  @property
  def digest(self) -> str:
    """A digest of its operations, without the variables' values: the same in every process."""
    return self._part(1).digest

  @property
  def multiply_adds(self) -> int:
    """Number of multiply-adds per image; see `complexity`."""
    return self._part(1).multiply_adds


class Head:
  """The part after the boundary, with the interface of a `network.Network`."""

  def __init__(self, network: Network, image_shape: Sequence[int], boundary: Sequence[Boundary]):
    def make(batch: int, is_training: bool) -> tuple[_Trace, _Part]:
      trace = _trace(network, image_shape, batch, is_training=is_training)
      part = _Part(trace, list(trace.outputs.values()), [tensor.name for tensor in boundary])
      if _IMAGES in part.others and all(tensor.name != f'{_IMAGES}:0' for tensor in boundary):
        raise ValueError('The network cannot be cut: what follows the frozen part needs the '
                         'images. Set --cache_features=off.')
      return trace, part

    self.variables, self.trainable = network.variables, network.trainable
    self.sync_batch_norm = False  # A graph that was cut cannot exchange anything.
    self._network, self._boundary = network, boundary
    self._frozen_loss = tf.Variable(0.0, trainable=False)
    self._part = functools.cache(make)
    self.freeze()

  def freeze(self) -> None:
    """Reads the values of the variables that are not trained; call it after restoring them."""
    self._frozen_loss.assign(self._network.regularization_loss(self._frozen()))

  @property
  def multiply_adds(self) -> int:
    """Number of multiply-adds per image in the forward pass; see `complexity`."""
    return self._part(1, False)[1].multiply_adds

  def regularization_loss(self) -> tf.Tensor:
    """Sums the regularizers of all variables; that of the frozen ones is constant."""
    return self._frozen_loss + self._network.regularization_loss(self.trainable)

  def batch_norm_memory(self) -> float:
    """Returns that of the whole network, whose frozen layers have none."""
    return self._network.batch_norm_memory()

  def _frozen(self) -> list[str]:
    trained = set(self.trainable)
    return [name for name in self.variables if name not in trained]

  def __call__(self, features: Sequence[tf.Tensor], *, is_training: bool,
               keys: tf.Tensor | None = None, step: tf.Tensor | None = None):
    """Applies the head.

    Args:
      features: the boundary's tensors, each [batch, …], of their dtype or float32.
      is_training, keys, step: see `network.Network`.

    Returns:
      Logits, float32 [batch, num_classes], and the end points that training uses.
    """
    trace, part = self._part(features[0].shape[0], is_training)
    features = [tf.cast(value, tensor.dtype)
                for value, tensor in zip(features, self._boundary, strict=True)]
    found = dict(zip(trace.outputs, part(features, {_KEYS: keys, _STEP: step}, self.variables),
                     strict=True))
    for key, value in found.items():
      if key.startswith(_UPDATE):
        self.variables[key.removeprefix(_UPDATE)].assign_sub(value)
    return found['logits'], {name: found[name] for name in _OUTPUTS if name in found}


def cut(network: Network, image_shape: Sequence[int]) -> tuple[Trunk, Head, tuple[Boundary, ...]]:
  """Cuts a network before the first layers that are trained or random.

  Args:
    network: a network built for training.
    image_shape: [height, width, channels].

  Returns:
    The trunk, the head and the boundary between them; the boundary is the images if nothing can be
    computed in advance.
  """
  trace = _trace(network, image_shape, 1, is_training=True)
  inference = _trace(network, image_shape, 1, is_training=False)
  boundary = tuple(Boundary(tensor.name, tuple(tensor.shape[1:]), tensor.dtype)
                   for tensor in _boundary(trace, inference.graph, network.trainable))
  return (Trunk(network, image_shape, boundary), Head(network, image_shape, boundary), boundary)
