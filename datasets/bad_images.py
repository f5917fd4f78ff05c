"""Finding the images of a dataset that cannot be decoded."""

from __future__ import annotations

import sys
from typing import NamedTuple

import tensorflow as tf
from tqdm import tqdm

from datasets import cache

_BATCH = 32
# Counted up when what counts as bad changes, so that older results are not reused.
_VERSION = 1
# What images are never the cause of: no memory, a broken device, an end from outside.
_NOT_OF_IMAGES = (tf.errors.ResourceExhaustedError, tf.errors.InternalError, tf.errors.AbortedError,
                  tf.errors.CancelledError, tf.errors.UnavailableError)


class BadImage(NamedTuple):
  """An image that cannot be used, and why."""
  name: str
  reason: str


def find(dataset, decode, *, progress: bool | None = None,
         use_cache: bool = True) -> tuple[BadImage, ...]:
  """Decodes every image of a dataset once, in parallel.

  The result is cached under the dataset's examples and its files' sizes and modification times.

  Args:
    dataset: a `dataset.Dataset`.
    decode: function from a scalar string, an encoded image file, to an image of any numeric
      type, made of TensorFlow ops; its error makes an image bad.
    progress: whether to show a bar; None shows it on a terminal only.
    use_cache: whether an earlier result will do.

  Returns:
    The images that cannot be read or decoded, in the order of the source.
  """
  files = dataset.examples.files
  key = cache.key_of('bad images', _VERSION, dataset.fingerprint, dataset.channels,
                     [cache.stamp(file) for file in files])
  known = cache.load(key) if files and use_cache else None
  if known is not None:
    return tuple(BadImage(*image) for image in known)
  if files:
    print(f'Decoding {dataset.num_examples} images of the split {dataset.split_name!r} once, to '
          'find bad ones; the result is kept.', flush=True)
  found = check(dataset, decode, progress=progress)
  if files:
    cache.store(key, found)
  return found


def check(dataset, decode, *, progress: bool | None = None) -> tuple[BadImage, ...]:
  """Decodes every image as `find` does, and neither asks for an earlier result nor keeps this one.

  The arguments are those of `find`, as is the result.
  """
  good = _good_positions(dataset, decode, progress)
  missing = sorted(set(range(dataset.num_examples)) - good)
  return _explain(dataset, decode, missing) if missing else ()


def explain_failure(dataset, decode, error: Exception) -> str | None:
  """Finds the images behind an error that iterating an input pipeline raised.

  An error inside tf.data does not say which example it came from, and a training run has decoded
  every image before it starts; so it fails later only if a file changed. All are decoded again.

  Args:
    dataset: the `dataset.Dataset` that was being read.
    decode: as in `find`.
    error: what was raised.

  Returns:
    A message that names the images, or None if the error has another cause: all of them can be
    decoded, or it is of a kind that they do not raise, and none needs to be.
  """
  if not isinstance(error, tf.errors.OpError) or isinstance(error, _NOT_OF_IMAGES):
    return None
  try:
    found = find(dataset, decode, use_cache=False)
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
  """The first line of an error, without the graph node it came from."""
  text = getattr(error, 'message', None) or str(error) or type(error).__name__
  text = text.split('}} ', 1)[-1].strip()
  return text.splitlines()[0].split(' [Op:')[0].strip()


def _good_positions(dataset, decode, progress: bool | None) -> set[int]:
  """The positions of the examples that decode without an error."""

  def try_to_decode(position, raw):
    image = decode(dataset.examples.image(raw))
    # The result must depend on the pixels, or the decoding would be optimised away.
    return position, tf.reduce_max(image)

  order = dataset.examples.order(0, seed=0, shuffle=False).enumerate()
  decoded = order.map(try_to_decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
  batches = decoded.ignore_errors().batch(_BATCH).prefetch(2)
  hidden = progress is False or (progress is None and not sys.stderr.isatty())
  good = set()
  with tqdm(total=dataset.num_examples, desc='checking images', unit='image', disable=hidden,
            leave=False) as bar:
    for positions, _ in batches:
      good.update(positions.numpy().tolist())
      bar.update(len(positions))
  return good


def _explain(dataset, decode, positions: list[int]) -> tuple[BadImage, ...]:
  """Decodes single examples again, to learn why they failed."""
  wanted = tf.constant(positions, tf.int64)
  order = dataset.examples.order(0, seed=0, shuffle=False).enumerate()
  order = order.filter(lambda position, _: tf.reduce_any(wanted == position))
  found = []
  for position, raw in order:
    try:
      decode(dataset.examples.image(raw))
    except (tf.errors.OpError, ValueError) as error:
      found.append(BadImage(dataset.examples.names[int(position)], short_reason(error)))
  return tuple(found)
