"""Finding the images of a dataset that cannot be decoded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from datasets import cache
from datasets.pieces import Piece
from files import progress

_BATCH = 32
# Counted up when what counts as bad changes, so that older results are not reused.
_VERSION = 4
# What images are never the cause of: no memory, a broken device, an end from outside.
_NOT_OF_IMAGES = (tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.AbortedError,
                  tf.errors.CancelledError, tf.errors.UnavailableError)

# How TensorFlow's message of a failed check begins.
_ASSERTION = 'assertion failed: ['


class BadImage(NamedTuple):
  """An image that cannot be used, and why."""
  name: str
  reason: str


def find(dataset, decode) -> tuple[BadImage, ...]:
  """Decodes every image of a dataset once, in parallel.

  What is found is kept piece by piece, under the examples' names and their files' sizes and
  modification times: only the piece that a file changed in is looked at again, and a kill loses
  no other than the one that it came in.

  Args:
    dataset: a `dataset.Dataset`.
    decode: function from a scalar string, an encoded image file, to an image of any numeric
      type, made of TensorFlow ops; its error makes an image bad.

  Returns:
    The images that cannot be read or decoded, in the order of the source.
  """
  if not dataset.examples.files:
    return check(dataset, decode)
  pieces = dataset.examples.pieces()
  keys = [_key_of(dataset, piece) for piece in pieces]
  found = [cache.load(key) for key in keys]
  unknown = [number for number, bad in enumerate(found) if bad is None]
  if unknown:
    count = sum(len(pieces[number].positions) for number in unknown)
    shown = f'{count}' if len(unknown) == len(pieces) else f'{count} of {dataset.num_examples}'
    print(f'Decoding {shown} images of the split {dataset.split_name!r} once, to find bad ones; '
          'the result is kept.', flush=True)
    for number, bad in zip(unknown, _look_at(dataset, decode, [pieces[i] for i in unknown]),
                           strict=True):
      found[number] = bad
      cache.store(keys[number], bad)
  return _named(dataset, zip(pieces, found, strict=True))


def check(dataset, decode) -> tuple[BadImage, ...]:
  """Decodes every image as `find` does, and neither asks for an earlier result nor keeps this one.

  The arguments are those of `find`, as is the result.
  """
  whole = Piece(np.arange(dataset.num_examples), (),
                lambda: dataset.examples.order(0, seed=0, shuffle=False))
  return _named(dataset, zip([whole], _look_at(dataset, decode, [whole]), strict=True))


def explain_failure(dataset, decode, error: Exception, *,
                    left_out: Collection[str] = ()) -> str | None:
  """Finds the images behind an error that iterating an input pipeline raised.

  An error inside tf.data does not say which example it came from, and a training run has decoded
  every image before it starts; so it fails later only if a file changed. What `find` knows of all
  others holds; few are decoded again.

  Args:
    dataset: the `dataset.Dataset` that was being read.
    decode: as in `find`.
    error: what was raised.
    left_out: names of bad images that were not read.

  Returns:
    A message that names the images, or None if the error has another cause: all of them can be
    decoded, or it is of a kind that they do not raise, and none needs to be.
  """
  if not isinstance(error, tf.errors.OpError) or isinstance(error, _NOT_OF_IMAGES):
    return None
  left_out = set(left_out)
  try:
    found = [image for image in find(dataset, decode) if image.name not in left_out]
  except (tf.errors.OpError, OSError) as failure:
    return f'The dataset cannot be read any more: {short_reason(failure)}'
  return describe(found) if found else None


def describe(images, limit: int = 10) -> str:
  """One message about bad images: the first `limit` of them by name, with the reason."""
  lines = [f'  {image.name}: {image.reason}' for image in images[:limit]]
  if len(images) > limit:
    lines.append(f'  … and {len(images) - limit} more')
  count = '1 image' if len(images) == 1 else f'{len(images)} images'
  return '\n'.join([f'{count} cannot be decoded:', *lines])


def short_reason(error: Exception) -> str:
  """The line of an error that tells what is wrong, without the graph node it came from."""
  text = getattr(error, 'message', None) or str(error) or type(error).__name__
  # The names of nodes and functions, one in another, come before the reason, and more behind it.
  lines = text.split('\n\t [[')[0].rsplit('}} ', 1)[-1].strip().splitlines()
  # Here the reason comes last, behind the way to the node.
  line = lines[-1] if lines[0].startswith('Graph execution error') else lines[0]
  line = line.split(' [Op:')[0].strip()
  if line.startswith(_ASSERTION) and line.endswith(']'):
    line = line[len(_ASSERTION):-1].replace('] [', ' ')
  return line


def _key_of(dataset, piece: Piece) -> str:
  """The name of the cache's entry for a piece: a list of [number in the piece, reason]."""
  return cache.key_of('bad images', _VERSION, dataset.channels,
                      [dataset.examples.names[i] for i in piece.positions],
                      [cache.stamp(file) for file in piece.files])


def _named(dataset, found: Iterable[tuple[Piece, list]]) -> tuple[BadImage, ...]:
  """Names what was found in pieces, in the order of the source."""
  bad = [(int(piece.positions[number]), reason) for piece, rows in found for number, reason in rows]
  return tuple(BadImage(dataset.examples.names[position], reason)
               for position, reason in sorted(bad))


def _look_at(dataset, decode, pieces: Sequence[Piece]) -> Iterator[list]:
  """Yields the [number in the piece, reason] of each piece's bad images, as a list."""

  @tf.function  # Traced once for all pieces.
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
      yield _explain(dataset, decode, piece, bad) if bad else []
      done.update(len(bad))


def _good_ones(piece: Piece, decoded: Callable) -> tf.data.Dataset:
  """Batches of (number in the piece, …) of the examples that decode without an error."""
  good = piece.order().enumerate().map(
      lambda number, raw: (number, decoded(raw)),
      num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
  return good.ignore_errors().batch(_BATCH).prefetch(2)


def _explain(dataset, decode, piece: Piece, bad: list[int]) -> list[list]:
  """Decodes single examples again, to learn why they failed."""
  wanted = tf.constant(bad, tf.int64)
  order = piece.order().enumerate().filter(lambda number, _: tf.reduce_any(wanted == number))
  found = []
  for number, raw in order:
    try:
      decode(dataset.examples.image(raw))
    except (tf.errors.OpError, ValueError) as error:
      found.append([int(number), short_reason(error)])
  return found
