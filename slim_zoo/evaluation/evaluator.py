"""Measuring a network on every example of a split, each counted once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, overload

import numpy as np
import tensorflow as tf

from nets.folding import Folded
from nets.network import Network
from slim_zoo.evaluation import multi_label
from slim_zoo.evaluation.multi_label import MultiLabelMeasurement
from slim_zoo.evaluation.outcomes import AnyOutcomes, LabelOutcomes, Outcomes

# The column of the weights in what a batch returns, and the number of columns of `_measure`.
_WEIGHT, _COLUMNS = 1, 6


@dataclasses.dataclass(frozen=True)
class Measurement:
  """The result of an evaluation.

  Attributes:
    count: number of examples.
    loss: mean cross-entropy, in nats.
    top_1: share of the examples whose most likely class is right, in [0, 1].
    top_k: share of the examples whose class is among the `k` most likely ones; equal logits are
      ordered by class, as argmax does.
    k: min(5, number of classes).
    class_counts: number of examples of each class, by the network's output.
    class_right: number of those whose most likely class is right.
    among_present: top-1 and top-k if only the classes that have examples can be chosen; None if the
      evaluator does not know them.
    more: for other numbers of classes, (number, share of the examples whose class is among so many
      most likely ones), in ascending order.
  """
  count: int
  loss: float
  top_1: float
  top_k: float
  k: int
  class_counts: tuple[int, ...]
  class_right: tuple[int, ...]
  among_present: tuple[float, float] | None = None
  more: tuple[tuple[int, float], ...] = ()

  @property
  def num_present(self) -> int:
    """Number of classes that have examples."""
    return sum(count > 0 for count in self.class_counts)

  @property
  def recalls(self) -> tuple[float, ...]:
    """The share of each class's examples that are right; NaN for a class without examples."""
    return tuple(right / count if count else math.nan
                 for right, count in zip(self.class_right, self.class_counts, strict=True))

  @property
  def mean_recall(self) -> float:
    """The mean over the classes that have examples, also known as balanced accuracy."""
    return float(np.nanmean(self.recalls))

  def text(self) -> str:
    """Formats the metrics on one line."""
    shares = sorted({1: self.top_1, self.k: self.top_k, **dict(self.more)}.items())
    return ', '.join([*(f'top-{k} {share:.4f}' for k, share in shares),
                      f'mean recall {self.mean_recall:.4f}',
                      f'loss {self.loss:.4f} on {self.count} examples'])

  def facts(self) -> dict:
    """Returns what `eval.json` says of it."""
    found: dict = {'count': self.count, 'top_1': self.top_1, 'top_5': self.top_k, 'k': self.k,
             'mean_recall': self.mean_recall, 'loss': self.loss}
    if self.among_present and self.num_present < len(self.class_counts):
      found['among_present'] = dict(zip(('classes', 'top_1', 'top_5'),
                                        (self.num_present, *self.among_present), strict=True))
    return found | {f'top_{k}': share for k, share in self.more}

  def lines(self) -> str:
    """Formats accuracy and recalls as TF-Slim prints them."""
    recalls = sorted({5: self.top_k, **dict(self.more)}.items())
    return f'eval/Accuracy[{self.top_1:.9g}]' + ''.join(
        f'eval/Recall_{k}[{share:.9g}]' for k, share in recalls)

  def scalars(self) -> dict[str, float]:
    """Returns the metrics by the names under which they are logged and selected."""
    return {'top_1': self.top_1, 'top_5': self.top_k, 'mean_recall': self.mean_recall,
            'loss': self.loss}


AnyMeasurement = Measurement | MultiLabelMeasurement


class Evaluator:
  """Measures one network; the variables of a `Network` may change between measurements."""

  def __init__(self, network: Network | Folded, *, xla: bool = False,
               has_several_labels: bool = False, present: Sequence[int] | None = None,
               top_k: Sequence[int] = (), num_kept: int = 1):
    """Prepares a measurement, under the strategy in force.

    Args:
      network: the network.
      xla: whether XLA compiles the forward pass.
      has_several_labels: whether the network was trained for images with several labels, each
        with a probability of its own. If it was not, examples may still have several right labels
        (Beyer et al. 2020, arXiv:2006.07159, section 3): the one that the network finds most likely
        counts as the label, and examples without labels are left out.
      present: the outputs of the classes that have examples; None if they are not known.
      top_k: further numbers of classes for `Measurement.more`.
      num_kept: number of the most likely classes that `examine` keeps for each example.
    """
    self._top_k, self._num_kept = sorted(set(top_k) - {1, 5}), num_kept
    self._present = None if present is None else sorted(set(present))
    self._strategy = tf.distribute.get_strategy()
    self._network = network
    self._has_several_labels = has_several_labels
    self._forward = tf.function(self._measure_labels if has_several_labels else self._measure,
                                autograph=False, jit_compile=xla)
    self._step = tf.function(self._measure_batch, autograph=False)

  def measure(self, batches: Iterable) -> AnyMeasurement:
    """Measures every example of the batches that has a weight above zero.

    Args:
      batches: of `datasets.input_pipeline.evaluation_batches`, distributed if there are
        several replicas.

    Raises:
      ValueError: if there is no example.
    """
    rows = self._rows(batches, lambda: False)
    return (multi_label.measure(*_by_label(rows)) if self._has_several_labels
            else self._summary(rows))

  @overload
  def examine(self, batches: Iterable) -> tuple[AnyMeasurement, AnyOutcomes]: ...

  @overload
  def examine(self, batches: Iterable, gives_up: Callable[[], bool]
              ) -> tuple[AnyMeasurement, AnyOutcomes] | None: ...

  def examine(self, batches: Iterable, gives_up: Callable[[], bool] = lambda: False
              ) -> tuple[AnyMeasurement, AnyOutcomes] | None:
    """Measures like `measure`, and keeps what the network predicts for each example, in order.

    Args:
      batches: see `measure`.
      gives_up: asked after each batch; once it returns true, the measurement ends.

    Returns:
      The measurement and the outcomes, or None if it was given up.

    Raises:
      ValueError: if there is no example.
    """
    rows = self._rows(batches, gives_up)
    if rows is None:
      return None
    if self._has_several_labels:
      from scipy import special  # Takes half a second to import.
      losses, logits, targets = _by_label(rows)
      return multi_label.measure(losses, logits, targets), LabelOutcomes(
          losses.copy(), special.expit(np.nan_to_num(logits.astype(np.float32))), targets > 0)
    kept = rows[:, _COLUMNS:]
    count = (kept.shape[1] - 1) // 2
    outcomes = Outcomes(
        rows[:, 3].astype(int), rows[:, 0], rows[:, 2].astype(int), kept[:, 0],
        kept[:, 1 + count:].astype(int), kept[:, 1:1 + count], int(rows[0, 4]))
    return self._summary(rows), outcomes

  def _rows(self, batches: Iterable, gives_up: Callable[[], bool]) -> Any:
    """Returns what `_measure` or `_measure_labels` does of all examples, float64; None: given up.

    The weights are above zero.
    """
    parts = []
    for batch in batches:
      parts.append(self._step(batch).numpy())
      if gives_up():
        return None
    rows = np.concatenate(parts) if parts else np.zeros([0, _COLUMNS])
    rows = rows[rows[:, _WEIGHT] > 0].astype(np.float64)
    if not len(rows):
      raise ValueError('Nothing to evaluate: expected at least one example. Received: none.')
    return rows

  def _summary(self, rows: np.ndarray) -> Measurement:
    loss, rank, label, classes = rows[:, 0], rows[:, 2], rows[:, 3].astype(int), int(rows[0, 4])
    k = min(5, classes)
    counts, right = (np.bincount(labels, minlength=classes).tolist()
                     for labels in (label, label[rank < 1]))
    return Measurement(count=len(rows), loss=float(loss.mean()), top_1=float((rank < 1).mean()),
                       top_k=float((rank < k).mean()), k=k, class_counts=tuple(counts),
                       class_right=tuple(right),
                       among_present=None if self._present is None else (
                           float((rows[:, 5] < 1).mean()), float((rows[:, 5] < k).mean())),
                       more=tuple((k, float((rank < min(k, classes)).mean())) for k in self._top_k))

  def _measure_batch(self, batch):
    return self._strategy.gather(self._strategy.run(
        self._forward, args=(batch['image'], batch['label'], batch['weight'])), axis=0)

  def _measure(self, images, labels, weights):
    """Returns float32 [batch, 7 + 2 · kept].

    They are the loss, the weight, the rank of the right class, it, the number of classes, the rank
    among the classes that are present, the probability of the right class, the largest
    probabilities, and their classes.
    """
    logits, _ = self._network(images, is_training=False)
    classes = logits.shape[-1]
    if labels.shape.rank == 2:
      weights *= tf.reduce_max(labels, axis=1)
      labels = tf.argmax(tf.where(labels > 0, logits, -np.inf), axis=1, output_type=tf.int32)
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.gather(logits, labels, axis=1, batch_dims=1)[:, tf.newaxis]
    earlier = tf.range(classes, dtype=labels.dtype)[tf.newaxis] < labels[:, tf.newaxis]
    above = tf.cast((logits > right) | ((logits == right) & earlier), tf.float32)
    ranks = [tf.reduce_sum(above, axis=1)] * 2
    if self._present is not None:
      ranks[1] = tf.reduce_sum(tf.gather(above, self._present, axis=1), axis=1)
    # Comparisons with NaN are false, which would rank a broken network first.
    finite = tf.reduce_all(tf.math.is_finite(logits), axis=1)
    ranks = [tf.where(finite, rank, tf.cast(classes, tf.float32)) for rank in ranks]
    rows = tf.stack([loss, weights, ranks[0], tf.cast(labels, tf.float32),
                     tf.fill(tf.shape(loss), float(classes)), ranks[1]], axis=1)
    # Of the logits: probabilities of different logits may both be 0.
    _, kept = tf.math.top_k(logits, min(self._num_kept, classes))
    values = tf.gather(tf.nn.softmax(logits), kept, batch_dims=1)
    right = tf.exp(-loss)[:, tf.newaxis]
    return tf.concat([rows, right, values, tf.cast(kept, tf.float32)], axis=1)

  def _measure_labels(self, images, targets, weights):
    """Returns float32 [batch, 2 + 2 · classes]: the loss, the weight, the logits, the targets."""
    logits, _ = self._network(images, is_training=False)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=1)
    return tf.concat([tf.stack([loss, weights], axis=1), logits, targets], axis=1)


def _by_label(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns the losses, logits and targets of rows from `_measure_labels`."""
  logits, targets = np.split(rows[:, _WEIGHT + 1:], 2, axis=1)
  return rows[:, 0], logits, targets
