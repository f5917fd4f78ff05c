"""The workers of a run talk to each other: they agree, and one tells the others.

All of them call the same functions in the same order, because each call is a collective operation
of TensorFlow. With a single worker, nothing is exchanged.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from slim_zoo.training import cluster as clusters

# A failure of one worker stops the others with these errors, and with what it says itself.
_OF_OTHERS = (tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError,
              tf.errors.FailedPreconditionError, tf.errors.InternalError,
              tf.errors.UnavailableError)
# How TensorFlow names a worker that is frozen or cut off, and how it says that the chief is: the
# others send their heartbeats to it.
_SILENT = re.compile(r'stopped sending heartbeats\):\s*/job:worker/replica:0/task:(\d+)')
_CHIEF_SILENT = '/tensorflow.CoordinationService/Heartbeat'
# A worker that has lost another one stays so long, so that the others can tell which one is gone.
_SECONDS_TO_LOOK = 3.0
# Bytes of each worker that are exchanged at once; all workers have the memory for those of all.
_CHUNK = 2**18


class OtherWorkerError(ValueError):
  """Another worker has failed, and says why."""


class Workers:
  """This worker among all workers of a run.

  Attributes:
    cluster: who they are.
  """

  def __init__(self, cluster: clusters.Cluster, strategy: tf.distribute.Strategy):
    """Talks through a strategy that all workers have created."""
    self.cluster = cluster
    self._strategy = strategy

  @property
  def _replicas(self) -> int:
    """Number of replicas of each worker."""
    return self._strategy.num_replicas_in_sync // self.count

  @property
  def count(self) -> int:
    """Number of workers."""
    return len(self.cluster.addresses)

  @property
  def index(self) -> int:
    """Position of this worker."""
    return self.cluster.index

  @property
  def is_chief(self) -> bool:
    """Whether this worker saves and prints."""
    return self.cluster.is_chief

  def total(self, values: npt.ArrayLike) -> np.ndarray:
    """Adds up the values of all workers, float64 [len(values)]."""
    own = np.asarray(values, np.float64)
    if self.count == 1:
      return own
    return self._total(tf.constant(own)).numpy()

  def of_chief(self, values: npt.ArrayLike) -> np.ndarray:
    """Returns the values of the chief, float64 [len(values)]."""
    return self.total(np.multiply(values, self.is_chief))

  def gather(self, text: str, what: str) -> list[str]:
    """Returns the texts of all workers.

    Args:
      text: of this worker.
      what: a few words on what it is about, the same for all of them.

    Raises:
      ValueError: if another worker tells about something else, because its flags or data differ.
      OtherWorkerError: if another worker has failed meanwhile, see `telling_failures`.
    """
    return [text] if self.count == 1 else self._exchange({'text': text, 'what': what})

  @contextlib.contextmanager
  def telling_failures(self) -> Iterator[None]:
    """Tells the others why this worker fails, inside a `with` block.

    The block may exchange texts, but must not call any other collective operation.
    """
    if self.count == 1:
      yield
      return
    try:
      yield
    except (OtherWorkerError, clusters.LostWorkerError):
      raise
    except Exception as error:
      with contextlib.suppress(OtherWorkerError, *_OF_OTHERS):
        self._exchange({'failure': str(error)})
      raise
    self._exchange({})

  def _exchange(self, message: Mapping[str, str]) -> list[str]:
    received = [json.loads(zlib.decompress(sent)) for sent in self._exchange_bytes(
        zlib.compress(json.dumps(message).encode()))]
    for index, other in enumerate(received):
      if 'failure' in other and index != self.index:
        raise OtherWorkerError(f'Stopped because of {self.cluster.name(index)}: '
                               f'{other["failure"]}')
    for index, other in enumerate(received):
      if other.get('what') != message.get('what') and 'failure' not in message:
        raise ValueError(
            f'Expected all workers to do the same. Received: {self.cluster.name(index)} is at '
            f'{other.get("what", "the end")!r}, and {self.cluster.name(self.index)} at '
            f'{message.get("what", "the end")!r}. Start all of them with the same flags, data and '
            'programs.')
    return [other.get('text', '') for other in received]

  def _exchange_bytes(self, sent: bytes) -> list[bytes]:
    lengths = self.total(np.eye(self.count)[self.index] * len(sent)).astype(int)
    padded = np.zeros([1, max(lengths)], np.int32)
    padded[0, :len(sent)] = np.frombuffer(sent, np.uint8)
    received = [bytearray() for _ in range(self.count)]
    for start in range(0, max(lengths), _CHUNK):
      rows = self._gather(tf.constant(padded[:, start:start + _CHUNK])).numpy()
      for whole, row in zip(received, rows[::self._replicas], strict=True):
        whole += row.astype(np.uint8).tobytes()
    return [bytes(whole[:length]) for whole, length in zip(received, lengths, strict=True)]

  def check_same(self, facts: Mapping[str, Any]) -> None:
    """Checks that all workers know the same.

    Args:
      facts: what must be the same, by the name that a message gives it.

    Raises:
      ValueError: names a worker that differs from the chief, and how.
    """
    of_all = [json.loads(text) for text in self.gather(
        json.dumps(facts, sort_keys=True), 'what must be the same')]
    for index, others in enumerate(of_all):
      for name, value in of_all[0].items():
        if others.get(name) != value:
          raise ValueError(
              f'Expected the same of all workers. Received: {name} is {others.get(name)!r:.200} '
              f'of {self.cluster.name(index)}, but {value!r:.200} of {self.cluster.name(0)}. Start '
              'all of them with the same flags, data and programs.')

  def on_chief(self, action: Callable[[], Any]) -> None:
    """Lets the chief do something while the others wait.

    Raises:
      OtherWorkerError: if the chief fails; it raises the error itself.
    """
    with self.telling_failures():
      if self.is_chief:
        action()

  def explain(self, error: tf.errors.OpError) -> clusters.LostWorkerError | None:
    """Returns the error to raise if another one means that a worker is gone; otherwise None."""
    if self.count == 1 or not isinstance(error, _OF_OTHERS):
      return None
    named = [int(number) for number in _SILENT.findall(str(error))]
    if _CHIEF_SILENT in str(error):
      named.append(0)
    missing = self.cluster.unreachable() or [index for index in named if index != self.index]
    names = ' and '.join(map(self.cluster.name, missing)) or 'another worker'
    time.sleep(_SECONDS_TO_LOOK)
    return clusters.LostWorkerError(
        f'Lost {names}: expected all {self.count} workers until the end. Received: no answer. Its '
        'own log says why it stopped, if it could. The same command on all workers continues from '
        'the last checkpoint.')

  @functools.cached_property
  def _total(self) -> Callable[[tf.Tensor], tf.Tensor]:
    def of_replica(values: tf.Tensor) -> tf.Tensor:
      number = tf.convert_to_tensor(
          tf.distribute.get_replica_context().replica_id_in_sync_group)
      return tf.where(number % self._replicas == 0, values, tf.zeros([], values.dtype))

    return tf.function(lambda values: self._strategy.reduce(
        tf.distribute.ReduceOp.SUM, self._strategy.run(of_replica, args=(values,)), axis=None),
        autograph=False, input_signature=[tf.TensorSpec([None], tf.float64)])

  @functools.cached_property
  def _gather(self) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda values: self._strategy.gather(
        self._strategy.run(tf.identity, args=(values,)), axis=0), autograph=False,
        input_signature=[tf.TensorSpec([1, None], tf.int32)])


ALONE = Workers(clusters.ALONE, tf.distribute.get_strategy())
