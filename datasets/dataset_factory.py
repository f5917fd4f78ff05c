"""The table of datasets, and the function that gets one."""

from __future__ import annotations

from datasets import csv_list, dataset, digits, folder, pickled, tfds_source, tfrecord
from files.errors import unknown_name

# Each function makes one split; all take the same arguments.
DATASETS = {
    'csv': csv_list.get_split,
    'digits': digits.get_split,
    'folder': folder.get_split,
    'pickled': pickled.get_split,
    **dict.fromkeys(tfrecord.SOURCES, tfrecord.get_split),
}
# Datasets that need no --dataset_dir.
_WITHOUT_DIR = (digits.get_split, tfds_source.get_split)


def get_dataset(name: str, split_name: str, dataset_dir=None, *, file_pattern: str | None = None,
                validation_fraction: float = 0.1) -> dataset.Dataset:
  """Gets one split of a dataset.

  Args:
    name: a key of `DATASETS`, or 'tfds/<name of a TensorFlow Datasets set>'.
    split_name: 'train', 'validation' or 'test'; 'all' for a source with a single split.
    dataset_dir: directory containing the dataset.
    file_pattern: pattern of the names of a split's TFRecord files, with '%s' for the split.
    validation_fraction: fraction of the training examples, in [0, 1), used as the validation split
      if the source has none; 0 makes none.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError: if the name or the split is unknown, or the data are invalid.
    FileNotFoundError: if the data are missing.
  """
  get_split = tfds_source.get_split if name.startswith(tfds_source.PREFIX) else DATASETS.get(name)
  if get_split is None:
    raise unknown_name('dataset', name, [*DATASETS, tfds_source.PREFIX + '<name>'])
  if not dataset_dir and get_split not in _WITHOUT_DIR:
    raise ValueError(f'Expected --dataset_dir for the dataset {name!r}. Received none.')
  return get_split(name, split_name, dataset_dir, file_pattern=file_pattern,
                   validation_fraction=validation_fraction)
