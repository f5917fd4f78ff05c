"""The table of datasets, and the function that gets one."""

from __future__ import annotations

import os

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
# Options that only some datasets take.
_TAKEN_BY = {'image_dir': ('csv',), 'multi_label': ('csv', *tfrecord.SOURCES),
             **dict.fromkeys(('file_pattern', 'record_keys'), tuple(tfrecord.SOURCES))}
_ARCHIVES = ('.zip', '.tar', '.tar.gz', '.tgz', '.tar.bz2', '.tar.xz', '.7z', '.rar')
# Datasets that need no --dataset_dir.
_WITHOUT_DIR = (digits.get_split, tfds_source.get_split)


def get_dataset(name: str, split_name: str, dataset_dir=None, **options) -> dataset.Dataset:
  """Gets one split of a dataset.

  Args:
    name: a key of `DATASETS`, or 'tfds/<name of a TensorFlow Datasets set>'.
    split_name: 'train', 'validation' or 'test'; 'all' for a source with a single split.
    dataset_dir: directory containing the dataset.
    **options: the fields of `dataset.Options`.

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
  if dataset_dir and os.path.isfile(dataset_dir) and str(dataset_dir).lower().endswith(_ARCHIVES):
    raise ValueError(f'Expected --dataset_dir to be unpacked. Received the archive {dataset_dir}. '
                     'Unpack it, and give the folder.')
  for option, takers in _TAKEN_BY.items():
    if options.get(option) and name not in takers:
      raise ValueError(f'Expected --{option} only for --dataset_name={" or ".join(takers)}. '
                       f'Received: --dataset_name={name}. Leave it out, or change the dataset.')
  return get_split(name, split_name, dataset_dir, options=dataset.Options(**options))
