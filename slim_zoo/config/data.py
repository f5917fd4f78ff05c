"""The options of datasets and images."""

from __future__ import annotations

import dataclasses

from slim_zoo.config.option import Path, Rule, option

SAMPLING = ('uniform', 'balanced')


@dataclasses.dataclass(frozen=True)
class Data:
  """Data."""
  dataset_name: str = option('imagenet', 'Dataset, such as folder, csv or tfds/<name>.',
                             rule=Rule.FIXED, common=True)
  dataset_dir: str | None = option(None, 'Directory containing the dataset.', rule=Rule.FREE,
                                   path=Path.READ, common=True)
  dataset_split_name: str = option('test', 'Name of the split.', common=True)
  file_pattern: str | None = option(None, 'Names of the TFRecord files; %s stands for the split.',
                                    rule=Rule.FIXED)
  validation_fraction: float = option(
      0.1, 'Share of the training examples used for validation if the dataset has no validation '
      'split.', rule=Rule.FIXED, lower=0, upper=0.9)
  on_bad_image: str = option('error', 'What to do with images that cannot be decoded: stop, or '
                             'skip them and print their names.', rule=Rule.FIXED,
                             choices=['error', 'skip'])


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
  sampling: str = option('uniform', 'How examples are drawn: each once per epoch, or every class '
                         'equally often.', rule=Rule.FIXED, choices=SAMPLING)


@dataclasses.dataclass(frozen=True)
class EvaluationData(Data):
  """Data."""
  labels_offset: int | None = option(
      None, 'Number subtracted from every label; by default 0, or what fits labels with the '
      'background class to weights without it.', rule=Rule.FIXED)
  labels_are_indices: bool = option(
      False, 'For weights that do not know their classes: number the classes of the dataset in '
      'sorted order, and match these numbers with the outputs.')
