"""The datasets by name."""

from __future__ import annotations

from datasets import csv_list, dataset, digits, folder, pickled, tfds_source, tfrecord
from files.errors import unknown_name

# Every entry makes one split of a source; all take the same arguments.
DATASETS = {
    'csv': csv_list.get_split,
    'digits': digits.get_split,
    'folder': folder.get_split,
    'pickled': pickled.get_split,
    **dict.fromkeys(tfrecord.SOURCES, tfrecord.get_split),
}
# Those that can find their data by themselves.
_WITHOUT_DIR = (digits.get_split, tfds_source.get_split)


def get_dataset(name: str, split_name: str, dataset_dir=None, *, file_pattern: str | None = None,
                validation_fraction: float = 0.1) -> dataset.Dataset:
  """Gets one split of a dataset.

  Args:
    name: a key of `DATASETS`, or 'tfds/<name of a TensorFlow Datasets set>'.
    split_name: 'train', 'validation' or 'test'; 'all' for a source with a single split.
    dataset_dir: where the data lie.
    file_pattern: how a split's TFRecord files are called, with '%s' for the split.
    validation_fraction: share of the training examples that makes the validation split where
      the source has none, in [0, 1); with 0 none is made.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError: if the name or the split is unknown or the data are not as they should be.
    FileNotFoundError: if the data are not there.
  """
  get_split = tfds_source.get_split if name.startswith(tfds_source.PREFIX) else DATASETS.get(name)
  if get_split is None:
    raise unknown_name('dataset', name, [*DATASETS, tfds_source.PREFIX + '<name>'])
  if not dataset_dir and get_split not in _WITHOUT_DIR:
    raise ValueError(f'Expected --dataset_dir for dataset {name!r}. Received none.')
  return get_split(name, split_name, dataset_dir, file_pattern=file_pattern,
                   validation_fraction=validation_fraction)
