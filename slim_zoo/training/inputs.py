"""Splits of a dataset as batches for a network; images are decoded and preprocessed."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from datasets import bad_images as bad_images_lib
from datasets import dataset as dataset_lib
from datasets import input_pipeline, seeds
from datasets.indexed import IndexedExamples
from preprocessing import preprocessing_factory
from preprocessing.augmentation import NONE, Augmentation
from preprocessing.decoding import decode_image, open_image
from preprocessing.transform import Transform

_LEAST_PARALLEL_CALLS = 4  # TF-Slim's number; on few CPUs, some wait for the disk.


def decoder(dataset: dataset_lib.Dataset) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns the full decoding that decides which images of a dataset are bad."""
  return functools.partial(decode_image, channels=dataset.channels)


def parallel_calls(number: int | None) -> int:
  """Returns how many images to decode at a time: the number, or one per CPU, and at least 4."""
  return number or max(_LEAST_PARALLEL_CALLS, len(os.sched_getaffinity(0)))


class Split(Protocol):
  """One split for a trainer or an evaluator: batches of images or of features."""
  @property
  def dataset(self) -> dataset_lib.Dataset:
    """The examples: their names, labels and classes."""

  @property
  def label_map(self) -> list[int]:
    """The network's output for each of the dataset's labels, -1 if there is none."""

  @property
  def num_outputs(self) -> int | None:
    """Number of the network's outputs; only examples with several labels need it."""

  @property
  def bad_images(self) -> tuple[str, ...]:
    """Names of the examples that are left out."""

  def class_counts(self, num_outputs: int) -> np.ndarray:
    """Counts the examples of each of the network's outputs, int64 [num_outputs]."""

  def training_batches(self, *, batch_size: int, seed: int, start_step: int) -> Any:
    """Makes the endless training batches for the replicas of the current strategy."""

  def evaluation_batches(self, *, batch_size: int) -> Any:
    """Makes the batches of an evaluation for the replicas of the current strategy."""

  def explain(self, error: tf.errors.OpError) -> Exception:
    """Returns the exception to raise for an error that occurred while batches were used."""


@dataclasses.dataclass(frozen=True)
class Inputs:
  """One split of images.

  Attributes:
    dataset, label_map, bad_images: see `Split`.
    preprocessing_name: a name in `PREPROCESSING`.
    transform: how images are prepared in an evaluation.
    augmentation: how training images are augmented beyond the preprocessing.
    image_size: height and width, in pixels.
    channels: 1 or 3.
    num_parallel_calls: number of images to decode at a time; None for one per CPU, and at least 4.
    num_views: number of ways in which each image is augmented for training; 0 for no augmentation,
      as in evaluation; None for a new augmentation in every epoch.
    repeats: see `input_pipeline.training_batches`.
    sampling: how training chooses examples, a name in `input_pipeline.SAMPLING`.
    num_outputs: see `Split`.
  """
  dataset: dataset_lib.Dataset
  label_map: list[int]
  bad_images: tuple[str, ...]
  _: dataclasses.KW_ONLY
  preprocessing_name: str
  transform: Transform
  image_size: int
  channels: int
  num_parallel_calls: int | None = None
  augmentation: Augmentation = NONE
  num_views: int | None = None
  repeats: int = 1
  sampling: str = 'uniform'
  num_outputs: int | None = None

  def class_counts(self, num_outputs: int) -> np.ndarray:
    """Counts the examples of each of the network's outputs, without the bad images."""
    return class_counts(self, num_outputs)

  def training_batches(self, *, batch_size: int, seed: int, start_step: int) -> Any:
    """See `Split`; the arguments are those of `input_pipeline.training_batches`."""
    return distributed(input_pipeline.training_batches, self, self._preprocess(self.num_views != 0),
                       batch_size=batch_size, seed=seed, start_step=start_step,
                       num_views=self.num_views or None, sampling=self.sampling,
                       repeats=self.repeats,
                       num_parallel_calls=self._parallel_calls)

  def training_sample(self, count: int, *, seed: int, epoch: int) -> dict[str, tf.Tensor]:
    """Returns some training examples as training prepares them, on one device.

    Those of a folder or a list are near the beginning of the epoch, in its shuffled order. Those of
    records are the first ones in the files, because shuffling them means reading many.

    Args:
      count: number of examples.
      seed: of the run.
      epoch: the epoch.

    Raises:
      tf.errors.OpError: if an image cannot be read.
    """
    preprocess = self._preprocess(self.num_views != 0)
    common: dict[str, Any] = {
        'batch_size': count, 'bad_images': self.bad_images, 'label_map': self.label_map,
        'num_outputs': self.num_outputs, 'num_parallel_calls': self._parallel_calls}
    if isinstance(self.dataset.examples, IndexedExamples):
      batches = input_pipeline.training_batches(
          self.dataset, preprocess, seed=seed, num_views=self.num_views or None,
          start_step=-(-epoch * self.dataset.num_examples // count), sampling=self.sampling,
          repeats=self.repeats, **common)
    else:
      batches = input_pipeline.evaluation_batches(
          self.dataset, lambda image, _: preprocess(image, seeds.derive(
              seeds.AUGMENTATION, seed, epoch, tf.strings.to_hash_bucket_fast(image, 2**62))),
          **common)
    return next(iter(batches.take(1)))

  def evaluation_batches(self, *, batch_size: int) -> Any:
    """See `Split`; the arguments are those of `input_pipeline.evaluation_batches`."""
    return distributed(input_pipeline.evaluation_batches, self, self._preprocess(False),
                       batch_size=batch_size, num_parallel_calls=self._parallel_calls)

  def view_batches(self, *, batch_size: int, seed: int, start: int, is_training: bool):
    """Makes batches of all views, in order, on one device; see `input_pipeline.view_batches`.

    Args:
      batch_size, seed, start: see there.
      is_training: whether they are the views of training, or those of an evaluation.
    """
    views = self.num_views if is_training else 0
    return input_pipeline.view_batches(
        self.dataset, self._preprocess(bool(views)), batch_size=batch_size, seed=seed,
        num_views=views or 1, start=start, bad_images=self.bad_images,
        num_parallel_calls=self._parallel_calls)

  def explain(self, error: tf.errors.OpError) -> Exception:
    """Returns what to raise for an error that occurred while batches were used.

    Returns:
      A ValueError that names the images that caused it, or the error itself if none did.
    """
    reason = bad_images_lib.explain_failure(self.dataset, decoder(self.dataset), error,
                                            left_out=self.bad_images)
    return ValueError(reason) if reason else error

  @property
  def _parallel_calls(self) -> int:
    return parallel_calls(self.num_parallel_calls)

  def _preprocess(self, is_training: bool) -> Callable:
    function = preprocessing_factory.get_preprocessing(
        self.preprocessing_name, is_training, channels=self.channels, transform=self.transform,
        augmentation=self.augmentation)
    formats = self.dataset.examples.formats
    return lambda image, seed: function(open_image(image, self.channels, formats=formats),
                                        self.image_size, self.image_size, seed=seed)


def class_counts(split: Split, num_outputs: int) -> np.ndarray:
  """Counts the examples of each of the network's outputs, without those that are left out.

  Returns:
    int64 [num_outputs].
  """
  outputs, bad = np.asarray(split.label_map), set(split.bad_images)
  is_good = np.array([name not in bad for name in split.dataset.examples.names])
  counts = split.dataset.count_classes(split.dataset.labels[is_good])
  found = np.zeros(num_outputs, np.int64)
  np.add.at(found, outputs[outputs >= 0], counts[outputs >= 0])
  return found


def distributed(make_batches: Callable, split: Split, preprocess: Callable | None,
                **arguments: Any) -> Any:
  """Makes batches of a split for the replicas of the current strategy.

  Args:
    make_batches: a function of `input_pipeline`.
    split: the split.
    preprocess: of its images; None with the argument `gather`.
    **arguments: further arguments of `make_batches`.
  """
  def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
    return make_batches(
        split.dataset, preprocess, bad_images=split.bad_images, label_map=split.label_map,
        num_outputs=split.num_outputs, num_replicas=context.num_replicas_in_sync,
        num_workers=context.num_input_pipelines, worker_index=context.input_pipeline_id,
        **arguments)

  # TensorFlow 2.21 sometimes waits for a minute before it ends the threads that copy batches to
  # the devices of several workers, which CPUs do not need.
  options = tf.distribute.InputOptions(
      experimental_fetch_to_device=bool(tf.config.list_logical_devices('GPU')))
  return tf.distribute.get_strategy().distribute_datasets_from_function(of_worker, options)
