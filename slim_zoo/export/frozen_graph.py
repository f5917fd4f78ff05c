"""Frozen graphs: a `.pb` file, TensorFlow 1's GraphDef with constants instead of variables."""

from __future__ import annotations

import os
import pathlib

import tensorflow as tf

from nets import nets_factory
from slim_zoo.export import runner
from slim_zoo.export.model import LOGITS, PROBABILITIES, Model

INPUT = 'input'  # The name in TF-Slim's exports.
_OF_LOGITS = 'squeezed'  # The end of the names of those outputs that are logits.


def write(model: Model, path: str | os.PathLike[str]) -> None:
  """Writes the graph; constants, scopes and the output have the names of TF-Slim's graphs."""
  values = model.values()
  with tf.Graph().as_default() as graph:
    images = tf.compat.v1.placeholder(tf.float32, [None, *model.image_shape], INPUT)
    found = model.outputs(images, values)
    wanted = [LOGITS, PROBABILITIES]
    alias = nets_factory.NETS[model.name].output_node
    if alias:
      output = found[LOGITS if alias.endswith(_OF_LOGITS) else PROBABILITIES]
      wanted.append(tf.identity(output, name=alias).op.name)
  pathlib.Path(path).write_bytes(_needed(graph.as_graph_def(), wanted).SerializeToString())


def _needed(graph: tf.compat.v1.GraphDef, wanted: list[str]) -> tf.compat.v1.GraphDef:
  """Removes nodes that the wanted ones do not depend on, such as other end points."""
  inputs = {node.name: [name.lstrip('^').split(':')[0] for name in node.input]
            for node in graph.node}
  waiting = [*wanted]
  needed = {INPUT, *waiting}
  while waiting:
    found = set(inputs[waiting.pop()]) - needed
    needed |= found
    waiting += found
  kept = [node for node in graph.node if node.name in needed]
  return tf.compat.v1.GraphDef(node=kept, versions=graph.versions)


def open_export(path: str | os.PathLike[str]) -> runner.Runner:
  """Loads a graph."""
  definition = tf.compat.v1.GraphDef.FromString(pathlib.Path(path).read_bytes())
  with tf.Graph().as_default() as graph:
    tf.graph_util.import_graph_def(definition, name='')
    session = tf.compat.v1.Session(graph=graph)
  return {runner.IMAGES: lambda batch: session.run(f'{LOGITS}:0', {f'{INPUT}:0': batch})}
