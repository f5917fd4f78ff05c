"""The handwritten digits of scikit-learn: 1,797 grey images of 8×8, without a download.

Source: E. Alpaydin and C. Kaynak, https://archive.ics.uci.edu/dataset/80 (its test part).
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from datasets import dataset, indexed, splits

_CLASS_NAMES = tuple('0123456789')


def get_split(name: str, split_name: str, dataset_dir=None,
              *, options: dataset.Options = dataset.Options()) -> dataset.Dataset:
  """Makes a split of the digits; `dataset_dir` is ignored."""
  del dataset_dir
  _, part = splits.choose(split_name, ('train',), validation_fraction=options.validation_fraction,
                          source='the digits')
  examples = _examples()
  if part:
    examples = examples.select(splits.part_of(examples, _CLASS_NAMES, part,
                                              validation_fraction=options.validation_fraction))
  return dataset.Dataset(name, split_name, _CLASS_NAMES, 1, examples, made_split=bool(part))


@functools.cache
def _examples() -> indexed.IndexedExamples:
  # Imported here because it takes a second, and only this dataset needs it.
  from sklearn.datasets import load_digits
  digits = load_digits()
  # The source's values are 0 to 16.
  images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
  encoded = [tf.io.encode_png(image[:, :, np.newaxis]).numpy() for image in images]
  names = [f'digit-{i:05d}' for i in range(len(images))]
  return indexed.IndexedExamples(names, digits.target, encoded=encoded, formats=['PNG'])
