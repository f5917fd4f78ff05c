"""Image classification datasets of TensorFlow Datasets, including those prepared by the user."""

from __future__ import annotations

import os
from collections.abc import Callable

import tensorflow as tf

from datasets import dataset, record_files, records, splits, tfrecord
from files.reasons import short_reason

PREFIX = 'tfds/'
# If a dataset declares more classes, its labels are not class numbers. (Each class has a name in
# memory.)
_MOST_CLASSES = 2**20


def get_split(name: str, split_name: str, dataset_dir=None,
              *, options: dataset.Options = dataset.Options()) -> dataset.Dataset:
  """Makes a split of a dataset of TensorFlow Datasets.

  Args:
    name: 'tfds/' and a name for `tfds.builder`, optionally with config and version.
    split_name: one of the dataset's splits; 'validation' is made from 'train' if there is none.
    dataset_dir: TensorFlow Datasets' `data_dir`; None is its default, `~/tensorflow_datasets`.
      A dataset that is not prepared there is downloaded.
    options: see `dataset.Options`.

  Returns:
    A `dataset.Dataset`.

  Raises:
    ValueError, OSError: if the dataset is not available, or does not have one image and one label
      per example.
  """
  builder = _prepared_builder(name.removeprefix(PREFIX), dataset_dir)
  image_key, label_key = _feature_keys(builder.info, name)
  native = tuple(split for split, info in builder.info.splits.items() if info.num_examples)
  chosen, part = splits.choose(split_name, native, validation_fraction=options.validation_fraction,
                               source=name)
  parse_image, parse_label = _parsers(builder.info.features, image_key, label_key)

  def scan(split: str) -> list[record_files.RecordFile]:
    paths = [os.fspath(path) for path in builder.info.splits[split].filepaths]
    return record_files.scan(paths, parse_label, kind=f'{name} {builder.version} {label_key}',
                             readers=options.readers)

  label_feature = builder.info.features[label_key]
  # If the classes have no names, the dataset generates one for each number.
  listed = tuple(label_feature.names) if label_feature.num_classes <= _MOST_CLASSES else None
  files, class_names, notes = tfrecord.with_classes(scan, chosen, native, class_names=listed)
  examples = records.RecordExamples(files, parse_image)
  if part:
    examples = examples.select(splits.part_of(examples, class_names, part,
                                              validation_fraction=options.validation_fraction))
  channels = 1 if builder.info.features[image_key].shape[-1] == 1 else 3
  return dataset.Dataset(name, split_name, class_names, channels, examples,
                         made_split=bool(part), notes=notes, open_ended_labels=listed is None)


def _prepared_builder(name: str, data_dir):
  """Returns the dataset's builder, with its files on disk."""
  # Imported here because it takes seconds, and only this dataset needs it.
  import tensorflow_datasets as tfds
  data_dir = os.path.expanduser(data_dir) if data_dir else None
  try:
    builder = tfds.builder(name, data_dir=data_dir)
  except tfds.core.DatasetNotFoundError as error:
    raise ValueError(
        'Expected a dataset of TensorFlow Datasets, or one prepared in --dataset_dir. Received '
        f'{name!r} and {data_dir}. See https://www.tensorflow.org/datasets/catalog for a list.'
    ) from error
  except Exception as error:  # Damaged files may raise anything.
    raise ValueError(
        f'Expected a dataset of TensorFlow Datasets. Received {name!r} in '
        f'{data_dir or "~/tensorflow_datasets"}, which cannot be opened: '
        f'{short_reason(error).rstrip(".")}. Check its name and config, or prepare it again.'
    ) from error
  if builder.info.splits:
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
      raise ValueError(
          f'Expected {name!r} to be prepared as TFRecord files. '
          f'Received: {builder.info.file_format.value} in {builder.data_dir}. Prepare it again in '
          "another folder, with file_format='tfrecord'.")
    return builder
  try:
    builder.download_and_prepare(file_format='tfrecord')
  except Exception as error:  # The dataset's code may raise anything.
    raise OSError(
        f'{name!r} is not prepared in {builder.data_dir}, and could not be downloaded: '
        f'{short_reason(error).rstrip(".")}. Check the network, or prepare it elsewhere and set '
        '--dataset_dir to its data_dir.') from error
  return builder


def _feature_keys(info, name: str) -> tuple[str, str]:
  """The keys of the image and of the label."""
  import tensorflow_datasets as tfds
  features = info.features
  if not isinstance(features, tfds.features.FeaturesDict):
    features = {}
  images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
  labels = [key for key, feature in features.items()
            if isinstance(feature, tfds.features.ClassLabel)]
  supervised = info.supervised_keys
  if supervised and len(supervised) == 2:
    image_key, label_key = supervised
    if image_key in images and label_key in labels:
      return image_key, label_key
  if len(images) == 1 and len(labels) == 1:
    return images[0], labels[0]
  raise ValueError(f'Expected {name} to have one image and one label per example. Received: '
                   f'images {images or "none"} and labels {labels or "none"}.')


def _parsers(features, image_key: str, label_key: str) -> tuple[Callable, Callable]:
  """Makes the functions from a record to its encoded image, and to its label."""
  import tensorflow_datasets as tfds

  def parse_image(record: tf.Tensor) -> tf.Tensor:
    return features.deserialize_example(
        record, decoders={image_key: tfds.decode.SkipDecoding()})[image_key]

  def parse_label(record: tf.Tensor) -> tf.Tensor:
    partial = tfds.decode.PartialDecoding({label_key: True}).extract_features(features)
    return partial.deserialize_example(record)[label_key]

  return parse_image, parse_label
