"""Examples in TFRecord files, which can only be read from the start."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from datasets import dataset, pieces, seeds
from datasets.record_files import RecordFile

# Files that are read at a time, taking records in turn, so that a shuffle buffer sees many shards.
_FILES_AT_A_TIME = 16
# Memory of the shuffle buffer, but at least so many records as long as they take no more than the
# last. That is fewer for records above 512 KiB only: the order of all others stays as it was.
_BUFFER_BYTES = 2**28
_BUFFER_RECORDS = 2048
_MOST_BUFFER_BYTES = 2**30


class RecordExamples:
  """Examples in record files.

  An epoch's order is the files' in seeded order, several read in turn, through a seeded shuffle
  buffer.
  """

  def __init__(self, files: Sequence[RecordFile], parse: Callable, *,
               keep: np.ndarray | None = None):
    """Takes all records of some files, or some of them.

    Args:
      files: the scanned files.
      parse: function from a scalar string, a record, to the scalar string of its encoded image.
      keep: bool [records of all files], which records are examples; None keeps all.
    """
    self._record_files = tuple(files)
    self._parse = parse
    self._keep = keep
    self._starts = np.cumsum([0, *(len(file.labels) for file in files)])[:-1]
    labels = np.concatenate([np.zeros(0, np.int64), *(file.labels for file in files)])
    self.labels = labels if keep is None else labels[keep]
    self.files = tuple(file.path for file in files)

  @functools.cached_property
  def names(self) -> tuple[str, ...]:
    """`<file>:<number of the record in it>`; what the records say of names need not be unique."""
    names = [f'{os.path.basename(file.path)}:{i}'
             for file in self._record_files for i in range(len(file.labels))]
    if self._keep is not None:
      names = [names[i] for i in np.flatnonzero(self._keep)]
    return tuple(names)

  def select(self, keep: np.ndarray) -> RecordExamples:
    """The examples at which `keep`, bool [num_examples], is true."""
    if self._keep is not None:
      whole = np.zeros_like(self._keep)
      whole[np.flatnonzero(self._keep)[keep]] = True
      keep = whole
    return RecordExamples(self._record_files, self._parse, keep=keep)

  def order(self, epoch, *, seed: int, shuffle: bool, skip=0) -> tf.data.Dataset:
    """One epoch's records, not parsed: {'file', 'index': int64, 'record': string}."""
    files = tf.range(len(self.files), dtype=tf.int64)
    if shuffle:
      files = tf.random.experimental.stateless_shuffle(
          files, seed=seeds.derive(seeds.FILE_ORDER, seed, epoch))
    at_a_time = _FILES_AT_A_TIME if shuffle else 1
    records = tf.data.Dataset.from_tensor_slices(files).interleave(
        self._read_file, cycle_length=at_a_time, block_length=1,
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if self._keep is not None:
      records = records.filter(self._is_kept)
    if shuffle:
      # Skipping comes after shuffling, so that the order is the same as without skipping.
      records = records.shuffle(
          self._buffer_size(), seed=seeds.derive_scalar(seeds.ORDER, seed, epoch),
          reshuffle_each_iteration=False)
    return records.skip(skip)

  def pieces(self) -> list[pieces.Piece]:
    """The files."""
    counts = [len(file.labels) for file in self._record_files]
    if self._keep is not None:
      counts = [int(kept.sum()) for kept in np.split(self._keep, self._starts[1:])]
    parts = np.split(np.arange(len(self.labels)), np.cumsum(counts)[:-1])
    return [pieces.Piece(positions, (file,), functools.partial(self._read_kept, number))
            for number, (file, positions) in enumerate(zip(self.files, parts, strict=True))
            if len(positions)]

  def facts(self, raw) -> dict[str, tf.Tensor]:
    """What is known of a record without parsing it."""
    _, names, starts, labels, _ = self._tensors
    name = tf.strings.join([tf.gather(names, raw['file']), tf.strings.as_string(raw['index'])], ':')
    label = tf.gather(labels, tf.gather(starts, raw['file']) + raw['index'])
    return {'label': label, 'name': name, 'id': dataset.example_id(name)}

  def image(self, raw) -> tf.Tensor:
    """The encoded image in a record."""
    return self._parse(raw['record'])

  def _read_file(self, file) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(tf.gather(self._tensors[0], file), buffer_size=2**20)
    return records.enumerate().map(
        lambda index, record: {'file': file, 'index': index, 'record': record})

  def _read_kept(self, number: int) -> tf.data.Dataset:
    """One file's examples, in order."""
    records = self._read_file(tf.constant(number, tf.int64))
    return records if self._keep is None else records.filter(self._is_kept)

  def _is_kept(self, raw) -> tf.Tensor:
    _, _, starts, _, keep = self._tensors
    return tf.gather(keep, tf.gather(starts, raw['file']) + raw['index'])

  def _buffer_size(self) -> int:
    total = sum(len(file.labels) for file in self._record_files)
    mean = max(1, sum(file.num_bytes for file in self._record_files) // max(1, total))
    least = min(_BUFFER_RECORDS, max(1, _MOST_BUFFER_BYTES // mean))
    return min(len(self.labels), max(least, _BUFFER_BYTES // mean))

  @functools.cached_property
  def _tensors(self) -> tuple[tf.Tensor, ...]:
    # Made outside the graph that asks for them, so that none gets a copy.
    with tf.init_scope():
      labels = np.concatenate([np.zeros(0, np.int64), *(f.labels for f in self._record_files)])
      keep = np.ones(len(labels), bool) if self._keep is None else self._keep
      return (dataset.as_strings(self.files),
              dataset.as_strings([os.path.basename(file) for file in self.files]),
              tf.constant(self._starts, tf.int64), tf.constant(labels), tf.constant(keep))
