"""One split of a dataset as a network takes it: decoded, preprocessed, with its labels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from datasets import bad_images as bad_images_lib
from datasets import dataset as dataset_lib
from datasets import input_pipeline
from preprocessing import preprocessing_factory
from preprocessing.decoding import decode_image


def decoder(dataset: dataset_lib.Dataset) -> Callable[[tf.Tensor], tf.Tensor]:
  """Returns the full decoding by which it is decided which images of a dataset are bad."""
  return functools.partial(decode_image, channels=dataset.channels)


@dataclasses.dataclass(frozen=True)
class Inputs:
  """One split, and what becomes of its images and labels.

  Attributes:
    dataset: the split.
    label_map: the network's output for each of the dataset's labels, -1 where there is none.
    bad_images: names of the images that are left out.
    preprocessing_name: a name in `PREPROCESSING`.
    image_size: height and width, in pixels.
    channels: 1 or 3.
    num_parallel_calls: images to decode at a time.
    num_views: in how many ways each image is augmented for training; 0 for not at all, as in an
      evaluation; None for anew in every epoch.
    gather: gives what was computed ahead in place of images; see `input_pipeline`.
    sampling: how training chooses examples, a name in `input_pipeline.SAMPLING`.
  """
  dataset: dataset_lib.Dataset
  label_map: list[int]
  bad_images: tuple[str, ...]
  _: dataclasses.KW_ONLY
  preprocessing_name: str
  image_size: int
  channels: int
  num_parallel_calls: int
  num_views: int | None = None
  gather: Callable | None = None
  sampling: str = 'uniform'

  def class_counts(self, num_outputs: int) -> np.ndarray:
    """Counts the examples of each of the network's outputs, without the bad images.

    Args:
      num_outputs: of the network.

    Returns:
      int64 [num_outputs].
    """
    outputs, bad = np.asarray(self.label_map)[self.dataset.labels], set(self.bad_images)
    is_good = np.array([name not in bad for name in self.dataset.examples.names])
    return np.bincount(outputs[(outputs >= 0) & is_good], minlength=num_outputs)

  def training_batches(self, *, batch_size: int, seed: int, start_step: int):
    """Makes the endless stream of training batches, for the replicas of the strategy in force.

    The arguments are those of `input_pipeline.training_batches`.
    """
    return self._distribute(input_pipeline.training_batches, is_training=self.num_views != 0,
                            batch_size=batch_size, seed=seed, start_step=start_step,
                            num_views=self.num_views or None, sampling=self.sampling)

  def evaluation_batches(self, *, batch_size: int):
    """Makes the batches of an evaluation, for the replicas of the strategy in force.

    The arguments are those of `input_pipeline.evaluation_batches`.
    """
    return self._distribute(input_pipeline.evaluation_batches, is_training=False,
                            batch_size=batch_size)

  def view_batches(self, *, batch_size: int, seed: int, start: int, is_training: bool):
    """Makes batches of all views, in order, on one device; see `input_pipeline.view_batches`.

    Args:
      batch_size, seed, start: see there.
      is_training: whether they are the views that training has, or what an evaluation has.
    """
    views = self.num_views if is_training else 0
    return input_pipeline.view_batches(
        self.dataset, self._preprocess(bool(views)), batch_size=batch_size, seed=seed,
        num_views=views or 1, start=start, bad_images=self.bad_images,
        num_parallel_calls=self.num_parallel_calls)

  def explain(self, error: tf.errors.OpError) -> Exception:
    """Returns what to raise for an error that came up while batches were used.

    Returns:
      A ValueError that names the images behind it, or the error itself if they are not.
    """
    if self.gather:  # No image was read.
      return error
    reason = bad_images_lib.explain_failure(self.dataset, decoder(self.dataset), error,
                                            left_out=self.bad_images)
    return ValueError(reason) if reason else error

  def _preprocess(self, is_training: bool) -> Callable:
    function = preprocessing_factory.get_preprocessing(self.preprocessing_name, is_training,
                                                       channels=self.channels)
    return lambda image, seed: function(image, self.image_size, self.image_size, seed=seed)

  def _distribute(self, make_batches: Callable, *, is_training: bool, **arguments):
    batches = make_batches(
        self.dataset, None if self.gather else self._preprocess(is_training), gather=self.gather,
        bad_images=self.bad_images, label_map=self.label_map,
        num_parallel_calls=self.num_parallel_calls,
        num_replicas=tf.distribute.get_strategy().num_replicas_in_sync, **arguments)
    return tf.distribute.get_strategy().distribute_datasets_from_function(lambda context: batches)
