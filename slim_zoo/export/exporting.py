"""Exporting a trained network, from the command line to the finished files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from datasets import dataset_factory
from datasets.dataset import Dataset
from files import plain_paths
from slim_zoo.config.data import EvaluationData
from slim_zoo.config.flag_values import Parsed
from slim_zoo.config.option import expand, options_of_topic
from slim_zoo.config.programs import Export
from slim_zoo.evaluation import classifier
from slim_zoo.export import comparison, exporter, targets
from slim_zoo.export.comparison import Found, Photos
from slim_zoo.export.model import Model
from slim_zoo.features.extraction import without
from slim_zoo.training import bad_images, distribution, metadata
from slim_zoo.training.inputs import decoder
from slim_zoo.weights import opening

# What an export tells of what is known about a checkpoint.
_KEPT = ('labels_offset', 'step', 'dataset')
_DATA = ('dataset_name', 'dataset_dir')
_OF_IMAGES = ('num_images', 'num_calibration_images', 'max_accuracy_drop')
_CALIBRATION_BATCH = 25


def export(parsed: Parsed[Export]) -> int:
  """Exports one network to one or several targets; returns an exit code."""
  output = parsed.config.output
  paths = [expand(path) for path in (output.output_path or '').split(',') if path]
  if not paths:
    raise ValueError('Expected: --output_path, a directory for a SavedModel, or a file whose '
                     'suffix selects what is written. Received: none.')
  if len({*map(os.path.abspath, paths)}) < len(paths):
    raise ValueError(f'--output_path: expected different paths. Received: {output.output_path}.')
  for path in paths:
    exporter.check_free(path)
  has_data = not parsed.given.isdisjoint(_DATA)
  alone = sorted(parsed.given & {*_OF_IMAGES, *options_of_topic(EvaluationData)})
  if alone and not has_data:
    raise ValueError(f'--{alone[0]}: expected a dataset to use it with. Received: none. Set '
                     '--dataset_name and --dataset_dir, or leave it out.')
  distribution.prepare_devices(clone_on_cpu=True)  # GPUs round differently, and are not needed.
  config, found = classifier.restore_classifier(parsed, output.image_size)
  print(f'Exporting {found.path}: {found.report.summary()}.')
  print(f'Images: {found.transform.describe(found.image_size)}.', flush=True)
  dtype = found.known.get('flags', {}).get('compute_dtype', 'float32')
  if dtype != 'float32':
    print(f'It was trained in {dtype}; exports are compared with its float32.')
  model = Model(
      found.network, found.image_size, found.channels, found.preprocessing_name, found.transform,
      found.activation, found.class_names, found.model_name,
      calibration=(lambda: _calibration(model, config, photos)) if has_data else None)
  photos = None
  if has_data:
    photos = _photos(model, found, config, given=parsed.given)
  return _export_all(model, paths, found, photos=photos,
                     max_accuracy_drop=output.max_accuracy_drop)


def _export_all(model: Model, paths: Sequence[str], found: classifier.Classifier, *,
                photos: Photos | None, max_accuracy_drop: float) -> int:
  """Writes and compares the exports one after the other; returns an exit code."""
  rows = [(os.path.basename(found.path), exporter.of_network(model, photos), 'the network')]
  faults = []
  for path in paths:
    try:
      result, fault = exporter.export(model, path, facts=_facts(found), photos=photos,
                                      max_accuracy_drop=max_accuracy_drop)
    except (ValueError, OSError) as error:
      if len(paths) == 1:
        raise
      faults.append(f'{path}: {error}')  # The network may have other targets.
      continue
    name = targets.find(path).name
    rows.append((os.path.basename(os.path.normpath(path)), result,
                 f'{name}; not kept' if fault else name))
    if fault:
      faults.append(f'{path} is not kept. {fault}')
    else:
      _say_written(path, result, found)
  print(comparison.table(rows), flush=True)
  print(_explanation(photos))
  if faults:
    raise ValueError('\n'.join(faults))
  return 0


def _say_written(path: str, result: Found, found: classifier.Classifier) -> None:
  target = targets.find(path)
  print(f'Wrote {path} ({target.name}): {len(found.class_names)} classes, '
        f"{found.image_size}×{found.image_size}. Largest difference from the network's logits: "
        f'{result.difference:.1e} of the largest logit.', flush=True)
  if target.is_folder and not plain_paths.is_plain(os.path.abspath(path)):
    print('TensorFlow itself cannot load a SavedModel from a path with such characters: copy it '
          'elsewhere to use it.')


def _explanation(photos: Photos | None) -> str:
  """Says what the table shows."""
  time = f'Time: median for one prepared image, {os.cpu_count()} CPUs.'
  if photos is None:
    return (f'Compared on random images. {time} To compare accuracy on photos, set --dataset_name '
            'and --dataset_dir.')
  return (f'Compared on {len(photos)} images of the split {photos.split_name!r}: agreement is the '
          f'share of the predictions that are those of the network. {time}')


def _photos(model: Model, found: classifier.Classifier, config: Export, *,
            given: Collection[str]) -> Photos:
  """Opens the images to compare exports on.

  Raises:
    ValueError: if the dataset or its classes do not fit, or an image cannot be decoded.
  """
  kept = opening.as_options(found.known)
  is_own = all(name in kept and kept[name] == getattr(config.data, name) for name in _DATA)
  dataset = _part(classifier.get_dataset(config.data, is_own=is_own), config.output.num_images,
                  config)
  has_names = config.names.labels_path or 'class_names' in found.known
  label_map = classifier.label_map(
      dataset, found.class_names if has_names else None, num_classes=len(found.class_names),
      source=found.path, known=found.known, config=config.data, given=given)
  return Photos(model, dataset, label_map, has_several_labels=(
      found.has_several_labels and dataset.label_sets is not None))


def _calibration(model: Model, config: Export, photos: Photos | None) -> Iterator[np.ndarray]:
  """Opens training images to measure the ranges of int8 on, none of which is in `photos`.

  Returns:
    Batches of them, prepared.

  Raises:
    ValueError: if there are none, or one cannot be decoded.
  """
  whole = dataset_factory.get_dataset(config.data.dataset_name, 'train', config.data.dataset_dir,
                                      **config.data.of_source())
  compared = photos.names if photos else ()
  if {*whole.examples.names} <= {*compared}:
    raise ValueError(f'--num_images: expected training images beside those that exports are '
                     f'compared on, to measure the ranges of int8. Received: none, of '
                     f'{whole.num_examples}. Compare on fewer images, or on another '
                     '--dataset_split_name.')
  part = _part(without(whole, compared), config.output.num_calibration_images, config)
  return (model.prepare(batch['image'])
          for batch in part.epoch(0).batch(_CALIBRATION_BATCH).as_numpy_iterator())


def _part(dataset: Dataset, count: int, config: Export) -> Dataset:
  """Takes so many images of a split, evenly spaced in its order; all of them if it has fewer."""
  places = np.linspace(0, dataset.num_examples - 1, min(count, dataset.num_examples)).round()
  keep = np.isin(np.arange(dataset.num_examples), places)
  part = dataclasses.replace(dataset, examples=dataset.examples.select(keep))
  return without(part, bad_images.settle(part, decoder(part), config.data.on_bad_image))


def _facts(found: classifier.Classifier) -> dict[str, Any]:
  """Tells where a network came from, and what is known about it."""
  kept = {name: value for name, value in found.head.kept.items() if value}
  if found.has_several_labels:
    kept['multi_label'] = True
  return {
      'model_name': found.model_name,
      'checkpoint': os.path.abspath(found.path),
      'checkpoint_digest': classifier.digest_of(found.network.variables),
      **{name: found.known[name] for name in _KEPT if name in found.known},
      **({'flags': kept} if kept else {}),
      'versions': metadata.versions()}
