"""Decodes damaged image files in a process of its own, and notes what each made it do.

Usage: python -m scripts.fuzzing.image_process FORMAT SEED FIRST LAST SECONDS MEMORY

FORMAT is one of `image_samples.FORMATS`; the damages number FIRST to LAST (which is not among them)
are decoded one by one, by the functions that the programs use: whole, and opened and cropped. The
output and the limits are those of `reader_process`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence

from scripts.fuzzing import image_mutations, image_samples, runs


def decoders() -> tuple[Callable, Callable]:
  """The whole of a file, and a part of it, as functions of a scalar string."""
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
  """Decodes one file; says what became of it, and why."""
  import tensorflow as tf

  from datasets import bad_images

  try:
    pixels = decode(encoded)
    return runs.LOADED, f'{pixels.shape}'
  except tf.errors.InvalidArgumentError as error:  # What makes an image a bad one.
    return runs.REFUSED, bad_images.short_reason(error)
  except BaseException as error:  # Whatever else it is, it is to be seen.
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
  """Decodes all that it is told to."""
  name, seed = sys.argv[1:3]
  first, last, seconds, memory = map(int, sys.argv[3:])
  samples = [*image_samples.samples(name).values()]
  functions = decoders()
  for sample in samples:  # Whatever is made late is made now.
    read(functions, sample)
  resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  for number in range(first, last):
    encoded = image_mutations.damaged(name, samples, f'{seed} {number}')
    print(number, flush=True)
    signal.alarm(seconds)
    found = read(functions, encoded)
    signal.alarm(0)
    print(json.dumps(found), flush=True)


if __name__ == '__main__':
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  main()
