"""Counting the records in TFRecord files and reading their labels."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf import message

from datasets.readers import Readers
from files import cache, progress
from files.reasons import listed, short_reason

# A record: its length (8 bytes), the length's checksum (4), the data, their checksum (4).
_HEADER, _FOOTER = 12, 4
_BATCH = 256
_READ_BYTES = 2**20
# Files that are read at the same time.
_PARALLEL = 8
_CHUNK = 2**16  # Deflate makes this at most 64 MiB.
# The first bytes of compressed files; they may also be the length of a record.
_COMPRESSED = {b'\x1f\x8b': 'GZIP', b'\x78\x01': 'ZLIB', b'\x78\x5e': 'ZLIB', b'\x78\x9c': 'ZLIB',
               b'\x78\xda': 'ZLIB'}
# The end of the kind of labels of which a record may have several.
SEVERAL = ' (several)'
# The result of a label parser for a record without a label.
NO_LABEL = -(2**63)


class RecordFile(NamedTuple):
  """A TFRecord file.

  Attributes:
    path: its path.
    offsets: int64 [records + 1], the position of each record in bytes, and the size of the file.
    labels: int64 [records].
    compression: 'GZIP', 'ZLIB' or ''; offsets are those in the unpacked file.
  """
  path: str
  offsets: np.ndarray
  labels: np.ndarray
  compression: str = ''

  @property
  def num_bytes(self) -> int:
    """The total size of the records' data."""
    return int(self.offsets[-1]) - len(self.labels) * (_HEADER + _FOOTER)


def scan(paths: Sequence[str], parse_label: Callable, *, kind: str,
         readers: Readers | None = None) -> list[RecordFile]:
  """Counts the records of files and reads their labels; cached until a file changes.

  Args:
    paths: the files.
    parse_label: function from a scalar string, a record, to its label, int64, or `NO_LABEL` if it
      has none; made of TensorFlow ops.
    kind: how labels are parsed; part of the cache's keys.
    readers: processes that call this at the same time with the same files; each reads a part.

  Returns:
    One `RecordFile` per path.

  Raises:
    ValueError: if a file is truncated or damaged, or a record does not have exactly one label.
  """
  return [file._replace(labels=np.asarray(labels, np.int64))
          for file, labels in _scanned(paths, parse_label, kind=kind, readers=readers)]


def scan_texts(paths: Sequence[str], parse_label: Callable, *, kind: str,
               readers: Readers | None = None) -> list[tuple[RecordFile, list[str]]]:
  """Does the same for labels that are texts.

  Args:
    paths, kind, readers: see `scan`.
    parse_label: function from a record to its label, a string, or '' if it has none.

  Returns:
    For each path, a `RecordFile` whose labels are all 0, and the text of each record.

  Raises:
    ValueError: see `scan`.
  """
  return list(_scanned(paths, parse_label, kind=f'{kind} text', readers=readers))


def compression_of(path: str) -> str:
  """Returns 'GZIP' or 'ZLIB' if the file is compressed, and otherwise ''.

  Raises:
    OSError: if it cannot be read.
  """
  with open(path, 'rb') as file:
    likely = _COMPRESSED.get(file.read(2), '')
  try:
    if likely:
      list(read(path).take(1))
  except tf.errors.OpError:
    return likely
  return ''


def read(path: str, compression: str = '') -> tf.data.Dataset:
  """The records of a file, scalar strings."""
  # Bytes, because a path need not be UTF-8.
  return _read(tf.constant([os.fsencode(path)]), tf.constant(compression))


def _read(paths: tf.Tensor, compression: tf.Tensor) -> tf.data.Dataset:
  # The op itself, because `tf.data.TFRecordDataset` traces a function for each file.
  return tf.data.experimental.from_variant(
      tf.raw_ops.TFRecordDataset(filenames=paths, compression_type=compression,
                                 buffer_size=_READ_BYTES), tf.TensorSpec([], tf.string))


def _scanned(paths: Sequence[str], parse_label: Callable, *, kind: str, readers: Readers | None
             ) -> Iterator[tuple[RecordFile, list]]:
  """Yields the facts of each file, with labels of 0, and its labels."""
  keys = {path: cache.key_of('records', kind, cache.stamp(path)) for path in paths}
  known = {path: cache.load(key) for path, key in keys.items()}
  owners = readers and _owners(paths, [known[path] is not None for path in paths], kind=kind,
                               readers=readers)
  unknown = [path for number, path in enumerate(paths) if known[path] is None
             and not (readers and owners and owners[number] != readers.index)]
  compressions = [compression_of(path) for path in unknown]
  counted = progress.show(zip(unknown, compressions, strict=True), len(unknown), unit='file',
                          description='counting records')
  positions = [_unpacked_records(path, compression) if compression else find_records(path)
               for path, compression in counted]
  all_labels = _labels_of_files(unknown, compressions, parse_label, kind=kind,
                                counts=[len(some) - 1 for some in positions])
  for number, labels in progress.show(all_labels, len(unknown), unit='file',
                                      description='reading labels'):
    path = unknown[number]
    known[path] = {'offsets': positions[number].tolist(), 'labels': labels,
                   'compression': compressions[number]}
    cache.store(keys[path], known[path])
  if readers and owners:
    own = {number: known[path] for number, path in enumerate(paths)
           if owners[number] == readers.index}
    for text in readers.gather(json.dumps(own), 'labels of records'):
      for number, entry in json.loads(text).items():
        path = paths[int(number)]
        if known[path] is None:
          known[path] = entry
          cache.store(keys[path], entry)
  for path in paths:
    labels, offsets = known[path]['labels'], np.asarray(known[path]['offsets'], np.int64)
    yield RecordFile(path, offsets, np.zeros(len(labels), np.int64),
                     known[path].get('compression', '')), labels


def _owners(paths: Sequence[str], are_known: Sequence[bool], *, kind: str, readers: Readers
            ) -> dict[int, int] | None:
  """Decides together with the other readers who tells the others about which file.

  Args:
    paths: the files.
    are_known: for each, whether this reader has it in its cache.
    kind: how labels are parsed.
    readers: all readers.

  Returns:
    `{position of a file: position of the reader that has it, or is to read it}`, without the files
    that all of them know. None if the files are not the same for all readers, or are parsed
    otherwise: then each reads its own. Files are the same if their names, sizes and modification
    times are.
  """
  files = [kind, *([os.path.basename(cache.printable(path)), *cache.stamp(path)[1:3]]
                   for path in paths)]
  of_all = [json.loads(text) for text in readers.gather(
      json.dumps([files, list(are_known)]), 'files of records')]
  if any(others != files for others, _ in of_all):
    return None
  owners: dict[int, int] = {}
  turns = 0
  for number, knows in enumerate(zip(*(known for _, known in of_all), strict=True)):
    if not all(knows):
      able = [index for index, does_know in enumerate(knows) if does_know] or range(readers.count)
      owners[number] = able[turns % len(able)]
      turns += 1
  return owners


def _unpacked_records(path: str, compression: str) -> np.ndarray:
  """Does the same as `find_records` for a compressed file, which has to be unpacked for this."""
  lengths: list[int] = []
  try:
    for batch in read(path, compression).map(tf.strings.length).batch(_BATCH):
      lengths += batch.numpy().tolist()
    _check_end(path)
  except (tf.errors.OpError, zlib.error, EOFError) as error:
    raise ValueError(
        f'Expected a TFRecord file. Received {cache.printable(path)}, which begins like '
        f'{compression}, and which cannot be read after {len(lengths)} records: '
        f'{short_reason(error)}. Copy or convert it again.') from error
  return np.cumsum([0, *(length + _HEADER + _FOOTER for length in lengths)])


def _check_end(path: str) -> None:
  """Checks that a GZIP or ZLIB file is whole.

  TensorFlow takes a compressed file that is cut where a record begins for a shorter file.

  Raises:
    EOFError: if the compressed data do not end.
    zlib.error: if they are damaged.
  """
  unpacker = _unpacker()
  with open(path, 'rb') as file:
    while packed := unpacker.unused_data or file.read(_CHUNK):
      if unpacker.eof:  # Another compressed file follows, as `cat a.gz b.gz` makes them.
        unpacker = _unpacker()
      unpacker.decompress(packed)
  if not unpacker.eof:
    raise EOFError('the compressed data do not end; the file is truncated')


def _unpacker():
  return zlib.decompressobj(zlib.MAX_WBITS | 32)  # GZIP or ZLIB, by the header.


def find_records(path: str) -> np.ndarray:
  """Finds a file's records by their headers, without reading the records.

  Returns:
    int64 [records + 1], the position of each record in bytes, and the size of the file.

  Raises:
    ValueError: if the file does not end at the end of a record.
  """
  size = os.path.getsize(path)
  offsets = [0]
  with open(path, 'rb', buffering=0) as file:
    while offsets[-1] < size:
      file.seek(offsets[-1])
      header = file.read(_HEADER)
      length = struct.unpack('<Q', header[:8])[0] if len(header) == _HEADER else size
      offsets.append(offsets[-1] + _HEADER + length + _FOOTER)
      if offsets[-1] > size:
        raise ValueError(
            f'Expected a TFRecord file. Received {cache.printable(path)}, which ends within '
            f'record {len(offsets) - 2}: it is truncated, or it is not a TFRecord file. '
            'Copy or convert it again.')
  return np.array(offsets, np.int64)


def _labels_of_files(paths: Sequence[str], compressions: Sequence[str], parse_label: Callable, *,
                     kind: str, counts: Sequence[int]) -> Iterator[tuple[int, list]]:
  """Reads the labels of files, several at a time; yields each one's position and labels.

  Args:
    paths, compressions, counts: the files, and the number of records of each.
    parse_label, kind: see `scan`.
  """
  found: dict[int, list] = {number: [] for number in range(len(paths))}
  try:
    for number in [number for number, count in enumerate(counts) if not count]:
      yield number, found.pop(number)
    for number, batch in _batches(paths, compressions, parse_label) if found else ():
      number = int(number)
      if number not in found:
        raise _changed(paths[number], counts[number], 'more')
      found[number] += _plain(batch)
      if len(found[number]) >= counts[number]:
        labels = found.pop(number)
        _check_labels(paths[number], labels, compression=compressions[number], kind=kind,
                      count=counts[number])
        yield number, labels
  except tf.errors.OpError:
    pass  # It does not say which file failed: they are read again below, one by one.
  for number in list(found):
    yield number, _labels(paths[number], parse_label, compression=compressions[number], kind=kind,
                          count=counts[number])


@tf.autograph.experimental.do_not_convert
def _batches(paths: Sequence[str], compressions: Sequence[str], parse_label: Callable
             ) -> tf.data.Dataset:
  """Labels in batches, each with the position of its file."""
  def of_file(number, path, compression):
    labels = _read(path[None], compression).map(parse_label, num_parallel_calls=tf.data.AUTOTUNE,
                                                deterministic=True)
    return labels.batch(_BATCH).map(lambda batch: (number, batch))

  files = (tf.range(len(paths)), tf.constant([os.fsencode(path) for path in paths]),
           tf.constant(list(compressions)))
  return tf.data.Dataset.from_tensor_slices(files).interleave(
      of_file, cycle_length=_PARALLEL, num_parallel_calls=_PARALLEL, deterministic=True)


@tf.autograph.experimental.do_not_convert
def _labels(path: str, parse_label: Callable, *, compression: str, kind: str, count: int) -> list:
  """Reads the labels of one file's `count` records; its errors name the record."""
  records = read(path, compression)
  parsed = records.map(parse_label, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
  labels = []
  try:
    for batch in parsed.batch(_BATCH):
      labels += _plain(batch)
  except tf.errors.OpError as error:
    # The error does not say which record of the batch failed: read them again, one by one.
    number = _first_failing(parsed)
    raise ValueError(
        f'{_expected(kind)} Received {cache.printable(path)}, whose record {number} '
        f'cannot be read: {_explain(records, number, kind=kind, error=error)}.'
    ) from error
  _check_labels(path, labels, compression=compression, kind=kind, count=count)
  return labels


def _check_labels(path: str, labels: list, *, compression: str, kind: str, count: int) -> None:
  without = [number for number, label in enumerate(labels) if label in (NO_LABEL, '')]
  if without:
    number = without[0]
    raise ValueError(
        f'{_expected(kind)} Received {cache.printable(path)}, whose record {number} has no label: '
        f'{_explain(read(path, compression), number, kind=kind)}.')
  if len(labels) != count:
    raise _changed(path, count, len(labels))


def _changed(path: str, count: int, received: int | str) -> ValueError:
  return ValueError(f'Expected {count} records in {cache.printable(path)}. Received: {received}. '
                    'Did another program change the file?')


def _expected(kind: str) -> str:
  if kind.endswith(SEVERAL):
    return f'Expected records with labels ({kind.removesuffix(SEVERAL)}).'
  return f'Expected records with one label each ({kind}).'


def _plain(batch: tf.Tensor) -> list:
  """Integers, or texts; bytes that are not UTF-8 become surrogates."""
  values = batch.numpy().tolist()
  if batch.dtype != tf.string:
    return values
  return [value.decode('utf-8', 'surrogateescape') for value in values]


def _first_failing(dataset: tf.data.Dataset) -> int:
  number = 0
  try:
    for _ in dataset:
      number += 1
  except tf.errors.OpError:
    pass
  return number


def _explain(records: tf.data.Dataset, number: int, *, kind: str,
             error: tf.errors.OpError | None = None) -> str:
  """Describes what is wrong with a record, or what it contains.

  Args:
    records: all records of the file, not parsed.
    number: number of the record.
    kind: the key of the label, if there is a single one.
    error: the error of parsing it; None if it was parsed but has no label.
  """
  try:
    data = next(iter(records.skip(number).take(1))).numpy()
  except tf.errors.DataLossError:
    return ('its checksum is wrong, so the file was changed or damaged after it was written. Copy '
            'or convert it again')
  except tf.errors.OpError as failure:
    return short_reason(failure)
  try:
    features = tf.train.Example.FromString(data).features.feature
  except message.DecodeError:
    features = {}
  if not features:
    return (f'it is not a tf.train.Example with features, but {len(data):,} bytes of something '
            'else. Convert the data to such records')
  key = kind.removesuffix(SEVERAL)
  if key != kind and key in features:
    return f'its {key!r} is {_content(features[key])}, but integers or texts are expected'
  if kind in features:
    return (f'its {kind!r} is {_content(features[kind])}, but 1 × int64 is expected. If images may '
            'have several labels, or none: --multi_label')
  keys = [f'{key!r} ({_content(features[key])})' for key in sorted(features)]
  reason = f' ({short_reason(error)})' if error else ''
  return (f'it has the keys {listed(keys)}{reason}. If two of them have the image and the label: '
          '--record_keys=IMAGE,LABEL'
          + ('' if key != kind else
             '; if images may have several labels, or none: --multi_label'))


def _content(feature: tf.train.Feature) -> str:
  """Describes the content of a feature, such as '2 × int64'."""
  kind = feature.WhichOneof('kind')
  if kind is None:
    return 'empty'
  return f"{len(getattr(feature, kind).value)} × {kind.removesuffix('_list')}"
