"""The flags and settling that evaluation, prediction, extraction and export share.

A script calls `define_model_flags`, and if it needs them the others of this kind, when it is
imported; then, in its main, `open_weights`, `settle`, with a dataset `get_dataset`, and
`build_network` and `restore_variables`; or, without a dataset, `restore_classifier`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import command_line  # Before TensorFlow: it quiets it.

# isort: split
import numpy as np
import tensorflow as tf
from absl import flags

import checkpoint_flags
import head_flags
import path_flags
from datasets import dataset_factory, labels, labels_file
from datasets.dataset import Dataset
from nets import custom_head, nets_factory
from nets.network import Network
from slim_zoo.weights import restore, sources

FLAGS = flags.FLAGS

# What the checkpoint's metadata answer when the flag is not set.
_MODEL = ('model_name', 'preprocessing_name', 'use_grayscale', 'head')
_DATA = ('dataset_name', 'dataset_dir', 'file_pattern', 'validation_fraction', 'on_bad_image')
_COMPUTATION = ('xla', 'compute_dtype')


def define_model_flags(*, checkpoint_path: str | None = None) -> None:
  """Defines what concerns weights, network and images, for the script that calls it.

  Args:
    checkpoint_path: the default of --checkpoint_path; None makes the flag necessary.
  """
  checkpoint_flags.define_flags()
  path_flags.define_path('checkpoint_path', checkpoint_path, 'A checkpoint, a folder of them, or '
                         'weights of another format.')
  flags.DEFINE_string('model_name', 'inception_v3', 'Name of the network.')
  flags.DEFINE_string('preprocessing_name', None, 'Name of the preprocessing, or of a network '
                      'whose own is meant; by default that of --model_name.')
  flags.DEFINE_string('head', None, 'The Python function that the network was trained with as its '
                      'head, such as my_file.py:head; programs run only what you name.')
  flags.DEFINE_bool('use_grayscale', False, 'Whether to turn images to grey, one channel.')


def define_computation_flags() -> None:
  """Defines how batches are computed, for the script that calls it."""
  flags.DEFINE_enum('xla', 'auto', ['auto', 'on', 'off'], 'Whether XLA compiles the network.')
  flags.DEFINE_enum('compute_dtype', 'float32', ['float32', 'bfloat16'], 'What layers compute in.')
  flags.DEFINE_integer('batch_size', 100, 'Examples a batch.', lower_bound=1)
  flags.DEFINE_integer('num_preprocessing_threads', 4, 'Images to decode at a time.',
                       lower_bound=1)


def define_labels_flag() -> None:
  """Defines --labels_path, for the script that calls it; see `class_names`."""
  path_flags.define_path('labels_path', None, 'Names of the classes, one "number:name" a line, for '
                         'weights that do not know them.')


def define_data_flags(*, split_name: str) -> None:
  """Defines what concerns a dataset, for the script that calls it.

  Args:
    split_name: the default of --dataset_split_name.
  """
  flags.DEFINE_string('dataset_name', 'imagenet', 'Name of the dataset, or tfds/<name>.')
  path_flags.define_path('dataset_dir', None, 'Where the data lie.')
  flags.DEFINE_string('dataset_split_name', split_name, 'Split to read.')
  flags.DEFINE_string('file_pattern', None, "Names of TFRecord files, '%s' being the split.")
  flags.DEFINE_float('validation_fraction', 0.1, 'Share of the training examples that makes the '
                     'validation split where the data have none.', lower_bound=0, upper_bound=0.9)
  flags.DEFINE_enum('on_bad_image', 'error', ['error', 'skip'], 'What to do with images that '
                    'cannot be decoded: stop, or leave them out and say so.')


def open_weights() -> tuple[sources.Weights, dict[str, Any]]:
  """Opens --checkpoint_path; see `checkpoint_flags.open_weights`."""
  if not FLAGS.checkpoint_path:
    raise ValueError('Expected --checkpoint_path: a checkpoint, a folder of them, or weights of '
                     'another format. Received: none.')
  return checkpoint_flags.open_weights(FLAGS.checkpoint_path)


def settle(saved: Mapping[str, Any], source: str, *, more: Collection[str] = ()) -> dict[str, Any]:
  """Settles the flags of model, data and computation: a flag that is set, what is saved, a default.

  Args:
    saved: what is known about the weights, from `open_weights`.
    source: the weights' path, for messages.
    more: flags of the script alone, which may not contradict what is saved.

  Returns:
    `{flag: value}`: the defined ones of model_name, preprocessing_name, use_grayscale, the data's
    flags, `more`; xla ('on' or 'off') and compute_dtype, 'off' and 'float32' for scripts without
    these flags; and `head_flags.KEPT`, as the network was trained with, or None.

  Raises:
    ValueError: if a flag contradicts what is saved, or a name is unknown.
  """
  known = checkpoint_flags.as_flags(saved)
  data = _DATA if 'dataset_name' in FLAGS else ()
  computation = _COMPUTATION if 'xla' in FLAGS else ()
  free = {*data, *_COMPUTATION}
  if data:
    if FLAGS.dataset_name != known.get('dataset_name') and FLAGS['dataset_name'].present:
      known = {n: v for n, v in known.items() if n not in _DATA}  # They are of another dataset.
    elif not FLAGS['dataset_dir'].present:
      free -= {'validation_fraction'}  # Another share would be of what was trained on.
  resolve = {'preprocessing_name': nets_factory.preprocessing_name,
             'head': custom_head.label, 'xla': command_line.unless_auto,
             'dataset_dir': command_line.absolute}
  options = {'xla': 'off', 'compute_dtype': 'float32', **command_line.settle(
      (*_MODEL, *data, *computation, *more), known, source=source, may_change=free,
      resolve=resolve)}
  net = nets_factory.get_net(options['model_name'])
  options['preprocessing_name'] = nets_factory.preprocessing_name(
      options['preprocessing_name'] or options['model_name'])
  if options['xla'] is None:
    options['xla'] = 'on' if net.xla else 'off'
  options['head_from'] = known.get('head_from')
  return options | head_flags.settle(options, known, source=source)


def image_size(chosen: int | None, saved: Mapping[str, Any], model_name: str) -> int:
  """Returns height and width of the images: as chosen, else as trained, else the network's own."""
  return chosen or saved.get('image_size') or nets_factory.get_net(model_name).image_size


def num_channels(options: Mapping[str, Any], of_images: int) -> int:
  """Returns how many channels the network is given; `of_images` is how many the images have."""
  return 1 if options['use_grayscale'] else of_images


def num_classes(weights: sources.Weights, saved: Mapping[str, Any], model_name: str) -> int | None:
  """Returns the width of the weights' classifier; None if they have none."""
  if 'class_names' in saved:
    return len(saved['class_names'])
  return checkpoint_flags.num_outputs(weights, model_name)


def class_names(weights: sources.Weights, saved: Mapping[str, Any], model_name: str) -> list[str]:
  """Names the classifier's outputs after --labels_path, or as the weights know them.

  Returns:
    One name an output, `labels.UNNAMED` where it is not known.

  Raises:
    ValueError: if the weights have no classifier, or --labels_path names others than its classes.
  """
  count = num_classes(weights, saved, model_name)
  if count is None:
    raise ValueError(f'Expected weights with a classifier. Received: {weights.path}, which has '
                     f'none for {model_name}. See --model_name.')
  if not FLAGS.labels_path:
    return list(saved.get('class_names', [labels.UNNAMED] * count))
  names = labels_file.read(FLAGS.labels_path)
  names = labels.output_names(names, labels.background_offset(len(names), count))
  if len(names) != count:
    raise ValueError(f'--labels_path={FLAGS.labels_path}: expected names of the {count} '
                     f'classes of {weights.path}. Received: {len(names)}.')
  return names


def get_dataset(options: Mapping[str, Any]) -> Dataset:
  """Opens the split that the settled flags name, and prints what there is to note about it."""
  dataset = dataset_factory.get_dataset(
      options['dataset_name'], FLAGS.dataset_split_name, options['dataset_dir'],
      file_pattern=options['file_pattern'], validation_fraction=options['validation_fraction'])
  for note in (*dataset.notes, dataset.summary()):
    print(note)
  return dataset


def build_network(options: Mapping[str, Any], *, image_shape: Sequence[int],
                  num_classes: int) -> Network:
  """Builds the network that the settled flags name, with the head that it was trained with.

  Args:
    options: from `settle`.
    image_shape: [height, width, channels].
    num_classes: width of the logits.
  """
  return nets_factory.build_network(
      options['model_name'], **head_flags.head_of(options), image_shape=image_shape,
      num_classes=num_classes, dtype=tf.dtypes.as_dtype(options['compute_dtype']))


def restore_variables(weights: sources.Weights, model_name: str,
                      variables: Mapping[str, tf.Variable], *, is_whole: bool = True,
                      use_averages: bool | None = None, table: pathlib.Path | None = None,
                      see: str = '') -> restore.Report:
  """Restores every one of a network's variables, or stops.

  Args:
    weights: from `open_weights`.
    model_name: name of the network.
    variables: of the network, or of a part of it.
    is_whole: whether they are the whole network's; then what a foreign file has besides them is
      warned of.
    use_averages: see `checkpoint_flags.plan`.
    table: where the table of what became of each variable is kept, even if that is not enough.
    see: more of what to look at, for the message.

  Raises:
    ValueError: if a variable is not found or does not fit.
    OSError: if the table cannot be written.
  """
  found = checkpoint_flags.plan(weights, model_name, variables, use_averages=use_averages)
  if table:
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(found.table(), encoding='utf-8', errors='backslashreplace')
  restore.check(found, advice='Expected the network, the image size and images of the channels '
                'that it was trained with: see --model_name, the flags of the image size and the '
                f'data, --use_grayscale and --convert_input_channels{see}.')
  restore.apply(found, weights.source, variables)
  if is_whole:
    checkpoint_flags.warn_of_unused(weights, found)
  return found


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained network, and what it takes to use it.

  Attributes:
    network: the network.
    class_names: one name an output, `labels.UNNAMED` where it is not known.
    image_size, channels: of its images.
    options: from `settle`.
    path: where its weights are.
    saved: what is known about them, from `open_weights`.
    report: what became of each of its variables.
  """
  network: Network
  class_names: list[str]
  image_size: int
  channels: int
  options: Mapping[str, Any]
  path: str
  saved: Mapping[str, Any]
  report: restore.Report


def restore_classifier(size: int | None) -> Classifier:
  """Opens --checkpoint_path and builds its network, for images that are of no dataset.

  Args:
    size: height and width of the images, if the user chose any.

  Raises:
    ValueError: if the weights have no classifier, or a flag contradicts what is known about them.
    OSError: if they cannot be read.
  """
  weights, saved = open_weights()
  options = settle(saved, weights.path)
  name = options['model_name']
  names = class_names(weights, saved, name)
  channels = num_channels(options, saved.get('channels') or nets_factory.get_net(name).channels)
  size = image_size(size, saved, name)
  network = build_network(options, image_shape=[size, size, channels], num_classes=len(names))
  report = restore_variables(weights, name, network.variables)
  return Classifier(network, names, size, channels, options, weights.path, saved, report)


def digest_of(variables: Mapping[str, tf.Variable]) -> str:
  """Returns the sha256, in hexadecimal, of variables' names and values."""
  digest = hashlib.sha256()
  for name in sorted(variables):
    digest.update(f'{name}\n'.encode())
    digest.update(np.ascontiguousarray(variables[name].numpy()))
  return digest.hexdigest()
