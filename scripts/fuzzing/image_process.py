"""Decodes damaged image files in a separate process.

Usage: python -m scripts.fuzzing.image_process FORMAT SEED FIRST LAST SECONDS MEMORY

FORMAT is one of `image_samples.FORMATS`. The damaged copies FIRST to LAST (exclusive) are decoded
one by one with the functions the programs use, both whole and cropped. For output and limits see
`child.read_all`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence

from scripts.fuzzing import child, image_mutations, image_samples, runs


def decoders() -> tuple[Callable, Callable]:
  """Returns functions of a scalar string that decode a whole file and a crop of it."""
  import tensorflow as tf

  from preprocessing import decoding

  signature = [tf.TensorSpec([], tf.string)]

  @tf.function(input_signature=signature)
  def part(encoded):
    image = decoding.open_image(encoded)
    height, width = decoding.shape_of(image)
    return decoding.crop(image, (height // 4, width // 3, (height + 1) // 2, (width + 1) // 2))

  return tf.function(decoding.decode_image, input_signature=signature), part


def _outcome(decode: Callable, encoded: bytes) -> tuple[str, str]:
  """Decodes one file; returns the outcome and the reason."""
  import tensorflow as tf

  from datasets import bad_images

  try:
    pixels = decode(encoded)
    return runs.LOADED, f'{pixels.shape}'
  except tf.errors.InvalidArgumentError as error:  # The error of a bad image.
    return runs.REFUSED, bad_images.short_reason(error)
  except BaseException as error:  # Anything else is a crash.
    return runs.CRASHED, repr(error)


def read(functions: Sequence[Callable], encoded: bytes) -> dict:
  """Decodes one file in both ways of `decoders`; returns what `runs.Result` is made of."""
  began = time.perf_counter()
  (outcome, reason), of_part = (_outcome(decode, encoded) for decode in functions)
  if of_part[0] == runs.CRASHED:
    outcome, reason = of_part
  return {'outcome': outcome, 'reason': reason[:500], 'events': [],
          'milliseconds': 1000 * (time.perf_counter() - began), 'bytes': 0}


def main() -> None:
  """Decodes the copies given by the arguments."""
  name, seed = sys.argv[1:3]
  samples = [*image_samples.samples(name).values()]
  functions = decoders()
  for sample in samples:  # Traces everything before the limits apply.
    read(functions, sample)
  child.read_all(sys.argv[3:],
                 lambda number: image_mutations.damaged(name, samples, f'{seed} {number}'),
                 lambda encoded: read(functions, encoded))


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  main()
