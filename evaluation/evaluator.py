"""Measuring a network on every example of a split, each counted once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from nets.network import Network


@dataclasses.dataclass(frozen=True)
class Measurement:
  """What an evaluation found.

  Attributes:
    count: how many examples were measured.
    loss: mean cross-entropy, in nats.
    top_1: share of the examples whose most likely class is right, in [0, 1].
    top_k: share whose class is among the `k` most likely ones; equal logits count in the
      order of their classes, as argmax does.
    k: min(5, number of classes).
  """
  count: int
  loss: float
  top_1: float
  top_k: float
  k: int

  def lines(self) -> str:
    """Formats the two metrics as TF-Slim prints them."""
    return f'eval/Accuracy[{self.top_1:.9g}]eval/Recall_5[{self.top_k:.9g}]'

  def scalars(self) -> dict[str, float]:
    """Returns the metrics by the names that they are logged and chosen under."""
    return {'top_1': self.top_1, 'top_5': self.top_k, 'loss': self.loss}


class Evaluator:
  """Measures one network; its variables may change between measurements."""

  def __init__(self, network: Network, *, xla: bool = False):
    """Prepares a measurement, under the strategy in force.

    Args:
      network: the network.
      xla: whether XLA compiles the forward pass.
    """
    self._strategy = tf.distribute.get_strategy()
    self._network = network
    self._forward = tf.function(self._measure, autograph=False, jit_compile=xla)
    self._step = tf.function(self._measure_batch, autograph=False)

  def measure(self, batches: Iterable,
              gives_up: Callable[[], bool] = lambda: False) -> Measurement | None:
    """Measures every example of the batches that has a weight above zero.

    Args:
      batches: of `datasets.input_pipeline.evaluation_batches`, distributed if there are
        several replicas.
      gives_up: asked after each batch; once it returns true, the measurement ends.

    Returns:
      The measurement, or None if it was given up.

    Raises:
      ValueError: if there is no example.
    """
    rows = []
    for batch in batches:
      rows.append(np.concatenate([part.numpy() for part in self._step(batch)]))
      if gives_up():
        return None
    rows = np.concatenate(rows) if rows else np.zeros([0, 4])
    rows = rows[rows[:, 3] > 0].astype(np.float64)
    if not len(rows):
      raise ValueError('Nothing to evaluate: expected at least one example. Received: none.')
    loss, rank, classes = rows[:, 0], rows[:, 1], int(rows[0, 2])
    k = min(5, classes)
    return Measurement(count=len(rows), loss=float(loss.mean()), top_1=float((rank < 1).mean()),
                       top_k=float((rank < k).mean()), k=k)

  def _measure_batch(self, batch):
    return self._strategy.experimental_local_results(
        self._strategy.run(self._forward, args=(batch['image'], batch['label'], batch['weight'])))

  def _measure(self, images, labels, weights):
    """Returns float32 [batch, 4]: loss, rank of the right class, number of classes, weight."""
    logits, _ = self._network(images, is_training=False)
    classes = logits.shape[-1]
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.gather(logits, labels, axis=1, batch_dims=1)[:, tf.newaxis]
    earlier = tf.range(classes, dtype=labels.dtype)[tf.newaxis] < labels[:, tf.newaxis]
    above = (logits > right) | ((logits == right) & earlier)
    rank = tf.reduce_sum(tf.cast(above, tf.float32), axis=1)
    # Comparisons with NaN are false, which would rank a broken network first.
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=1)
    rank = tf.where(finite, rank, tf.cast(classes, tf.float32))
    return tf.stack([loss, rank, tf.fill(tf.shape(loss), float(classes)), weights], axis=1)
