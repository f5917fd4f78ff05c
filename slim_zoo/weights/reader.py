"""Reading name-based checkpoints of TensorFlow 1 and of this project."""

from __future__ import annotations

import contextlib
import math
import os
import weakref

import numpy as np
import tensorflow as tf

from files import reasons
from files.plain_paths import plain
from slim_zoo.weights import checkpoint_index

AVERAGE_SUFFIX = '/ExponentialMovingAverage'
# Errors that TensorFlow's reader raises.
_FAILURES = (tf.errors.OpError, *reasons.FAILURES)


class Checkpoint:
  """A checkpoint that is open for reading.

  Attributes:
    path: its prefix, the path without suffixes.
    shapes: `{name: shape}` of all its tensors.
  """

  def __init__(self, prefix: str):
    self.path = prefix
    self._index = self._size = None
    self._place = prefix  # The path passed to TensorFlow.
    try:
      if os.path.exists(f'{prefix}.index'):
        self._index = checkpoint_index.read_index(prefix)
      else:  # Format V1.
        self._size = checkpoint_index.check_slices(prefix)
      links = contextlib.ExitStack()
      weakref.finalize(self, links.close)  # The reader opens the data files on demand.
      self._place = links.enter_context(plain(prefix))
      self._reader = tf.train.load_checkpoint(self._place)
      self.shapes = {name: tuple(shape)
                     for name, shape in self._reader.get_variable_to_shape_map().items()}
      # The file's claims are checked before they are used.
      for name in self.shapes:
        entry = self._index and self._index.entries.get(name)
        if not (entry and entry.is_partitioned):
          self._check(name)
      self._hold()
    except PermissionError:
      raise
    except _FAILURES as error:
      raise self._damaged(error) from error

  def _damaged(self, error: Exception) -> ValueError:
    reason = reasons.short_reason(error).replace(self._place, self.path)
    if 'hecksum' in reason:  # TensorFlow's words.
      reason = 'a checksum does not match: bytes were changed on disk or in transfer'
    return ValueError(f'The checkpoint {self.path} cannot be read; it is truncated or damaged '
                      f'({reason}). Copy it again, or choose another one. A training run '
                      'continues from an older one if the damaged files are removed.')

  def read(self, name: str) -> np.ndarray:
    """Reads one tensor.

    Raises:
      ValueError: if the file is truncated or damaged.
    """
    try:
      with contextlib.suppress(FileNotFoundError):  # Removed since, but the reader holds it.
        self._check(name)
      return self._reader.get_tensor(name)
    except _FAILURES as error:
      raise self._damaged(error) from error

  def _hold(self) -> None:
    """Makes the reader open all data files, which a training run may remove from now on."""
    entries = self._index.entries if self._index else {}
    smallest: dict[int, str] = {}
    for name in sorted(set(entries) & set(self.shapes), key=lambda name: entries[name].size):
      if not entries[name].is_partitioned:
        smallest.setdefault(entries[name].shard, name)
    for name in smallest.values():
      with contextlib.suppress(*_FAILURES):  # `read` explains what is wrong with a tensor.
        self._reader.get_tensor(name)

  def _check(self, name: str) -> None:
    if self._index:
      self._index.check(name)
    elif math.prod(shape := self.shapes.get(name, ())) > self._size:
      # Each number takes at least one byte.
      raise ValueError(f'the tensor {name!r:.80} of the shape {shape} in {self._size:,} bytes')
