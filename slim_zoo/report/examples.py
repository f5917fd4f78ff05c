"""The images of some examples of a dataset, read from its files in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import tensorflow as tf

from datasets.dataset import Dataset


@tf.autograph.experimental.do_not_convert
def read(dataset: Dataset, positions: Iterable[int] | None = None
         ) -> Iterator[tuple[int, bytes]]:
  """Yields the encoded images of examples, in the order of the source; not those of lost files.

  Args:
    dataset: the split.
    positions: of the examples; None for all.

  Yields:
    (position, the file's content).
  """
  numbered = dataset.examples.order(0, seed=0, shuffle=False).enumerate()
  if positions is not None:
    wanted = np.zeros(dataset.num_examples, bool)
    wanted[list(positions)] = True
    numbered = numbered.take(np.flatnonzero(wanted).max(initial=-1) + 1)
    is_wanted = tf.constant(wanted)
    numbered = numbered.filter(lambda number, _: tf.gather(is_wanted, number))
  images = numbered.map(lambda number, raw: (number, dataset.examples.image(raw)),
                        num_parallel_calls=tf.data.AUTOTUNE).ignore_errors().prefetch(32)
  for number, image in images.as_numpy_iterator():
    yield int(number), image
