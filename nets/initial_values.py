"""The initial values of variables, drawn by slim's initializers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

# The random operations of initializers, and those that give the same numbers without a session.
_RANDOM = {'TruncatedNormal': tf.raw_ops.StatelessTruncatedNormalV2,
           'RandomStandardNormal': tf.raw_ops.StatelessRandomNormalV2,
           'RandomUniform': tf.raw_ops.StatelessRandomUniformV2}
_ARITHMETIC = {'Mul': np.multiply, 'AddV2': np.add, 'Sub': np.subtract}
_PHILOX = 1


def draw(name: str, shape: Sequence[int], initializer: Callable, *, seed: int) -> np.ndarray:
  """Draws a variable's initial value, a function of the seed and the name alone.

  slim's initializers draw from the generator of the graph that they are called in. A graph of its
  own leaves the user's generators, and those of tf.data, as they are.

  Args:
    name, shape: of the variable.
    initializer: `initializer(shape, dtype=…)`, which adds operations to a graph.
    seed: of the network.

  Returns:
    float32, of this shape.
  """
  with tf.Graph().as_default() as graph, tf.device('CPU:0'):
    tf.compat.v1.set_random_seed(zlib.crc32(f'{seed}/{name}'.encode()))
    value = initializer(list(shape), dtype=tf.float32)
  found = _evaluated(value)
  if found is not None:
    return found
  with tf.compat.v1.Session(graph=graph) as session:  # Slow: 5 ms for each of 1,500 variables.
    return session.run(value)


def _evaluated(tensor: tf.Tensor) -> np.ndarray | None:
  """The value of a constant, or of scaled and shifted random numbers; None for anything else."""
  constant = tf.get_static_value(tensor)
  if constant is not None:
    return constant
  operation = tensor.op
  if operation.type in _RANDOM:
    seeds = [operation.get_attr(name) & (2**64 - 1) for name in ('seed', 'seed2')]
    with tf.init_scope(), tf.device('CPU:0'):
      return _RANDOM[operation.type](
          shape=tensor.shape, key=np.array(seeds[:1], np.uint64),
          counter=np.array([0, seeds[1]], np.uint64), alg=_PHILOX, dtype=tensor.dtype).numpy()
  if operation.type in _ARITHMETIC:
    first, second = map(_evaluated, operation.inputs)
    if first is not None and second is not None:
      return _ARITHMETIC[operation.type](first, second)
  return None
