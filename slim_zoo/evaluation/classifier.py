"""Trained networks: what evaluation, prediction, feature extraction and export have in common."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from datasets import dataset_factory, imagenet, label_join, labels, labels_file, splits
from datasets.dataset import Dataset
from nets import custom_head, nets_factory
from nets.network import Network
from preprocessing.transform import Transform
from slim_zoo.config import model as model_options
from slim_zoo.config import settle as config_settle
from slim_zoo.config.data import Data, EvaluationData
from slim_zoo.config.flag_values import Parsed, options_of, replace
from slim_zoo.weights import kept_heads, opening, restore, sources, transforms

# What the metadata of a checkpoint answer if the flag is not given.
_MODEL = ('model_name', 'preprocessing_name', 'use_grayscale', 'head')
_DATA = ('dataset_name', 'dataset_dir', 'file_pattern', 'record_keys', 'image_dir', 'multi_label',
         'validation_fraction', 'on_bad_image')
_COMPUTATION = ('xla', 'compute_dtype')


def open_weights(parsed: Parsed) -> tuple[sources.Weights, dict[str, Any]]:
  """Opens --checkpoint_path; see `opening.open_weights`."""
  config = parsed.config.weights
  if not config.checkpoint_path:
    raise ValueError('Expected: --checkpoint_path, a checkpoint, a directory of them, or weights '
                     'of another format. Received: none.')
  return opening.open_weights(
      config.checkpoint_path, channel_order=config.checkpoint_channel_order,
      model_name=parsed.config.model.model_name if 'model_name' in parsed.given else None)


def settle(parsed: Parsed, known: Mapping[str, Any], source: str, *,
           more: Collection[str] = ()) -> tuple[Any, kept_heads.Head]:
  """Settles the options of model, data and computation with what is known about the weights.

  Args:
    parsed: the command line of a program with the topic `model`, and perhaps `data` and
      `computation`.
    known: what is known about the weights, from `open_weights`.
    source: the weights' path, for messages.
    more: options of the program alone, which must not contradict what is known.

  Returns:
    The settled config, and the head that the network was trained with.

  Raises:
    ValueError: if a flag contradicts what is known, or a name is unknown.
  """
  config, options = parsed.config, options_of(type(parsed.config))
  names = [name for name in (*_MODEL, *_DATA, *_COMPUTATION, *more) if name in options]
  taken, free = opening.as_options(known), {*_DATA, *_COMPUTATION}
  if 'dataset_name' in options:
    if 'dataset_name' in parsed.given and config.data.dataset_name != taken.get('dataset_name'):
      taken = {name: value for name, value in taken.items() if name not in _DATA}
    elif 'dataset_dir' not in parsed.given:
      free -= {'validation_fraction'}  # With another one, training examples would be evaluated.
  settled = config_settle.settle(
      parsed, taken, source=source, names=names, may_change=free,
      resolve={'preprocessing_name': nets_factory.preprocessing_name, 'head': custom_head.label})
  model = settled.model
  net = nets_factory.get_net(model.model_name)
  head = kept_heads.settle(
      model.head, taken.get('head_from'), given=config.model.head, model_name=model.model_name,
      known=taken, source=source)
  values = {'preprocessing_name': nets_factory.preprocessing_name(
      model.preprocessing_name or model.model_name)}
  if 'xla' in options:
    values['xla'] = settled.computation.xla or ('on' if net.xla else 'off')
  return replace(settled, **values), head


def image_size(chosen: int | None, known: Mapping[str, Any], model_name: str) -> int:
  """Returns the height and width: as chosen, else as in training, else the network's own."""
  return chosen or known.get('image_size') or nets_factory.get_net(model_name).image_size


def num_classes(weights: sources.Weights, known: Mapping[str, Any], model_name: str) -> int | None:
  """Returns the number of outputs of the weights' classifier; None if they have none."""
  if 'class_names' in known:
    return len(known['class_names'])
  return opening.num_outputs(weights, model_name)


def class_names(weights: sources.Weights, known: Mapping[str, Any], model_name: str, *,
                labels_path: str | None = None) -> list[str]:
  """Names the classifier's outputs, after a file or as the weights know them.

  Weights with 1,000 or 1,001 outputs that do not know their classes have ImageNet's.

  Returns:
    One name per output, `labels.UNNAMED` if it is not known.

  Raises:
    ValueError: if the weights have no classifier, or the file has another number of names.
  """
  count = num_classes(weights, known, model_name)
  if count is None:
    raise ValueError(f'Expected: weights with a classifier. Received: {weights.path}, which has '
                     f'none for {model_name}. See --model_name.')
  if not labels_path:
    if 'class_names' in known:
      return list(known['class_names'])
    names = imagenet.output_names(count)
    if names:
      print(f"The names of the {count} classes are ImageNet's; see --labels_path.")
    return names or [labels.UNNAMED] * count
  listed = labels_file.read(labels_path).names
  names = labels.output_names(listed, labels.background_offset(len(listed), count))
  if len(names) != count:
    raise ValueError(f'--labels_path={labels_path}: expected names of the {count} classes of '
                     f'{weights.path}. Received: {len(names)}.')
  return names


def label_map(dataset: Dataset, names: Sequence[str] | None, *, num_classes: int, source: str,
              known: Mapping[str, Any], config: EvaluationData, given: Collection[str]
              ) -> list[int]:
  """Matches the classes of a dataset with the outputs of a network.

  Args:
    dataset: the dataset.
    names: of the outputs, from the weights or from --labels_path; None if they are not known.
    num_classes: number of outputs.
    source: the weights' path, for messages.
    known: what is known about the weights.
    config: how the classes are matched if the names are not known.
    given: the flags that were given.

  Returns:
    The output of each class, -1 if there is none.

  Raises:
    ValueError: if they do not fit, or --labels_offset has no effect.
  """
  if names:
    if 'labels_offset' in given and 'labels_path' not in given and (
        'labels_offset' not in known.get('flags', {})):
      raise ValueError(f'--labels_offset: expected none, because {source} knows the names of its '
                       'classes and is matched by them. Leave it out.')
    return labels.map_by_name(dataset.class_names, names)
  joined = label_join.join(dataset, num_classes, labels_offset=config.labels_offset,
                           labels_are_indices=config.labels_are_indices)
  if joined.note:
    print(joined.note)
  return joined.label_map


def get_dataset(config: Data, *, is_own: bool = False) -> Dataset:
  """Opens a split, and prints what there is to note about it.

  Args:
    config: the settled options.
    is_own: whether the network was trained on this dataset. Then a validation split that was made
      from the training split counts; of another dataset, all examples do.
  """
  fraction = config.validation_fraction if is_own else 0.0

  def get(split_name: str, validation_fraction: float) -> Dataset:
    return dataset_factory.get_dataset(
        config.dataset_name, split_name, config.dataset_dir,
        **config.of_source() | {'validation_fraction': validation_fraction})

  if config.dataset_split_name:
    dataset = get(config.dataset_split_name, config.validation_fraction)
  else:
    dataset = _first_split(functools.partial(get, validation_fraction=fraction))
  for note in (*dataset.notes, dataset.summary()):
    print(note)
  return dataset


def _first_split(get: Callable[[str], Dataset]) -> Dataset:
  """Opens the test split, or else validation, or else the only one, and says which."""
  try:
    return get('test')
  except (splits.UnknownSplitError, splits.UnlabelledSplitError) as error:
    for name in ('validation', 'all'):
      with contextlib.suppress(splits.UnknownSplitError, splits.UnlabelledSplitError):
        dataset = get(name)
        print('There is no test split with classes; '
              f'--dataset_split_name={name} is used.')
        return dataset
    raise error


def build_network(model_name: str, head: kept_heads.Head, *, image_shape: Sequence[int],
                  num_classes: int, compute_dtype: str = 'float32') -> Network:
  """Builds a network with the head that it was trained with, to restore all of its variables.

  Args:
    model_name: the network.
    head: from `settle`.
    image_shape: [height, width, channels].
    num_classes: width of the logits.
    compute_dtype: what layers compute in.
  """
  return nets_factory.build_network(
      model_name, **head.arguments, image_shape=image_shape, num_classes=num_classes,
      dtype=tf.dtypes.as_dtype(compute_dtype), is_restored=True)


def restore_variables(weights: sources.Weights, model_name: str,
                      variables: Mapping[str, tf.Variable], *,
                      config: model_options.Weights | None = None, is_whole: bool = True,
                      needs_averages: bool = False, table: pathlib.Path | None = None,
                      see: str = '') -> restore.Report:
  """Restores every one of a network's variables, or stops.

  Args:
    weights: from `open_weights`.
    model_name: the network.
    variables: of the network, or of a part of it.
    config: how to read them.
    is_whole: whether the variables are the whole network's, so that anything else in a foreign file
      is worth a warning.
    needs_averages: whether there must be moving averages.
    table: where to write the table of what happened to each variable, even if that is an error.
    see: more advice for the message.

  Raises:
    ValueError: if a variable is not found or does not fit.
    OSError: if the table cannot be written.
  """
  config = config or model_options.Weights()
  use_averages = config.use_moving_averages
  if needs_averages:
    if use_averages is False:
      raise ValueError('--use_moving_averages=false contradicts --moving_average_decay. Expected: '
                       'one of them. Received: both.')
    use_averages = True
  found = opening.plan(weights, model_name, variables, use_averages=use_averages,
                       change_channels=config.convert_input_channels)
  if table:
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(found.table(), encoding='utf-8', errors='backslashreplace')
  restore.check(found, advice='Expected: the network, the image size and the number of channels '
                'that it was trained with. See --model_name, the flags of the image size and of '
                f'the data, --use_grayscale and --convert_input_channels{see}.')
  restore.apply(found, weights.source, variables)
  if is_whole:
    opening.warn_of_unused(weights, found)
  return found


@dataclasses.dataclass(frozen=True)
class Classifier:
  """A trained network, and what is needed to use it.

  Attributes:
    network: the network.
    class_names: one name per output, `labels.UNNAMED` if it is not known.
    image_size: height and width of its images.
    channels: of its images.
    preprocessing_name: of its images.
    transform: how they are prepared.
    model_name: the network's name.
    head: the head that it was trained with.
    path: where its weights are.
    known: what is known about them, from `open_weights`.
    report: what happened to each of its variables.
  """
  network: Network
  class_names: list[str]
  image_size: int
  channels: int
  preprocessing_name: str
  transform: Transform
  model_name: str
  head: kept_heads.Head
  path: str
  known: Mapping[str, Any]
  report: restore.Report

  @property
  def has_several_labels(self) -> bool:
    """Whether an image may have several classes, each with a probability of its own."""
    return bool(opening.as_options(self.known).get('multi_label'))

  @property
  def activation(self) -> Callable[..., tf.Tensor]:
    """The function from logits to probabilities."""
    return tf.nn.sigmoid if self.has_several_labels else tf.nn.softmax


def restore_classifier(parsed: Parsed, size: int | None) -> tuple[Any, Classifier]:
  """Opens --checkpoint_path and builds its network, for images that do not belong to a dataset.

  Args:
    parsed: the command line of a program with the topics `weights`, `names` and `model`.
    size: height and width of the images, if the user chose them.

  Returns:
    The settled config, and the classifier.

  Raises:
    ValueError: if the weights have no classifier, or a flag contradicts what is known about them.
    OSError: if they cannot be read.
  """
  weights, known = open_weights(parsed)
  config, head = settle(parsed, known, weights.path)
  name = config.model.model_name
  names = class_names(weights, known, name, labels_path=config.names.labels_path)
  channels = (1 if config.model.use_grayscale
              else known.get('channels') or nets_factory.get_net(name).channels)
  size = image_size(size, known, name)
  dtype = config.computation.compute_dtype if hasattr(config, 'computation') else 'float32'
  network = build_network(name, head, image_shape=[size, size, channels], num_classes=len(names),
                          compute_dtype=dtype)
  preprocessing = config.model.preprocessing_name
  transform = transforms.settle(known, preprocessing, config.model)
  report = restore_variables(weights, name, network.variables, config=config.weights)
  return config, Classifier(network, names, size, channels, preprocessing, transform, name,
                            head, weights.path, known, report)


def digest_of(variables: Mapping[str, tf.Variable]) -> str:
  """Returns the SHA-256, in hexadecimal, of the names and values of variables."""
  digest = hashlib.sha256()
  for name in sorted(variables):
    digest.update(f'{name}\n'.encode())
    digest.update(np.ascontiguousarray(variables[name].numpy()).data)
  return digest.hexdigest()
