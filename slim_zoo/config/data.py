"""The options of datasets and images."""

from __future__ import annotations

import dataclasses
from typing import Any

from slim_zoo.config.option import Path, Rule, option

SAMPLING = ('uniform', 'balanced')
POLICIES = ('auto_augment', 'rand_augment', 'trivial_augment')


@dataclasses.dataclass(frozen=True)
class Data:
  """Data."""
  dataset_name: str = option('imagenet', 'Dataset, such as folder, csv or tfds/<name>.',
                             rule=Rule.FIXED, common=True)
  dataset_dir: str | None = option(None, 'Directory containing the dataset.', rule=Rule.FREE,
                                   path=Path.READ, common=True)
  dataset_split_name: str | None = option(
      None, 'Name of the split; by default test, or validation if there is no test split, or the '
      'only one if it is not what the network was trained on.', common=True)
  file_pattern: str | None = option(None, 'Names of the TFRecord files; %s stands for the split.',
                                    rule=Rule.FIXED)
  record_keys: str | None = option(
      None, 'Keys of the image and the label in TFRecords, as IMAGE,LABEL; by default those of '
      'TF-Slim, or others that are recognized.', rule=Rule.FIXED)
  image_dir: str | None = option(
      None, "Directory containing the images of a list, if it is not the list's own.",
      rule=Rule.FREE, path=Path.READ)
  multi_label: bool = option(
      False, 'An image may have several labels in a list, or none: a column for each class, or one '
      'cell with labels separated by |, ; or commas.', rule=Rule.FIXED)
  validation_fraction: float = option(
      0.1, 'Share of the training examples used for validation if the dataset has no validation '
      'split.', rule=Rule.FIXED, lower=0, upper=0.9)
  on_bad_image: str = option('error', 'What to do with images that cannot be decoded: stop, or '
                             'skip them and print their names.', rule=Rule.FIXED,
                             choices=['error', 'skip'])

  def of_source(self) -> dict[str, Any]:
    """Returns how the dataset is read, as `dataset_factory.get_dataset` takes it.

    Raises:
      ValueError: if --record_keys does not name two keys.
    """
    keys = tuple(self.record_keys.split(',')) if self.record_keys else ()
    if keys and (len(keys) != 2 or not all(keys)):
      raise ValueError('Expected --record_keys to be the keys of the image and of the label, such '
                       f'as --record_keys=image,label. Received: {self.record_keys}.')
    return {'file_pattern': self.file_pattern, 'record_keys': keys, 'image_dir': self.image_dir,
            'multi_label': self.multi_label, 'validation_fraction': self.validation_fraction}


@dataclasses.dataclass(frozen=True)
class TrainingData(Data):
  """Data."""
  dataset_split_name: str = option('train', 'Name of the split to train on.', rule=Rule.FIXED)
  labels_offset: int | None = option(
      None, "Number subtracted from every label. 1 removes the background class, which VGG's and "
      "ResNet v1's checkpoints do not have; by default 0, or what the kept head of "
      '--checkpoint_path needs.', rule=Rule.FIXED)
  augmentations_per_image: int | None = option(
      None, 'Number of ways in which each image is augmented, one per epoch in turn; 0 for none, '
      'as in an evaluation. By default an image is augmented anew in every epoch.',
      rule=Rule.FIXED, lower=0)
  augmentation_repeats: int = option(
      1, 'Number of times that an image is in a batch, each time augmented differently; an epoch '
      'has that many times fewer images.', rule=Rule.FIXED, lower=1)
  sampling: str = option('uniform', 'How examples are drawn: each once per epoch, or every class '
                         'equally often.', rule=Rule.FIXED, choices=SAMPLING)


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """Augmentation."""
  min_crop_area: float | None = option(
      None, "Smallest share of an image's area in a random crop; by default that of the network's "
      'preprocessing, such as 0.05.', rule=Rule.FIXED, lower=0.001, upper=1)
  vertical_flip: bool = option(False, 'Turn half of the images upside down.', rule=Rule.FIXED)
  color_jitter: float | None = option(
      None, "Strength of random changes of brightness, contrast and saturation, instead of those "
      "of the network's preprocessing.", rule=Rule.FIXED, lower=0)
  augmentation_policy: str | None = option(
      None, "Random operations on geometry and colours, instead of the changes of colours of the "
      "network's preprocessing.", rule=Rule.FIXED, choices=POLICIES)
  rand_augment_operations: int = option(
      2, 'Number of operations of rand_augment.', rule=Rule.FIXED, lower=1,
      needs=('augmentation_policy', ('rand_augment',)))
  rand_augment_magnitude: int = option(
      9, 'Magnitude of the operations of rand_augment.', rule=Rule.FIXED, lower=0, upper=30,
      needs=('augmentation_policy', ('rand_augment',)))
  erasing_probability: float = option(0.0, 'Share of the images of which a rectangle is erased.',
                                      rule=Rule.FIXED, lower=0, upper=1)


@dataclasses.dataclass(frozen=True)
class EvaluationData(Data):
  """Data."""
  labels_offset: int | None = option(
      None, 'Number subtracted from every label; by default 0, or what fits labels with the '
      'background class to weights without it.', rule=Rule.FIXED)
  labels_are_indices: bool = option(
      False, 'For weights that do not know their classes: number the classes of the dataset in '
      'sorted order, and match these numbers with the outputs.')
