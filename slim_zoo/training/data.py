"""The data of a training run, and the names of the network's outputs that follow from them."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from datasets import dataset_factory, input_pipeline, label_join, labels, overlap, splits
from datasets.dataset import Dataset
from nets.record import Net
from preprocessing import preprocessing_factory
from preprocessing.augmentation import Augmentation
from slim_zoo.config.data import TrainingData
from slim_zoo.config.programs import Train
from slim_zoo.training import bad_images, example_names, metadata, start
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.training.workers import Workers
from slim_zoo.weights import kept_heads, opening, sources, transforms

# Number of classes that a message lists.
_LISTED = 10


@dataclasses.dataclass(frozen=True)
class _Start:
  """What a run starts from, as far as its data depend on it.

  Attributes:
    net: the network's record.
    head: the head of the user's own.
    saved: what is known about the checkpoint.
    weights: those of a warm start.
    is_resumed: whether the checkpoint is the run's own.
  """
  net: Net
  head: kept_heads.Head
  saved: Mapping[str, Any]
  weights: sources.Weights | None
  is_resumed: bool


def open_data(config: Train, *, net: Net, head: kept_heads.Head, saved: Mapping[str, Any],
              weights: sources.Weights | None, is_resumed: bool, workers: Workers
              ) -> tuple[Inputs, Inputs | None, metadata.ModelFacts]:
  """Opens the splits and joins their labels with the network's outputs.

  Args:
    config: the settled options; labels_offset may still be open.
    net: the network's record.
    head: the head of the user's own.
    saved: what is known about the checkpoint.
    weights: those of a warm start.
    is_resumed: whether the checkpoint is the run's own.
    workers: that look for bad images together.

  Returns:
    What to train on, what to validate on if there is anything, and the facts about the network.

  Raises:
    ValueError: if the data are not those of the run, or nothing can be learned from them.
  """
  data, begin = config.data, _Start(net, head, saved, weights, is_resumed)
  get = functools.partial(
      dataset_factory.get_dataset, data.dataset_name, dataset_dir=data.dataset_dir,
      **data.of_source(), readers=workers if workers.count > 1 else None)
  train = get(split_name=data.dataset_split_name)
  input_pipeline.check_sampling(train, data.sampling)
  if is_resumed:
    _check_same(train, saved, key='fingerprint', train_dir=config.saving.train_dir, get=get)
  for note in (*train.notes, train.summary()):
    print(note)
  names, offset = _settle_outputs(train, config, begin)
  preprocessing_name = config.model.preprocessing_name or config.model.model_name
  facts = metadata.ModelFacts(
      config.model.model_name, names, _image_size(config),
      1 if config.model.use_grayscale else train.channels,
      preprocessing_name, transforms.settle(saved, preprocessing_name, config.model), offset)
  validation = _open_validation(get, config, saved if is_resumed else {})
  if validation:
    print(validation.summary())
    if not validation.class_counts.any():
      raise ValueError('--multi_label: expected images with labels in the split '
                       f'{validation.split_name!r}. Received: none. Raise --validation_fraction, '
                       'or set --validation_interval_epochs=0.')
    single = [name for name, of_train, of_validation in zip(
        train.class_names, train.class_counts, validation.class_counts, strict=True)
        if of_train == 1 and not of_validation and validation.made_split]
    if single:
      print(f'Not in validation: {len(single)} classes with a single image: '
            f'{", ".join(single[:_LISTED])}{", …" if len(single) > _LISTED else ""}.')
  if validation and validation.fingerprint == train.fingerprint:
    print('Warning: the run validates on the examples that it trains on, so that the accuracy will '
          f'be too high. See --dataset_split_name={data.dataset_split_name}.')
  elif not is_resumed and workers.is_chief:  # Only warns, and reads the ends of many files.
    opened = [split for split in (train, validation) if split]
    for warning in overlap.describe(overlap.find(opened), opened):
      print(warning)
  views = data.augmentations_per_image
  augmentation = Augmentation(**vars(config.augmentation))
  if views is None and not preprocessing_factory.is_random(facts.preprocessing_name, augmentation):
    views = 0  # An image is the same in every epoch.
  if data.augmentation_repeats > 1 and (views is not None or data.sampling != 'uniform'):
    raise ValueError('--augmentation_repeats: expected images that are augmented anew every time, '
                     'and --sampling=uniform. Received: '
                     + (f'--sampling={data.sampling}.' if views is None else
                        'images in a fixed number of views; see --augmentations_per_image.'))
  known = saved.get('bad_images', {}) if is_resumed else {}

  def make(split: Dataset) -> Inputs:
    bad = bad_images.settle(split, decoder(split), data.on_bad_image, known=known,
                            needs_all_classes=split is train, workers=workers)
    return Inputs(
        split, labels.map_by_name(split.class_names, names), bad,
        preprocessing_name=facts.preprocessing_name, transform=facts.transform,
        augmentation=augmentation, image_size=facts.image_size, channels=facts.channels,
        num_parallel_calls=config.hardware.num_preprocessing_threads,
        num_views=views, repeats=data.augmentation_repeats, sampling=data.sampling,
        num_outputs=len(names))

  return make(train), make(validation) if validation else None, facts


def _image_size(config: Train) -> int:
  size = config.model.train_image_size
  if size is None:
    raise TypeError('Expected settled options. Received: none for train_image_size.')
  return size


def _check_same(split: Dataset, saved: Mapping[str, Any], *, key: str, train_dir: str | None,
                get: Callable[..., Dataset]) -> None:
  """Checks that a resumed run has the examples that it had.

  Args:
    split: one of its splits.
    saved: the run's metadata.
    key: that of the split's fingerprint.
    train_dir: of the run.
    get: opens another split, for the message.

  Raises:
    ValueError: if not; names the first examples that have changed.
  """
  if saved and 'dataset' not in saved:
    raise ValueError(f'--train_dir={train_dir}: expected the directory of a run. Received: one '
                     'with converted weights. Use it as --checkpoint_path, with another '
                     '--train_dir.')
  if saved and saved['dataset'][key] not in (None, split.fingerprint):
    known, opened = example_names.read(pathlib.Path(train_dir or '')), [split]
    for name in known:
      if name != split.split_name:
        with contextlib.suppress(ValueError, OSError):
          opened.append(get(split_name=name, readers=None))  # The others may not look for it.
    raise ValueError(
        f'Expected the data of the run in {train_dir}. Received: other examples in the split '
        f'{split.split_name!r}. {example_names.changes(known, opened)} Use the same data; or start '
        f'a new run on these from what this one has learned: --checkpoint_path={train_dir} with '
        'another --train_dir.')


def _open_validation(get: Callable[..., Dataset], config: Train,
                     saved: Mapping[str, Any]) -> Dataset | None:
  """Opens the validation split, if there is one and it is wanted."""
  duration, validation = config.duration, None
  if duration.validation_interval_epochs or duration.validation_interval_steps:
    try:
      validation = get(split_name='validation')
    except splits.UnknownSplitError as error:
      print(f'No validation: {error}')
  fraction = config.data.validation_fraction
  if validation and not validation.made_split and fraction not in (
      0, TrainingData().validation_fraction):
    print(f'Not used: --validation_fraction={fraction}, because the data have a validation split.')
  if validation:
    _check_same(validation, saved, key='validation_fingerprint',
                train_dir=config.saving.train_dir, get=get)
  needs = {'--early_stopping_patience': duration.early_stopping_patience,
           '--learning_rate_decay_type=plateau':
               config.optimization.learning_rate_decay_type == 'plateau'}
  for flag, is_set in needs.items():
    if is_set and not validation:
      raise ValueError(f'{flag}: expected a validation. Received: none. Set '
                       '--validation_interval_epochs and --validation_fraction, or leave it out.')
  return validation


def _settle_outputs(train: Dataset, config: Train, begin: _Start) -> tuple[list[str], int]:
  """Returns the names of the network's outputs, after the classes, and the labels_offset."""
  offset, saved = config.data.labels_offset, begin.saved
  if begin.is_resumed and saved.get('class_names'):
    return list(saved['class_names']), offset or 0
  excluded = start.excluded_scopes(config.weights.checkpoint_exclude_scopes, begin.head, saved)
  keeps_head = begin.is_resumed or start.keeps_head(begin.net, excluded)
  names = None
  if keeps_head:
    names, offset = _join_foreign_head(train, config, begin)
  if offset is None:
    offset = _same_offset(train, saved) if begin.weights and keeps_head else 0
  names = names or _output_names(train, offset, begin, keeps_head=keeps_head,
                                 are_indices=config.weights.labels_are_indices)
  _check_classes(train, names, config.data.dataset_name)
  return names, offset


def _join_foreign_head(train: Dataset, config: Train, begin: _Start
                       ) -> tuple[list[str] | None, int | None]:
  """Names the outputs of a kept head that does not know its classes.

  Returns:
    One name per output, or None if there is no such head, or if the data have another number of
    classes, so that it will not fit; and the labels_offset as far as it is known.
  """
  offset = config.data.labels_offset
  if begin.weights is None or 'class_names' in begin.saved:
    return None, offset
  num_outputs = opening.num_outputs(begin.weights, config.model.model_name)
  if not num_outputs:
    return None, offset
  if not train.numbered_by_name:
    if offset is None:
      offset = labels.likely_offset(train, num_outputs)
      if offset:
        print(f'--labels_offset={offset}: the checkpoint has {num_outputs} classes, the data '
              f'{train.num_classes}, as with and without the background class of ImageNet.')
    return None, offset
  if abs(train.num_classes - num_outputs) > 1:
    return None, offset
  found = label_join.join(train, num_outputs, labels_offset=offset,
                          labels_are_indices=config.weights.labels_are_indices)
  print(found.note or 'The classes are matched with the outputs in sorted order.')
  if offset is None:
    offset = train.num_classes - num_outputs
  return labels.names_by_output(train.class_names, found.label_map, num_outputs), offset


def _same_offset(train: Dataset, saved: Mapping[str, Any]) -> int:
  """Returns the offset of a run of ours on the same classes, or 0."""
  offset = saved.get('labels_offset', 0)
  same = offset < train.num_classes and sorted(saved.get('class_names', [])) == sorted(
      labels.output_names(train.class_names, offset))
  return offset if same else 0


def _output_names(train: Dataset, offset: int, begin: _Start, *, keeps_head: bool,
                  are_indices: bool) -> list[str]:
  """Names the network's outputs after the classes.

  Raises:
    ValueError: if a head is kept that knows other classes.
  """
  names = labels.output_names(train.class_names, offset)
  old = begin.saved.get('class_names', [])
  if keeps_head and sorted(old) == sorted(names):
    return list(old)  # The same classes, in the order of the checkpoint's head.
  if keeps_head and len(old) == len(names) and not are_indices:
    raise ValueError(
        'The head of the checkpoint is kept, but it knows other classes than the data. Expected: '
        f'{", ".join(old[:8])}{", …" if len(old) > 8 else ""}. Received: {", ".join(names[:8])}'
        f'{", …" if len(names) > 8 else ""}. Start a new head: '
        f'--checkpoint_exclude_scopes={",".join(begin.net.head)}. If the classes are the same in '
        'this order and only have other names: --labels_are_indices.')
  return names


def _check_classes(train: Dataset, names: Sequence[str], dataset_name: str) -> None:
  """Stops if classes cannot be learned."""
  if dataset_name in ('folder', 'csv'):
    known = set(names)
    empty = [name for name in train.empty_classes if name in known]
    if empty:
      raise ValueError(f'Expected: examples of every class in the split {train.split_name!r}. '
                       f'Received: none of {", ".join(empty[:10])}. Add some, or remove the class.')
  if len(names) < 2:
    raise ValueError('Expected: at least two classes; there is nothing to learn from one. '
                     f'Received: {", ".join(names)}. Check --dataset_dir.')
