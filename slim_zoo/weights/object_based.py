"""Reading object-based checkpoints: those of `tf.train.Checkpoint`, including Keras' models.

Besides tensors they contain the graph of the objects that own them, a `TrackableObjectGraph`
(https://www.tensorflow.org/guide/checkpoint). A tensor's own name is only the shortest path to it,
which for a trained layer often leads through the optimizer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from slim_zoo.weights import wire_format
from slim_zoo.weights.reader import Checkpoint

GRAPH = '_CHECKPOINTABLE_OBJECT_GRAPH'
_VALUE = 'VARIABLE_VALUE'
# Children that only optimizers have (Keras 3 and 2), and lists that repeat a layer's variables.
_OF_OPTIMIZERS = {'_iterations', 'iterations', 'iter', '_learning_rate', 'learning_rate'}
_LISTS = {'_trainable_variables', '_non_trainable_variables', 'trainable_variables',
          'non_trainable_variables', 'keras_api', 'save_counter', 'signatures'}


@dataclasses.dataclass
class _Node:
  """An object: its children and the name of its tensor."""
  children: list[tuple[str, int]] = dataclasses.field(default_factory=list)
  key: str = ''


class ObjectBased:
  """An object-based checkpoint; a `restore.Source` whose names are paths of attributes.

  Variables are named by the first path to them, such as `model/_operations/1/_kernel`; those of
  optimizers are left out.

  Raises:
    ValueError: if the graph of objects is damaged.
  """

  def __init__(self, checkpoint: Checkpoint):
    self.path, self._checkpoint = checkpoint.path, checkpoint
    graph = checkpoint.read(GRAPH)
    try:
      self._keys = _names(_nodes(graph), checkpoint.shapes)
    except (ValueError, TypeError) as error:
      raise ValueError(f'The checkpoint {self.path} cannot be read. Expected: one of '
                       f'tf.train.Checkpoint. Received: {error}. Copy it again, or name another '
                       'one.') from error
    self.shapes = {name: checkpoint.shapes[key] for name, key in self._keys.items()}

  def read(self, name: str) -> np.ndarray:
    """Returns one array; ValueError if the file is damaged."""
    return self._checkpoint.read(self._keys[name])


def _nodes(graph: Any) -> list[_Node]:
  """Parses the message: nodes (1), their children (1) and attributes (2)."""
  nodes = []
  for number, kind, value in wire_format.fields(memoryview(graph)):
    if (number, kind) == (1, wire_format.BYTES):
      nodes.append(_node(value))
  return nodes


def _node(message: memoryview) -> _Node:
  node = _Node()
  for number, kind, value in wire_format.fields(message):
    if kind != wire_format.BYTES or number not in (1, 2):
      continue
    parts = {part: content for part, _, content in wire_format.fields(value)}
    if number == 1:  # node_id (1), local_name (2).
      node.children.append((_text(parts.get(2)), parts.get(1, 0)))
    elif _text(parts.get(1)) == _VALUE:  # name (1), checkpoint_key (3).
      node.key = _text(parts.get(3))
  return node


def _text(value: memoryview | None) -> str:
  return '' if value is None else bytes(value).decode()


def _names(nodes: list[_Node], known: dict[str, tuple[int, ...]]) -> dict[str, str]:
  """Walks breadth-first from the root; returns `{name: tensor's own name}`."""
  result: dict[str, str] = {}
  taken: set[str] = set()
  waiting, seen = [('', 0)], {0}
  for path, number in waiting:  # Grows during the loop.
    children = nodes[number].children if number < len(nodes) else []
    if _OF_OPTIMIZERS & {name for name, _ in children}:
      continue
    for name, child in children:
      if type(child) is not int or child >= len(nodes):
        raise ValueError('a reference to a missing object')
      if name in _LISTS:
        continue
      key = nodes[child].key
      if key in known and key not in taken:
        taken.add(key)
        result[path + name] = key
      if child not in seen:
        seen.add(child)
        waiting.append((f'{path}{name}/', child))
  return result
