"""Examples in TFRecord files, which are read sequentially."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from datasets import dataset, pieces, seeds
from datasets.record_files import RecordFile

# Number of files that are read in turn, so that the shuffle buffer contains many shards.
_FILES_AT_A_TIME = 16
# The shuffle buffer has this many bytes, but at least this many records, unless these need more
# than the last number of bytes. (This affects only records above 512 KiB; the order of others must
# not change.)
_BUFFER_BYTES = 2**28
_BUFFER_RECORDS = 2048
_MOST_BUFFER_BYTES = 2**30
_READ_BYTES = 2**20
# Batch size for finding the first unread record of each file.
_BATCH = 2**14


class _Tensors(NamedTuple):
  """Facts about the files and their concatenated records.

  Attributes:
    paths, names: string [files].
    starts, counts: int64 [files], the number of the first record of each file, and its number of
      records.
    labels: int64 [records].
    keep: bool [records], whether a record is an example.
    offsets: int64 [records + files], see `RecordFile`.
    compressions: string [files].
  """
  paths: tf.Tensor
  names: tf.Tensor
  starts: tf.Tensor
  counts: tf.Tensor
  labels: tf.Tensor
  keep: tf.Tensor
  offsets: tf.Tensor
  compressions: tf.Tensor


class RecordExamples:
  """Examples in record files.

  For each epoch, the files are shuffled with a seed, several are read in turn, and their records go
  through a seeded shuffle buffer.
  """

  formats = dataset.ALL_FORMATS  # Only reading all records would tell.

  def __init__(self, files: Sequence[RecordFile], parse: Callable, *,
               keep: np.ndarray | None = None):
    """Uses all records of some files, or some of them.

    Args:
      files: the scanned files.
      parse: function from a scalar string, a record, to the scalar string of its encoded image.
      keep: bool [records of all files], true for the records to use; None uses all.
    """
    self._record_files = tuple(files)
    self._parse = parse
    self._keep = keep
    self._counts = np.array([len(file.labels) for file in files], np.int64)
    self._starts = np.cumsum(self._counts) - self._counts
    labels = np.concatenate([np.zeros(0, np.int64), *(file.labels for file in files)])
    self.labels = labels if keep is None else labels[keep]
    self.files = tuple(file.path for file in files)

  @functools.cached_property
  def names(self) -> tuple[str, ...]:
    """`<file>:<number of the record in it>`; names in the records need not be unique."""
    names = [f'{os.path.basename(file.path)}:{i}'
             for file in self._record_files for i in range(len(file.labels))]
    if self._keep is not None:
      names = [names[i] for i in np.flatnonzero(self._keep)]
    return tuple(names)

  @property
  def is_sequential(self) -> bool:
    """Whether a record can only be read after all others that precede it in its file."""
    return any(file.compression for file in self._record_files)

  def select(self, keep: np.ndarray) -> RecordExamples:
    """The examples for which `keep`, bool [num_examples], is true."""
    if self._keep is not None:
      whole = np.zeros_like(self._keep)
      whole[np.flatnonzero(self._keep)[keep]] = True
      keep = whole
    return RecordExamples(self._record_files, self._parse, keep=keep)

  def order(self, epoch, *, seed: int, shuffle: bool, skip: int = 0,
            with_images: bool = True) -> tf.data.Dataset:
    """One epoch's records, not parsed: {'file', 'index': int64, 'record': string if with images}.

    The order does not depend on the records' contents. Therefore the records after `skip` are known
    in advance, and each file is read from its first one of them.
    """
    if not with_images:
      return self._in_order(epoch, None, seed=seed, shuffle=shuffle).skip(skip)
    firsts = np.zeros(len(self.files), np.int64)
    if skip:
      firsts = self._counts.copy()
      left = self.order(epoch, seed=seed, shuffle=shuffle, skip=skip, with_images=False)
      for batch in left.batch(_BATCH).as_numpy_iterator():
        np.minimum.at(firsts, batch['file'], batch['index'])
    return self._in_order(epoch, tf.constant(firsts), seed=seed, shuffle=shuffle).skip(skip)

  def _in_order(self, epoch, firsts: tf.Tensor | None, *, seed: int,
                shuffle: bool) -> tf.data.Dataset:
    """One epoch's records.

    Args:
      epoch, seed, shuffle: see `order`.
      firsts: int64 [files], the first record to read of each file; None reads no record.
    """
    files = tf.range(len(self.files), dtype=tf.int64)
    if shuffle:
      files = tf.random.experimental.stateless_shuffle(
          files, seed=seeds.derive(seeds.FILE_ORDER, seed, epoch))
    at_a_time = _FILES_AT_A_TIME if shuffle else 1
    records = tf.data.Dataset.from_tensor_slices(files).interleave(
        lambda file: self._read_file(file, None if firsts is None else firsts[file]),
        cycle_length=at_a_time, block_length=1,
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if self._keep is not None:
      records = records.filter(self._is_kept)
    if shuffle:
      records = records.shuffle(
          self._buffer_size(), seed=seeds.derive_scalar(seeds.ORDER, seed, epoch),
          reshuffle_each_iteration=False)
    return records

  def pieces(self) -> list[pieces.Piece]:
    """One piece per file."""
    counts = self._counts
    if self._keep is not None:
      counts = np.array([kept.sum() for kept in np.split(self._keep, self._starts[1:])])
    parts = np.split(np.arange(len(self.labels)), np.cumsum(counts)[:-1])
    return [pieces.Piece(positions, (file,), functools.partial(self._read_kept, number))
            for number, (file, positions) in enumerate(zip(self.files, parts, strict=True))
            if len(positions)]

  def facts(self, raw) -> dict[str, tf.Tensor]:
    """Label, name and id of a record, without parsing it."""
    name = tf.strings.join([tf.gather(self._tensors.names, raw['file']),
                            tf.strings.as_string(raw['index'])], ':')
    label = tf.gather(self._tensors.labels, self._record(raw))
    return {'label': label, 'name': name, 'id': dataset.example_id(name)}

  def image(self, raw) -> tf.Tensor:
    """The encoded image in a record, which is read now if the element does not have it."""
    return self._parse(raw['record'] if 'record' in raw else self._read_one(raw))

  def _read_file(self, file, first) -> tf.data.Dataset:
    """A file's records; those before `first` are not read but empty. None reads no record."""
    known = self._tensors
    count = tf.gather(known.counts, file)
    facts = {'file': tf.data.Dataset.from_tensors(file).repeat(count),
             'index': tf.data.Dataset.range(count)}
    if first is None:
      return tf.data.Dataset.zip(facts)
    unread = tf.data.Dataset.from_tensors('').repeat(first)
    # Each file before this one has one offset more than records.
    offset = tf.gather(known.offsets, tf.gather(known.starts, file) + file + first)
    read = tf.data.experimental.from_variant(
        tf.raw_ops.TFRecordDatasetV2(
            filenames=[tf.gather(known.paths, file)],
            compression_type=tf.gather(known.compressions, file),
            buffer_size=_READ_BYTES, byte_offsets=[offset]), tf.TensorSpec([], tf.string))
    return tf.data.Dataset.zip({**facts, 'record': unread.concatenate(read)})

  def _read_one(self, raw) -> tf.Tensor:
    """Reads a record by its place in its file, which is not compressed."""
    known = self._tensors
    number = self._record(raw) + raw['file']  # Each file before it has one more offset.
    start, end = tf.gather(known.offsets, number), tf.gather(known.offsets, number + 1)
    records = tf.raw_ops.TFRecordDatasetV2(
        filenames=[tf.gather(known.paths, raw['file'])], compression_type='',
        buffer_size=end - start, byte_offsets=[start])
    return tf.data.experimental.from_variant(
        records, tf.TensorSpec([], tf.string)).take(1).get_single_element()

  def _read_kept(self, number: int) -> tf.data.Dataset:
    """One file's examples, in order."""
    # In flat_map, because TensorFlow cannot serialize the op with offsets at the top of a pipeline.
    records = tf.data.Dataset.range(number, number + 1).flat_map(
        lambda file: self._read_file(file, tf.constant(0, tf.int64)))
    return records if self._keep is None else records.filter(self._is_kept)

  def _is_kept(self, raw) -> tf.Tensor:
    return tf.gather(self._tensors.keep, self._record(raw))

  def _record(self, raw) -> tf.Tensor:
    """The numbers of records among those of all files."""
    return tf.gather(self._tensors.starts, raw['file']) + raw['index']

  def _buffer_size(self) -> int:
    total = sum(file.num_bytes for file in self._record_files)
    mean = max(1, total // max(1, int(self._counts.sum())))
    least = min(_BUFFER_RECORDS, max(1, _MOST_BUFFER_BYTES // mean))
    return min(len(self.labels), max(least, _BUFFER_BYTES // mean))

  @functools.cached_property
  def _tensors(self) -> _Tensors:
    # Created outside the calling graph, so that no graph contains a copy.
    with tf.init_scope():
      none = np.zeros(0, np.int64)
      labels = np.concatenate([none, *(file.labels for file in self._record_files)])
      keep = np.ones(len(labels), bool) if self._keep is None else self._keep
      return _Tensors(
          paths=dataset.as_strings(self.files),
          names=dataset.as_strings([os.path.basename(file) for file in self.files]),
          starts=tf.constant(self._starts), counts=tf.constant(self._counts),
          compressions=dataset.as_strings([file.compression for file in self._record_files]),
          labels=tf.constant(labels), keep=tf.constant(keep),
          offsets=tf.constant(np.concatenate([none, *(f.offsets for f in self._record_files)])))
