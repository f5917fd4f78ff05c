"""Mapping a dataset's labels to a network's outputs: by name, or by TF-Slim's offset."""

from __future__ import annotations

import collections
from collections.abc import Sequence

# The name of outputs that belong to no class of the data.
UNNAMED = ''
_IMAGENET = 1000  # Classes, without the background class.


def output_names(class_names: Sequence[str], labels_offset: int) -> list[str]:
  """Names a network's outputs when label `i` belongs to output `i - labels_offset`.

  Args:
    class_names: the dataset's classes, by label.
    labels_offset: TF-Slim's flag: 1 omits the first class (ImageNet's background); -1 adds an
      output without a class before the first one.

  Returns:
    One name per output.

  Raises:
    ValueError: if there would be no output.
  """
  if labels_offset >= len(class_names):
    raise ValueError(f'--labels_offset={labels_offset}: expected fewer than the '
                     f'{len(class_names)} classes of the data.')
  return [UNNAMED] * max(0, -labels_offset) + list(class_names[max(0, labels_offset):])


def map_by_offset(num_labels: int, labels_offset: int) -> list[int]:
  """Returns the output of each label, -1 if there is none."""
  return [max(-1, label - labels_offset) for label in range(num_labels)]


def map_by_name(class_names: Sequence[str], outputs: Sequence[str]) -> list[int]:
  """Returns the output of each label: the one with the class's name, -1 if there is none.

  Classes with the same name, such as ImageNet's two cranes, are matched in order.

  Raises:
    ValueError: if no class has an output, or if the data and the network have different numbers of
      classes of the same name.
  """
  places = collections.defaultdict(list)
  for place, name in enumerate(outputs):
    if name != UNNAMED:
      places[name].append(place)
  counts = collections.Counter(class_names)
  for name, same in places.items():
    if counts[name] not in (0, len(same)):
      raise ValueError(f'Expected the class name {name!r} {len(same)} times in the data, as in the '
                       f'network. Received: {counts[name]} times. Classes are matched by name: '
                       'give each class a different name.')
  in_order = {name: iter(same) for name, same in places.items()}
  found = [next(in_order[name]) if name in in_order else -1 for name in class_names]
  if max(found, default=-1) < 0:
    raise ValueError(
        "Expected data with the network's class names: "
        f'{_listed(places)}. Received: {_listed(class_names)}. Check --checkpoint_path, '
        '--dataset_name and --dataset_dir.')
  return found


def names_by_output(class_names: Sequence[str], label_map: Sequence[int],
                    num_outputs: int) -> list[str]:
  """Names a network's outputs after the classes of their labels.

  Args:
    class_names: the dataset's classes, by label.
    label_map: the output of each label, -1 if there is none.
    num_outputs: number of outputs of the network.

  Returns:
    One name per output, `UNNAMED` if no label belongs to it.
  """
  names = [UNNAMED] * num_outputs
  for name, output in zip(class_names, label_map, strict=True):
    if output >= 0:
      names[output] = name
  return names


def distinct_names(names: Sequence[str]) -> list[str]:
  """Makes the names of outputs unique.

  Returns:
    The names, with the output's number instead of `UNNAMED`, and after a name that several outputs
    share, such as ImageNet's two cranes.
  """
  counts = collections.Counter(names)
  return [f'class {output}' if name == UNNAMED else
          name if counts[name] == 1 else f'{name} ({output})'
          for output, name in enumerate(names)]


def background_offset(num_labels: int, num_outputs: int) -> int:
  """Returns 1 or -1 if one side has ImageNet's classes and the other also a background, else 0."""
  return num_labels - num_outputs if {num_labels, num_outputs} == {
      _IMAGENET, _IMAGENET + 1} else 0


def likely_offset(dataset, num_outputs: int) -> int:
  """Returns the offset between ImageNet's labels with and without the background class.

  Args:
    dataset: a `dataset.Dataset`.
    num_outputs: number of classes of the checkpoint.

  Returns:
    1 or -1 if either the data or the checkpoint has ImageNet's 1,000 classes and the other also a
    background class at 0; else 0.

  Raises:
    ValueError: if the data do not say how many classes there are, so that either is possible.
  """
  if offset := background_offset(dataset.num_classes, num_outputs):
    return offset
  if dataset.open_ended_labels and num_outputs == _IMAGENET + 1 > dataset.num_classes:
    raise ValueError(
        'Expected --labels_offset, which says whether label 0 is the background class: the '
        f'checkpoint has {num_outputs} classes, as ImageNet has with a background class. Received '
        f"labels up to {dataset.num_classes - 1}. Set --labels_offset=-1 if label 0 is ImageNet's "
        'first class, or --labels_offset=0 if it is the background.')
  return 0


def check_count(dataset, num_outputs: int, labels_offset: int) -> None:
  """Checks that a checkpoint without metadata can have been trained on a dataset's labels.

  Args:
    dataset: a `dataset.Dataset`.
    num_outputs: number of classes of the checkpoint.
    labels_offset: the flag.

  Raises:
    ValueError: if the numbers of classes differ; the message names the flag to set.
  """
  needed = dataset.num_classes - labels_offset
  if needed == num_outputs or (dataset.open_ended_labels and needed < num_outputs - 1):
    return
  offset = dataset.num_classes - num_outputs
  advice = 'Use the dataset that the checkpoint was trained on.'
  if abs(offset) == 1:
    more, fewer = ('data have', 'checkpoint') if offset > 0 else ('checkpoint has', 'data')
    advice = (f'The {more} one class more than the {fewer}. If it is a background class at 0, as '
              f'for ImageNet, set --labels_offset={offset}')
  raise ValueError(
      f'Expected labels for the {num_outputs} classes of the checkpoint. Received: '
      f'{dataset.num_classes} classes with --labels_offset={labels_offset}, that is, {needed} '
      f'outputs. {advice}')


def _listed(names) -> str:
  names = list(names)
  return ', '.join(names[:8]) + (f', … ({len(names)})' if len(names) > 8 else '')
