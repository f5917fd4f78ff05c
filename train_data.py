"""The data of a training run, and the names of the network's outputs that follow from them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

import checkpoint_flags
import command_line
import warm_start
from datasets import dataset_factory, input_pipeline, label_join, labels, overlap, splits
from datasets.dataset import Dataset
from nets.record import Net
from preprocessing import preprocessing_factory
from slim_zoo.training import metadata
from slim_zoo.training.inputs import Inputs, decoder
from slim_zoo.weights import sources

FLAGS = flags.FLAGS


def open_data(options: dict[str, Any], net: Net, saved: Mapping[str, Any],
              weights: sources.Weights | None, *, is_resumed: bool
              ) -> tuple[Inputs, Inputs | None, metadata.ModelFacts]:
  """Opens the splits and joins their labels with the network's outputs.

  Args:
    options: the run's flags; gains the labels_offset.
    net: the network's record.
    saved: what is known about the checkpoint.
    weights: of a warm start.
    is_resumed: whether the checkpoint is the run's own.

  Returns:
    What to train on, what to validate on if there is anything, and what the network is like.

  Raises:
    ValueError: if the data are not those of the run, or nothing can be learnt of them.
  """
  get = functools.partial(
      dataset_factory.get_dataset, options['dataset_name'], dataset_dir=options['dataset_dir'],
      file_pattern=options['file_pattern'], validation_fraction=options['validation_fraction'])
  train = get(split_name=options['dataset_split_name'])
  input_pipeline.check_sampling(train, options['sampling'])
  if is_resumed:
    _check_same(train, saved)
  for note in (*train.notes, train.summary()):
    print(note)
  names = _settle_outputs(train, options, net, saved, weights, is_resumed=is_resumed)
  facts = metadata.ModelFacts(options['model_name'], names, options['train_image_size'],
                              1 if options['use_grayscale'] else train.channels,
                              options['preprocessing_name'], options['labels_offset'])
  known = saved.get('bad_images', {}) if is_resumed else {}
  validation = _open_validation(get, options, saved if is_resumed else {})
  if validation:
    print(validation.summary())
  if not is_resumed:
    opened = [split for split in (train, validation) if split]
    for warning in overlap.describe(overlap.find(opened), opened):
      print(warning)
  views = options['augmentations_per_image']
  if views is None and not preprocessing_factory.get_recipe(facts.preprocessing_name).is_random:
    views = 0  # In every epoch an image is what it was in the last.
  make = functools.partial(
      Inputs, preprocessing_name=facts.preprocessing_name, image_size=facts.image_size,
      channels=facts.channels, num_parallel_calls=FLAGS.num_preprocessing_threads,
      num_views=views, sampling=options['sampling'])
  train, validation = (
      split and make(split, labels.map_by_name(split.class_names, names),
                     command_line.settle_bad_images(
                         split, decoder(split), options['on_bad_image'], known,
                         needs_all_classes=split is train))
      for split in (train, validation))
  return train, validation, facts


def _check_same(train: Dataset, saved: Mapping[str, Any]) -> None:
  """Checks that a run that goes on has the data that it had."""
  if saved and 'dataset' not in saved:
    raise ValueError(f'--train_dir={FLAGS.train_dir}: expected a folder for a run. Received: one '
                     'with converted weights. Give it as --checkpoint_path, and another '
                     '--train_dir.')
  if saved and train.fingerprint != saved['dataset']['fingerprint']:
    raise ValueError(
        f'The data are not those that the run in {FLAGS.train_dir} was trained on: expected '
        f'{saved["dataset"]["num_examples"]} examples in the split {train.split_name!r} with the '
        f'same names and labels. Received: {train.num_examples}. Use the same data, or another '
        '--train_dir.')


def _open_validation(get, options: Mapping[str, Any], saved: Mapping[str, Any]) -> Dataset | None:
  """Opens the validation split, if there is one and it is wanted."""
  validation = None
  if options['validation_interval_epochs'] or options['validation_interval_steps']:
    try:
      validation = get(split_name='validation')
    except splits.UnknownSplitError as error:
      print(f'No validation: {error}')
  if saved and validation and saved['dataset']['validation_fingerprint'] not in (
      None, validation.fingerprint):
    raise ValueError(f'The validation data are not those that the run in {FLAGS.train_dir} chose '
                     'its best by. Use the same data, or another --train_dir.')
  if options['early_stopping_patience'] and not validation:
    raise ValueError('--early_stopping_patience: expected a validation to go by. Received none: '
                     'set --validation_interval_epochs and --validation_fraction, or leave it out.')
  return validation


def _settle_outputs(train: Dataset, options: dict[str, Any], net: Net, saved: Mapping[str, Any],
                    weights: sources.Weights | None, *, is_resumed: bool) -> list[str]:
  """Names the network's outputs after the classes, and settles the labels_offset.

  The arguments and errors are those of `open_data`.
  """
  if is_resumed and saved.get('class_names'):
    options['labels_offset'] = options['labels_offset'] or 0
    return list(saved['class_names'])
  excluded = warm_start.excluded_scopes(options, saved)
  keeps_head = is_resumed or warm_start.keeps_head(net, excluded)
  names = _join_foreign_head(train, saved, weights, options) if keeps_head else None
  if options['labels_offset'] is None:
    options['labels_offset'] = _same_offset(train, saved) if weights and keeps_head else 0
  names = names or _output_names(train, options, net, saved, keeps_head)
  _check_classes(train, names, options)
  return names


def _join_foreign_head(train: Dataset, saved: Mapping[str, Any], weights: sources.Weights | None,
                       options: dict[str, Any]) -> list[str] | None:
  """Names the outputs of a kept head that does not know its classes, and settles labels_offset.

  Returns:
    One name per output; None if there is no such head, or if the data have another number of
    classes, so that it will not fit.
  """
  if weights is None or 'class_names' in saved:
    return None
  num_outputs = checkpoint_flags.num_outputs(weights, options['model_name'])
  if not num_outputs:
    return None
  if not train.numbered_by_name:
    if options['labels_offset'] is None:
      options['labels_offset'] = offset = labels.likely_offset(train, num_outputs)
      if offset:
        print(f'--labels_offset={offset}: the checkpoint has {num_outputs} classes, the data '
              f'{train.num_classes}, as ImageNet has with its background class and without.')
    return None
  if abs(train.num_classes - num_outputs) > 1:
    return None
  found = label_join.join(train, num_outputs, labels_offset=options['labels_offset'],
                          labels_are_indices=FLAGS.labels_are_indices)
  print(found.note or 'The classes are matched with the outputs in sorted order.')
  if options['labels_offset'] is None:
    options['labels_offset'] = train.num_classes - num_outputs
  return labels.names_by_output(train.class_names, found.label_map, num_outputs)


def _same_offset(train: Dataset, saved: Mapping[str, Any]) -> int:
  """Returns the offset of a run of ours on the same classes, or 0."""
  offset = saved.get('labels_offset', 0)
  same = offset < train.num_classes and sorted(saved.get('class_names', [])) == sorted(
      labels.output_names(train.class_names, offset))
  return offset if same else 0


def _output_names(train: Dataset, options: Mapping[str, Any], net: Net, saved: Mapping[str, Any],
                  keeps_head: bool) -> list[str]:
  """Names the network's outputs after the classes.

  Raises:
    ValueError: if a head is kept that knows other classes.
  """
  names = labels.output_names(train.class_names, options['labels_offset'])
  old = saved.get('class_names', [])
  if keeps_head and sorted(old) == sorted(names):
    return list(old)  # The same classes in the order that the checkpoint's head has them.
  if keeps_head and len(old) == len(names) and not FLAGS.labels_are_indices:
    raise ValueError(
        'The head of the checkpoint is kept, but it knows other classes than the data. Expected: '
        f'{", ".join(old[:8])}{", …" if len(old) > 8 else ""}. Received: {", ".join(names[:8])}'
        f'{", …" if len(names) > 8 else ""}. Start a new head: '
        f'--checkpoint_exclude_scopes={",".join(net.head)}. If the classes are the same in this '
        'order and only have other names: --labels_are_indices.')
  return names


def _check_classes(train: Dataset, names: Sequence[str], options: Mapping[str, Any]) -> None:
  """Stops where classes cannot be learnt."""
  if options['dataset_name'] in ('folder', 'csv'):
    known = set(names)
    empty = [name for name in train.empty_classes if name in known]
    if empty:
      raise ValueError(f'Expected examples of every class in the split {train.split_name!r}. '
                       f'Received none of: {", ".join(empty[:10])}. Add some, or remove the class.')
  if len(names) < 2:
    raise ValueError('Expected at least two classes, for there is nothing to learn of one. '
                     f'Received: {", ".join(names)}. Check --dataset_dir.')
