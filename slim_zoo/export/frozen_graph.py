"""Frozen graphs: a `.pb` file, TensorFlow 1's GraphDef with constants instead of variables."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from slim_zoo.export.model import LOGITS, PROBABILITIES, Model

INPUT = 'input'  # The name in TF-Slim's exports.


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Writes the graph; constants and scopes have the names of TF-Slim's variables."""
  values = model.values()
  with tf.Graph().as_default() as graph:
    images = tf.compat.v1.placeholder(tf.float32, [None, *model.image_shape], INPUT)
    model.outputs(images, values)
  pathlib.Path(path).write_bytes(_needed(graph.as_graph_def()).SerializeToString())


def _needed(graph: tf.compat.v1.GraphDef) -> tf.compat.v1.GraphDef:
  """Removes nodes that the outputs do not depend on, such as other end points."""
  inputs = {node.name: [name.lstrip('^').split(':')[0] for name in node.input]
            for node in graph.node}
  waiting = [LOGITS, PROBABILITIES]
  needed = {INPUT, *waiting}
  while waiting:
    found = set(inputs[waiting.pop()]) - needed
    needed |= found
    waiting += found
  kept = [node for node in graph.node if node.name in needed]
  return tf.compat.v1.GraphDef(node=kept, versions=graph.versions)


def logits(path: str | os.PathLike[str], images: np.ndarray,
           files: np.ndarray) -> Iterator[np.ndarray]:
  """Yields the logits of preprocessed images; graphs do not take `files`."""
  del files
  definition = tf.compat.v1.GraphDef.FromString(pathlib.Path(path).read_bytes())
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    tf.graph_util.import_graph_def(definition, name='')
    yield session.run(f'{LOGITS}:0', {f'{INPUT}:0': images})
