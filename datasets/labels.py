"""Joining a dataset's labels with a network's outputs: by name, or by TF-Slim's offset."""

from __future__ import annotations

import collections
from collections.abc import Sequence

# What outputs are called that no class of the data belongs to.
UNNAMED = ''
_IMAGENET = 1000  # Classes, without the background.


def output_names(class_names: Sequence[str], labels_offset: int) -> list[str]:
  """Names a network's outputs when label `i` belongs to output `i - labels_offset`.

  Args:
    class_names: the dataset's classes, by label.
    labels_offset: TF-Slim's flag: 1 leaves the first class (ImageNet's background) out, -1 puts
      an output that no label belongs to before the first.

  Returns:
    One name an output.

  Raises:
    ValueError: if no output would be left.
  """
  if labels_offset >= len(class_names):
    raise ValueError(f'--labels_offset={labels_offset}: expected fewer than the '
                     f'{len(class_names)} classes of the data.')
  return [UNNAMED] * max(0, -labels_offset) + list(class_names[max(0, labels_offset):])


def map_by_offset(num_labels: int, labels_offset: int) -> list[int]:
  """Returns the output of each label, -1 where it has none."""
  return [max(-1, label - labels_offset) for label in range(num_labels)]


def map_by_name(class_names: Sequence[str], outputs: Sequence[str]) -> list[int]:
  """Returns the output of each label: the one with the class's name, -1 where there is none.

  Classes that share a name, as ImageNet's two cranes do, are matched in their order.

  Raises:
    ValueError: if no class at all has an output, or if one side has a name more often than the
      other, so that it does not tell which class is meant.
  """
  places = collections.defaultdict(list)
  for place, name in enumerate(outputs):
    if name != UNNAMED:
      places[name].append(place)
  counts = collections.Counter(class_names)
  for name, same in places.items():
    if counts[name] not in (0, len(same)):
      raise ValueError(f'Expected the class name {name!r} as often in the data as in the network, '
                       f'{len(same)} times. Received: {counts[name]}. Classes are matched by '
                       'name: give each a name of its own.')
  in_order = {name: iter(same) for name, same in places.items()}
  found = [next(in_order[name]) if name in in_order else -1 for name in class_names]
  if max(found, default=-1) < 0:
    raise ValueError(
        "Expected data with the network's classes, matched by name: "
        f'{_listed(places)}. Received: {_listed(class_names)}. Check --checkpoint_path, '
        '--dataset_name and --dataset_dir.')
  return found


def names_by_output(class_names: Sequence[str], label_map: Sequence[int],
                    num_outputs: int) -> list[str]:
  """Names a network's outputs after the classes whose labels they stand for.

  Args:
    class_names: the dataset's classes, by label.
    label_map: the output of each label, -1 where it has none.
    num_outputs: of the network.

  Returns:
    One name an output, `UNNAMED` where no label belongs to it.
  """
  names = [UNNAMED] * num_outputs
  for name, output in zip(class_names, label_map, strict=True):
    if output >= 0:
      names[output] = name
  return names


def distinct_names(names: Sequence[str]) -> list[str]:
  """Makes names of outputs by which they can be told apart.

  Returns:
    The names; the output's number in place of `UNNAMED`, and after a name that several outputs
    share, as ImageNet's two cranes do.
  """
  counts = collections.Counter(names)
  return [f'class {output}' if name == UNNAMED else
          name if counts[name] == 1 else f'{name} ({output})'
          for output, name in enumerate(names)]


def background_offset(num_labels: int, num_outputs: int) -> int:
  """Returns 1 or -1 where one side has ImageNet's classes and the other a background besides."""
  return num_labels - num_outputs if {num_labels, num_outputs} == {
      _IMAGENET, _IMAGENET + 1} else 0


def likely_offset(dataset, num_outputs: int) -> int:
  """Returns the offset that joins ImageNet's labels with and without its background class.

  Args:
    dataset: a `dataset.Dataset`.
    num_outputs: the classes of the checkpoint.

  Returns:
    1 or -1 where one of both has ImageNet's 1,000 classes and the other a background class at 0
    besides; else 0.

  Raises:
    ValueError: if the data do not tell how many classes there are, so that both could be meant.
  """
  if offset := background_offset(dataset.num_classes, num_outputs):
    return offset
  if dataset.open_ended_labels and num_outputs == _IMAGENET + 1 > dataset.num_classes:
    raise ValueError(
        f'Expected to know whether label 0 is the background class: the checkpoint has '
        f'{num_outputs} classes, as ImageNet with one, and the data have labels up to '
        f"{dataset.num_classes - 1}. Say --labels_offset=-1 if label 0 is ImageNet's first class, "
        'or --labels_offset=0 if it is the background.')
  return 0


def check_count(dataset, num_outputs: int, labels_offset: int) -> None:
  """Stops if a dataset's labels cannot be those that a checkpoint without metadata was trained on.

  Args:
    dataset: a `dataset.Dataset`.
    num_outputs: the classes of the checkpoint.
    labels_offset: the flag.

  Raises:
    ValueError: says what differs and which flag settles it.
  """
  needed = dataset.num_classes - labels_offset
  if needed == num_outputs or (dataset.open_ended_labels and needed < num_outputs - 1):
    return
  offset = dataset.num_classes - num_outputs
  advice = 'Name the dataset that the checkpoint was trained on.'
  if abs(offset) == 1:
    more, fewer = ('data have', 'checkpoint') if offset > 0 else ('checkpoint has', 'data')
    advice = (f'The {more} one class more than the {fewer}, as ImageNet has with a background '
              f'class at 0 and without. If that is so: --labels_offset={offset}')
  raise ValueError(
      f'Expected labels for the {num_outputs} classes of the checkpoint. Received: '
      f'{dataset.num_classes} classes with --labels_offset={labels_offset}, which makes {needed}. '
      + advice)


def _listed(names) -> str:
  names = list(names)
  return ', '.join(names[:8]) + (f', … ({len(names)})' if len(names) > 8 else '')
