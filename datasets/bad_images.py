"""Finding the images of a dataset that cannot be decoded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from datasets.pieces import Piece
from datasets.readers import Readers
from files import cache, progress
from files.reasons import short_reason

_BATCH = 32
# Increment when the definition of a bad image changes, so that older results are not reused.
_VERSION = 4
# Errors that images never cause: out of memory, a broken device, an interruption.
NOT_OF_IMAGES = (tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.AbortedError,
                 tf.errors.CancelledError, tf.errors.UnavailableError)


class BadImage(NamedTuple):
  """An image that cannot be used, and why."""
  name: str
  reason: str


def find(dataset, decode, readers: Readers | None = None) -> tuple[BadImage, ...]:
  """Decodes every image of a dataset once, in parallel.

  Results are cached per piece, keyed by the examples' names and their files' sizes and modification
  times, or their images if these are in memory. If a file changes, only its piece is checked again;
  if the process is killed, only the current piece is lost.

  Args:
    dataset: a `dataset.Dataset`.
    decode: function from a scalar string, an encoded image file, to an image of any numeric
      type, made of TensorFlow ops; an image for which it raises an error is bad.
    readers: processes that call this at the same time for the same dataset; each checks a part.

  Returns:
    The images that cannot be read or decoded, in the order of the source.
  """
  pieces = dataset.examples.pieces()
  keys = [_key_of(dataset, piece) for piece in pieces]
  found = _exchanged([cache.load(key) for key in keys], readers)
  unknown = [number for number, bad in enumerate(found) if bad is None]
  if unknown:
    own = unknown[readers.index::readers.count] if readers else unknown
    count = sum(len(pieces[number].positions) for number in unknown)
    shown = f'all {count}' if len(unknown) == len(pieces) else f'{count} of {dataset.num_examples}'
    print(f'Decoding {shown} images of the split {dataset.split_name!r} once, to find bad ones; '
          'the result is cached.', flush=True)
    for number, bad in zip(own, _check_pieces(dataset, decode, [pieces[i] for i in own]),
                           strict=True):
      found[number] = bad
      cache.store(keys[number], bad)
    found = _exchanged(found, readers)
  return _named(dataset, zip(pieces, found, strict=True))


def _exchanged(found: list, readers: Readers | None) -> list:
  """Returns what any of the readers has found of each piece; None where none has."""
  if readers is None:
    return found
  of_all = zip(*map(json.loads, readers.gather(
      json.dumps(found), 'bad images')), strict=True)
  return [next((bad for bad in of_piece if bad is not None), None) for of_piece in of_all]


def explain_failure(dataset, decode, error: Exception, *,
                    left_out: Collection[str] = ()) -> str | None:
  """Finds the images that caused an error of an input pipeline.

  An error inside tf.data does not say which example raised it. A training run decodes every image
  before it starts, so it fails later only if a file changed: the cached results of `find` are
  reused, and few images are decoded again.

  Args:
    dataset: the `dataset.Dataset` that was being read.
    decode: as in `find`.
    error: the error.
    left_out: names of bad images that were not read.

  Returns:
    A message that names the images, or None if the error has another cause: either all images can
    be decoded, or images never raise this kind of error, and none is decoded.
  """
  if not isinstance(error, tf.errors.OpError) or isinstance(error, NOT_OF_IMAGES):
    return None
  left_out = set(left_out)
  try:
    found = [image for image in find(dataset, decode) if image.name not in left_out]
  except (tf.errors.OpError, OSError) as failure:
    return f'The dataset can no longer be read: {short_reason(failure)}'
  return describe(found) if found else None


def check_rest(dataset, bad: Collection[str], *, needs_all_classes: bool) -> str:
  """Checks that a split is still usable without its bad images.

  Args:
    dataset: a `dataset.Dataset`.
    bad: names of the images that are left out.
    needs_all_classes: whether every class must keep at least one image, as in training.

  Returns:
    A warning that names the classes left without images; '' if there are none.

  Raises:
    ValueError: if no image is left, or if a class has none left and `needs_all_classes` is set.
  """
  if not bad:
    return ''
  left_out = set(bad)
  is_good = np.array([name not in left_out for name in dataset.examples.names])
  if not is_good.any():
    raise ValueError(f'Expected decodable images in the split {dataset.split_name!r}. '
                     f'Received none: all {dataset.num_examples} are bad.')
  left = dataset.count_classes(dataset.labels[is_good])
  lost = [dataset.class_names[label]
          for label in np.flatnonzero((left == 0) & (dataset.class_counts > 0))]
  if not lost:
    return ''
  classes = f'{", ".join(lost[:10])}{", …" if len(lost) > 10 else ""}'
  if needs_all_classes:
    raise ValueError('Expected at least one decodable image of every class. Received, in '
                     f'the split {dataset.split_name!r}, none of: {classes}. Repair or replace the '
                     'images, or remove the class.')
  return (f'Warning: the split {dataset.split_name!r} has no decodable image of the '
          f'classes: {classes}.')


def describe(images, limit: int = 10) -> str:
  """Returns a message about bad images: the first `limit` of them by name, with the reason."""
  lines = [f'  {image.name}: {image.reason}' for image in images[:limit]]
  if len(images) > limit:
    lines.append(f'  … and {len(images) - limit} more')
  count = '1 image' if len(images) == 1 else f'{len(images)} images'
  return '\n'.join([f'{count} cannot be decoded:', *lines])


def _key_of(dataset, piece: Piece) -> str:
  """Key of the cache entry for a piece; the entry is a list of [number in the piece, reason]."""
  return cache.key_of('bad images', _VERSION, dataset.channels,
                      [dataset.examples.names[i] for i in piece.positions],
                      [cache.stamp(file) for file in piece.files] or _digest(dataset, piece))


@tf.autograph.experimental.do_not_convert
def _digest(dataset, piece: Piece) -> str:
  """A digest of the images of a piece, which are in memory."""
  found = hashlib.sha256()
  for image in piece.order().map(dataset.examples.image).as_numpy_iterator():
    found.update(hashlib.sha256(image).digest())
  return found.hexdigest()


def _named(dataset, found: Iterable[tuple[Piece, list]]) -> tuple[BadImage, ...]:
  """Converts the results of pieces to `BadImage`s, in the order of the source."""
  bad = [(int(piece.positions[number]), reason) for piece, rows in found for number, reason in rows]
  return tuple(BadImage(dataset.examples.names[position], reason)
               for position, reason in sorted(bad))


def _check_pieces(dataset, decode, pieces: Sequence[Piece]) -> Iterator[list]:
  """Yields for each piece the list of [number in the piece, reason] of its bad images."""

  @tf.function(autograph=False)  # Traced once for all pieces.
  def decoded(raw):
    # The result must depend on the pixels, or the decoding would be optimised away.
    return tf.reduce_max(decode(dataset.examples.image(raw)))

  total = sum(len(piece.positions) for piece in pieces)
  with progress.counter(total, unit='image', description='checking images') as done:
    for piece in pieces:
      good = set()
      for numbers, _ in _good_ones(piece, decoded):
        good.update(numbers.numpy().tolist())
        done.update(len(numbers))
      bad = sorted(set(range(len(piece.positions))) - good)
      yield _explain(dataset, decode, piece=piece, bad=bad) if bad else []
      done.update(len(bad))


@tf.autograph.experimental.do_not_convert
def _good_ones(piece: Piece, decoded: Callable) -> tf.data.Dataset:
  """Returns batches of (number in the piece, …) of the examples that decode without an error."""
  good = piece.order().enumerate().map(
      lambda number, raw: (number, decoded(raw)),
      num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
  return good.ignore_errors().batch(_BATCH).prefetch(2)


@tf.autograph.experimental.do_not_convert
def _explain(dataset, decode, *, piece: Piece, bad: list[int]) -> list[list]:
  """Decodes the bad examples again one by one, to find out why they failed."""
  wanted = tf.constant(bad, tf.int64)
  order = piece.order().enumerate().filter(lambda number, _: tf.reduce_any(wanted == number))
  found = []
  for number, raw in order:
    try:
      decode(dataset.examples.image(raw))
    except (tf.errors.OpError, ValueError) as error:
      found.append([int(number), short_reason(error)])
  return found
