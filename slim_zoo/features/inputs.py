"""Features as splits for a trainer, and checks that two feature files match."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import dataset as dataset_lib
from datasets import input_pipeline, integer_labels, labels, splits
from datasets.dataset import Dataset
from datasets.indexed import IndexedExamples
from slim_zoo.features.features import Features
from slim_zoo.training import inputs as inputs_lib

# Facts that must be equal in two files of features of the same kind.
_FACTS = ('model_name', 'end_point', 'checkpoint_digest', 'preprocessing_name', 'transform',
          'image_size', 'channels')


@dataclasses.dataclass(frozen=True)
class FeatureInputs:
  """One split of features in arrays; a `training.inputs.Split`.

  Attributes:
    dataset, label_map, bad_images, num_outputs: see `Split`.
    arrays: float32 [views · n, …]; row v·n + i is view v of example i of the n in the dataset.
    is_one: whether a batch has the only array itself rather than a tuple of arrays.
    num_views: number of views of each example.
    sampling: how training chooses examples, a name in `input_pipeline.SAMPLING`.
  """
  dataset: Dataset
  label_map: list[int]
  bad_images: tuple[str, ...]
  _: dataclasses.KW_ONLY
  arrays: Sequence[np.ndarray]
  is_one: bool = False
  num_views: int = 1
  sampling: str = 'uniform'
  num_outputs: int | None = None

  @classmethod
  def from_features(cls, features: Features, split_name: str,
                    class_names: Sequence[str]) -> FeatureInputs:
    """Makes a split from the features in a file.

    Args:
      features: features of the split.
      split_name: name of the split.
      class_names: one name per output; the features' own, if known, may be in a different order.

    Raises:
      ValueError: if two examples have the same name.
    """
    names, counts = np.unique(np.array(features.names, object), return_counts=True)
    if len(names) < len(features.names):
      raise ValueError(f'Expected each example of the split {split_name!r} once. Received '
                       f'{names[np.argmax(counts)]!r} {counts.max()} times.')
    own_names = features.class_names or class_names
    # The dataset has names, labels and their order, but no images.
    dataset = Dataset('features', split_name, tuple(own_names), 3, _examples(features))
    return cls(dataset, labels.map_by_name(own_names, class_names), (), arrays=[features.values],
               is_one=True)

  def class_counts(self, num_outputs: int) -> np.ndarray:
    """See `Split`."""
    return inputs_lib.class_counts(self, num_outputs)

  def training_batches(self, *, batch_size: int, seed: int, start_step: int) -> Any:
    """See `Split`."""
    return inputs_lib.distributed(
        input_pipeline.training_batches, self, None, gather=self._gather, batch_size=batch_size,
        seed=seed, start_step=start_step, num_views=self.num_views, sampling=self.sampling)

  def evaluation_batches(self, *, batch_size: int) -> Any:
    """See `Split`."""
    return inputs_lib.distributed(
        input_pipeline.evaluation_batches, self, None, gather=self._gather, batch_size=batch_size)

  def explain(self, error: tf.errors.OpError) -> Exception:
    """Returns the error itself, since no image is read."""
    return error

  @functools.cached_property
  def _rows(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the sorted ids of the examples, and the row of each."""
    ids = dataset_lib.ids(self.dataset.examples.names)
    order = np.argsort(ids)
    return ids[order], order

  def _gather(self, wanted: tf.Tensor,
              views: tf.Tensor) -> tf.Tensor | tuple[tf.Tensor, ...]:
    """Returns float32 [B, …] from each array for ids and views, int64 [B]."""
    found = tf.numpy_function(self._take, [wanted, views], [tf.float32] * len(self.arrays),
                              stateful=False)
    batch = tuple(tf.ensure_shape(values, [wanted.shape[0], *array.shape[1:]])
                  for values, array in zip(found, self.arrays, strict=True))
    return batch[0] if self.is_one else batch

  def _take(self, wanted: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
    sorted_ids, order = self._rows
    # Padding has the id -1 and gets the first row.
    rows = order[np.searchsorted(sorted_ids, np.maximum(wanted, sorted_ids[0]))]
    rows += views % self.num_views * len(order)
    return [np.take(array, rows, axis=0) for array in self.arrays]


def check_together(training: Features, validation: Features) -> None:
  """Checks that two files can be from the same network and share no example.

  Raises:
    ValueError: if not; the message states what differs.
  """
  differences = [f'{name} {training.facts[name]} and {validation.facts[name]}' for name in _FACTS
                 if name in training.facts and name in validation.facts
                 and training.facts[name] != validation.facts[name]]
  shapes = [list(found.values.shape[1:]) for found in (training, validation)]
  if shapes[0] != shapes[1]:
    differences.insert(0, f'the shape {shapes[0]} and {shapes[1]}')
  known = [found.class_names for found in (training, validation)]
  if all(known) and sorted(known[0]) != sorted(known[1]):
    differences.append(f'the classes {_listed(known[0])} and {_listed(known[1])}')
  if differences:
    raise ValueError('--training_file and --validation_file: expected features of one network and '
                     f'the same classes. Received: {"; ".join(differences)}. Create both with the '
                     'same flags.')
  shared = _in_both(training, validation)
  if shared:
    raise ValueError('--validation_file: expected no examples of --training_file. Received '
                     f'{len(shared)} of {len(validation.names)} that are in both, such as '
                     f'{shared[0]}. Leave it out to hold some out with --validation_fraction, or '
                     'extract the split train for one file and validation for the other.')


def _in_both(one: Features, other: Features) -> list[str]:
  """Lists the examples with the same name and, up to rounding, the same features."""
  rows = {name: row for row, name in enumerate(one.names)}
  shared = []
  for row, name in enumerate(other.names):
    if name in rows and np.allclose(one.values[rows[name]], other.values[row], rtol=1e-3,
                                    atol=1e-3 * np.abs(other.values[row]).max()):
      shared.append(name)
  return shared


def name_classes(*files: Features) -> tuple[str, ...]:
  """Returns the class names in the files, or else the numbers of the labels in the first one.

  Raises:
    ValueError: if a label has no name, or there is only one class.
  """
  names = next((found.class_names for found in files if found.class_names), ())
  largest = max(int(found.labels.max()) for found in files)
  if not names and integer_labels.is_sparse([found.labels for found in files]):
    raise ValueError('Expected class names in the file, or labels that number the classes from 0. '
                     f'Received: labels up to {largest}, most of which have no example. Number the '
                     'classes from 0 and create the file again.')
  names = names or tuple(str(label) for label in range(largest + 1))
  if largest >= len(names):
    raise ValueError(f'Expected labels in [0, {len(names)}), one for each named class. '
                     f'Received: {largest}. Create both files with the same flags.')
  if len(names) < 2:
    raise ValueError(f'Expected at least two classes. Received: {", ".join(names)}.')
  return names


def hold_out(features: Features, class_names: Sequence[str],
             fraction: float) -> tuple[Features, Features]:
  """Divides features into training and validation, by a hash of the examples' names.

  Whole datasets are divided as in `datasets.splits`, so that a network trained on the features can
  be evaluated on the validation split of the images.

  Raises:
    ValueError: if a class has a single example, or if the examples are one part of such a division.
  """
  if features.facts.get('is_part'):
    raise ValueError(
        '--training_file: expected features of a whole dataset, to hold some out with '
        f"--validation_fraction. Received: the split {features.facts.get('split')!r} of a dataset "
        'that was already divided during extraction. Set --validation_file to the features of the '
        'split validation; or extract all with extract_features.py --validation_fraction=0; or '
        'train on these alone with --validation_fraction=0.')
  held = splits.part_of(_examples(features), class_names, 'validation',
                        validation_fraction=fraction)
  return _select(features, ~held), _select(features, held)


def digest(features: Features) -> str:
  """Returns the sha256 of the features' numbers; a run is tied to it."""
  return hashlib.sha256(np.ascontiguousarray(features.values).data).hexdigest()


def _examples(features: Features) -> IndexedExamples:
  return IndexedExamples(features.names, features.labels.tolist(),
                         encoded=[b''] * len(features.names))


def _select(features: Features, keep: np.ndarray) -> Features:
  return dataclasses.replace(
      features, values=features.values[keep], labels=features.labels[keep],
      names=tuple(name for name, kept in zip(features.names, keep, strict=True) if kept))


def _listed(names: Sequence[str]) -> str:
  return ', '.join(names[:5]) + (f', … ({len(names)})' if len(names) > 5 else '')
