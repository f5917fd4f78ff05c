"""Predictions: the most likely classes of images, with their probabilities."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import os
import pathlib
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, NamedTuple

import numpy as np
import tensorflow as tf

from files.replacing import replacing
from nets.folding import Folded
from nets.network import Network

FORMATS = ('.csv', '.json', '.jsonl')


class Guess(NamedTuple):
  """A class and its probability, in [0, 1]."""
  label: str
  probability: float


class Prediction(NamedTuple):
  """The most likely classes of one image, the most likely first."""
  image: str
  guesses: tuple[Guess, ...]

  def rows(self, width: int) -> str:
    """Formats it as rows of a table, with a first column of that width; see `heading`."""
    return '\n'.join(f'{image:<{width}}  {guess.probability:>11.4f}  {guess.label}'
                     for image, guess in zip(itertools.chain([self.image], itertools.repeat('')),
                                             self.guesses, strict=False))


def heading(width: int) -> str:
  """Returns the heading of a table of predictions, with a first column of that width."""
  return f'{"image":<{width}}  probability  class'


def predict(network: Network | Folded, batches: Iterable[tuple[Sequence[str], tf.Tensor]], *,
            batch_size: int, class_names: Sequence[str], top_k: int, xla: bool = False,
            activation: Callable[..., tf.Tensor] = tf.nn.softmax) -> Iterator[Prediction]:
  """Predicts the classes of images, batch by batch.

  Args:
    network: the network.
    batches: (names of images, float32 [number of names, height, width, channels]).
    batch_size: number of images that the network is applied to; smaller batches are padded, because
      another size would be another trace.
    class_names: one name per output of the network.
    top_k: number of classes per image; all of them if the network has fewer.
    xla: whether XLA compiles the network.
    activation: from logits to probabilities.

  Yields:
    One prediction per image, in order. Equally likely classes are in the order of the outputs.

  Raises:
    ValueError: if the network's answer is not finite.
  """
  k = min(top_k, len(class_names))

  @tf.function(autograph=False, jit_compile=xla)
  def forward(batch):
    logits, _ = network(batch, is_training=False)
    _, outputs = tf.math.top_k(logits, k)  # Probabilities of different logits may both be 0.
    return tf.gather(activation(logits), outputs, batch_dims=1), outputs

  for names, images in batches:
    if len(names) < batch_size:
      images = tf.pad(images, [[0, batch_size - len(names)], [0, 0], [0, 0], [0, 0]])
    values, outputs = (part[:len(names)].numpy().tolist() for part in forward(images))
    for image, probabilities, classes in zip(names, values, outputs, strict=True):
      if not np.isfinite(probabilities).all():
        raise ValueError(f'Expected finite outputs. Received: NaN or infinite ones for {image}. '
                         'The weights are broken, or do not belong to this network.')
      yield Prediction(image, tuple(Guess(class_names[c], p)
                                    for c, p in zip(classes, probabilities, strict=True)))


def check_format(path: str | os.PathLike) -> None:
  """Stops at a file that is neither CSV nor JSON by its name.

  Raises:
    ValueError: names the formats.
  """
  if pathlib.Path(path).suffix.lower() not in FORMATS:
    raise ValueError(f'Expected a file for predictions that ends in {", ".join(FORMATS)}. '
                     f'Received: {path}.')


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[Callable[[Prediction], None]]:
  """Writes predictions into a file, which appears once it is complete.

  CSV has a row for each image and class: image, rank (from 1), label, probability. JSON has a list
  of images, with their predictions as a list; JSON lines have such an image on each line.

  Args:
    path: ends in one of `FORMATS`; its folder is made if need be.

  Yields:
    The function that takes the next prediction.

  Raises:
    ValueError: if the format is not known.
    OSError: if the file cannot be written.
  """
  check_format(path)
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  form = _FORMS[path.suffix.lower()]
  # Names of files need not be UTF-8; they are written as they are.
  with replacing(path) as aside, \
      open(aside, 'w', newline='', encoding='utf-8', errors='surrogateescape') as file, \
      form(file) as put:
    yield put


@contextlib.contextmanager
def _csv_rows(file: IO[str]) -> Iterator[Callable[[Prediction], None]]:
  rows = csv.writer(file)
  rows.writerow(['image', 'rank', 'label', 'probability'])
  yield lambda found: rows.writerows(
      [found.image, rank, guess.label, repr(guess.probability)]
      for rank, guess in enumerate(found.guesses, start=1))


@contextlib.contextmanager
def _json_list(file: IO[str]) -> Iterator[Callable[[Prediction], None]]:
  """Writes what `json.dump` does of the whole list, one image after the other."""
  before = '['

  def put(found: Prediction) -> None:
    nonlocal before
    text = json.dumps(_as_json(found), indent=1)
    file.write(f'{before}\n{textwrap.indent(text, " ")}')
    before = ','

  yield put
  file.write('[]\n' if before == '[' else '\n]\n')


@contextlib.contextmanager
def _json_lines(file: IO[str]) -> Iterator[Callable[[Prediction], None]]:
  yield lambda found: print(json.dumps(_as_json(found)), file=file)


def _as_json(found: Prediction) -> dict:
  return {'image': found.image, 'predictions': [guess._asdict() for guess in found.guesses]}


_FORMS = dict(zip(FORMATS, (_csv_rows, _json_list, _json_lines), strict=True))
