"""Images to predict: read once, in order; those that cannot be decoded are left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import tensorflow as tf

from datasets import bad_images
from datasets.dataset import ALL_FORMATS, as_strings
from files import converted_images
from files.reasons import short_reason
from preprocessing.decoding import decode_image
from preprocessing.transform import Transform
from slim_zoo.training.inputs import parallel_calls

_MOST_BATCHES_AHEAD = 2


class Photos:
  """Image files as batches for a network.

  Every file is decoded whole, so that one that is truncated is not predicted from its beginning.

  Attributes:
    paths: the files, in order.
    notes: lines for the user.
    num_bad: number of files, so far, that could not be decoded.
  """

  def __init__(self, paths: Sequence[str], transform: Transform, *, image_size: int, channels: int):
    """Reads the beginning of each file, and converts those of formats that need it.

    Args:
      paths: the files.
      transform: how they are prepared.
      image_size: height and width of the results, in pixels.
      channels: 1 or 3.
    """
    readable = converted_images.readable(paths)
    self.paths, self.notes, self.num_bad = list(paths), readable.notes, 0
    self._files, self._formats = readable.paths, readable.formats
    self._transform, self._image_size, self._channels = transform, image_size, channels

  def batches(self, batch_size: int, *, refuse: Callable[[bad_images.BadImage], None],
              num_parallel_calls: int | None = None) -> Iterator[tuple[list[str], tf.Tensor]]:
    """Yields the images that can be decoded.

    Args:
      batch_size: most images of a batch.
      refuse: called with each image that cannot be, between the batches.
      num_parallel_calls: number of images to decode at a time; None for one per CPU.

    Yields:
      (paths, float32 [number of paths, image_size, image_size, channels]).

    Raises:
      tf.errors.OpError: for an error that images never cause, such as too little memory.
      OSError: if a file could not be read at first, and then could.
    """
    following = 0

    def refuse_until(end: int) -> None:
      for number in range(following, end):
        refuse(self._explain(number))
        self.num_bad += 1

    for numbers, images in self._dataset(batch_size, parallel_calls(num_parallel_calls)):
      found = numbers.numpy().tolist()
      for number in found:
        refuse_until(number)
        following = number + 1
      yield [self.paths[number] for number in found], images
    refuse_until(len(self.paths))

  def view(self, path: str) -> np.ndarray:
    """Returns what the network sees of an image: uint8 [image_size, image_size, channels]."""
    file = self._files[self.paths.index(path)]
    pixels = self._transform.pixels(tf.io.read_file(as_strings([file])[0]), self._image_size,
                                    self._image_size, channels=self._channels)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)

  @tf.autograph.experimental.do_not_convert
  def _dataset(self, batch_size: int, num_parallel_calls: int) -> tf.data.Dataset:
    files = as_strings(self._files)
    stream = tf.data.Dataset.range(len(self._files)).map(
        lambda number: (number, self._load(tf.gather(files, number), self._formats)),
        num_parallel_calls=num_parallel_calls, deterministic=True)
    return stream.ignore_errors().batch(batch_size).prefetch(_MOST_BATCHES_AHEAD)

  def _load(self, file: tf.Tensor, formats: Collection[str] = ALL_FORMATS) -> tf.Tensor:
    """Reads and prepares a file of one of some formats."""
    pixels = decode_image(tf.io.read_file(file), self._channels, formats=formats,
                          dct_method=self._transform.dct_method)
    return self._transform(pixels, self._image_size, self._image_size, channels=self._channels)

  def _explain(self, number: int) -> bad_images.BadImage:
    """Prepares an image again to find out why it failed."""
    try:
      self._load(as_strings(self._files[number:number + 1])[0])
    except bad_images.NOT_OF_IMAGES:
      raise
    except (tf.errors.OpError, ValueError) as error:
      return bad_images.BadImage(self.paths[number], short_reason(error))
    raise OSError(f'{self.paths[number]}: expected an image that can be read. Received: a failure '
                  'at first, and none the second time. Try again.')
