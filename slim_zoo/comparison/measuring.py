"""How long a network takes, measured on a few images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from slim_zoo.evaluation import latency
from slim_zoo.features import linear_classifiers
from slim_zoo.features.extraction import Extractor
from slim_zoo.training.progress import Stopwatch

# In batches, which are smaller for slow networks.
_BATCHES, _SECONDS_OF_BATCH = 3, 2.0
# Rows of the fit that stands for all others.
_ROWS = 500
# Share of a fold's training rows that a strength is tried on, see `cross_predict`.
_SHARE = 0.8


@dataclasses.dataclass(frozen=True)
class Speed:
  """The times of one network.

  Attributes:
    latency_ms: milliseconds of the network for an image alone: the median, without reading and
      preprocessing.
    seconds_per_image: of the extraction, in batches, with reading and preprocessing.
    setup_seconds: building, restoring and tracing the network.
  """
  latency_ms: float
  seconds_per_image: float
  setup_seconds: float


def parse(value: Any) -> Speed | None:
  """Returns the speed that was kept as a JSON value; None if it is something else."""
  names = {field.name for field in dataclasses.fields(Speed)}
  if not isinstance(value, dict) or value.keys() != names or not all(
      isinstance(number, float | int) for number in value.values()):
    return None
  return Speed(**value)


def measure(extractor: Extractor, build_seconds: float) -> Speed:
  """Measures a network.

  Args:
    extractor: the network and the images.
    build_seconds: what building and restoring it took.

  Raises:
    ValueError: if an image cannot be decoded.
  """
  def batches_of(size: int) -> Iterator:
    return iter(extractor.inputs.view_batches(
        batch_size=size, seed=0, is_training=False, start=0).repeat())

  try:
    compute, image = extractor.compile(1), next(batches_of(1))['image']
    seconds = latency.median_seconds(lambda: compute(image).numpy())
    batch_size = max(1, min(extractor.batch_size, int(_SECONDS_OF_BATCH / seconds)))
    batches, watch = batches_of(batch_size), Stopwatch()
    compute = extractor.compile(batch_size)
    compute(next(batches)['image']).numpy()
    traced, watch = watch.seconds, Stopwatch()
    for _ in range(_BATCHES):
      compute(next(batches)['image']).numpy()
    per_image = watch.seconds / (_BATCHES * batch_size)
  except tf.errors.OpError as error:
    raise extractor.inputs.explain(error) from error
  return Speed(1000 * seconds, per_image, build_seconds + traced)


def head_seconds(num_rows: int, width: int, *, num_classes: int, folds: int,
                 num_strengths: int) -> float:
  """Estimates how long the cross-validation takes, from one fit to random features.

  Args:
    num_rows: number of images.
    width: number of features.
    num_classes: number of classes.
    folds: number of folds.
    num_strengths: number of strengths to choose from.
  """
  random, rows = np.random.default_rng(0), max(min(num_rows, _ROWS), 2 * num_classes)
  labels = np.arange(rows) % num_classes
  values = random.normal(size=[rows, width]).astype(np.float32)
  watch = Stopwatch()
  linear_classifiers.fit(values, labels, kind='logistic_regression', strengths=[1e-2])
  of_all = watch.seconds * num_rows / rows
  # The classifier of the best network is one more, on all rows.
  tries = num_strengths * _SHARE if num_strengths > 1 else 0
  return of_all * (folds + 1) * (tries + 1)
