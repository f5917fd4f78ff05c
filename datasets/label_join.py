"""Mapping a dataset's labels to the outputs of weights that do not include class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from datasets import imagenet, labels
from datasets.dataset import Dataset


class Join(NamedTuple):
  """A mapping from labels to outputs.

  Attributes:
    label_map: the output of each label, -1 if there is none.
    note: how the mapping was found, for the user; '' if label i is output i.
  """
  label_map: list[int]
  note: str


def join(dataset: Dataset, num_outputs: int, *, labels_offset: int | None = None,
         labels_are_indices: bool = False) -> Join:
  """Finds the output of each label.

  If the data have integer labels, these are the numbers of the outputs. If they have names, the
  positions of the sorted names do not correspond to the outputs of somebody else's weights. Then
  classes named by ImageNet's ids or names are matched by them with networks of 1,000 outputs, or
  1,001 with a background class; classes named by integers are matched by the integers.

  Args:
    dataset: the dataset.
    num_outputs: number of outputs of the weights.
    labels_offset: number to subtract from a class's number; None determines it.
    labels_are_indices: whether to use the positions of the sorted names as outputs anyway.

  Raises:
    ValueError: if the mapping cannot be determined, or a class has no output; the message names the
      flag to set.
  """
  if labels_are_indices or not dataset.numbered_by_name:
    return _by_label(dataset, num_outputs, labels_offset)
  if num_outputs in (imagenet.NUM_CLASSES, imagenet.NUM_CLASSES + 1):
    known = imagenet.numbers_of(dataset.class_names)
    if known:
      offset = imagenet.NUM_CLASSES - num_outputs if labels_offset is None else labels_offset
      return Join(_outputs(dataset, known[0], num_outputs=num_outputs, offset=offset),
                  f"The classes are matched with the outputs by ImageNet's {known[1]}.")
  if all(name.isascii() and name.isdecimal() for name in dataset.class_names):
    numbers = [int(name) for name in dataset.class_names]
    if labels_offset is None:
      labels_offset = _offset_of(numbers, num_outputs)
    return Join(_outputs(dataset, numbers, num_outputs=num_outputs, offset=labels_offset),
                f'The classes are matched with the outputs by their numbers: class '
                f'{labels_offset} is output 0 (--labels_offset={labels_offset}).')
  raise ValueError(
      f'Expected classes that can be matched with the {num_outputs} outputs of the weights, which '
      "have no names: ImageNet's ids or names for its 1,000 classes, or integers. "
      f'Received: {_listed(dataset.class_names)}. If the outputs are in the sorted order of these '
      'names, set --labels_are_indices. If not, list the names in the order of the outputs in a '
      'file for --labels_path of eval_image_classifier.py; to train, list them in that order in '
      'the labels.txt of a list of images (--dataset_name=csv).')


def _by_label(dataset: Dataset, num_outputs: int, offset: int | None) -> Join:
  note = ''
  if offset is None:
    offset = labels.likely_offset(dataset, num_outputs)
    if offset:
      note = (f'--labels_offset={offset}: the checkpoint has {num_outputs} classes and the data '
              f'{dataset.num_classes}; one includes the background class of ImageNet.')
  labels.check_count(dataset, num_outputs, offset)
  return Join(labels.map_by_offset(dataset.num_classes, offset), note)


def _outputs(dataset: Dataset, numbers: Sequence[int], *, num_outputs: int,
             offset: int) -> list[int]:
  """Subtracts the offset from the classes' numbers; -1 for those before the first output."""
  beyond = [name for name, number in zip(dataset.class_names, numbers, strict=True)
            if number - offset >= num_outputs]
  if beyond:
    raise ValueError(f'Expected classes for the {num_outputs} outputs of the weights. Received, '
                     f'with --labels_offset={offset}, classes beyond them: {_listed(beyond)}.')
  return [max(-1, number - offset) for number in numbers]


def _offset_of(numbers: Sequence[int], num_outputs: int) -> int:
  """Finds out whether class numbers start at 0, at 1, or exclude ImageNet's background class.

  Raises:
    ValueError: if more than one is possible, or none.
  """
  first, last = min(numbers), max(numbers)
  has_background = num_outputs == imagenet.NUM_CLASSES + 1
  is_all = len(numbers) == last - first + 1
  if is_all and (offset := labels.background_offset(len(numbers), num_outputs)) and first == 0:
    return offset
  if last == num_outputs - 1 and (first == 0 or has_background):
    return 0
  if last == num_outputs and first > 0:
    return 1
  if first == 0 and last < num_outputs and not has_background:
    return 0
  raise ValueError(
      f'Expected classes named 0 to {num_outputs - 1} or 1 to {num_outputs} for the '
      f'{num_outputs} outputs of the weights. Received: {len(numbers)} integers from {first} to '
      f'{last}, so that the first number is unknown. Set --labels_offset=0 if class 0 is the first '
      'output, --labels_offset=1 if class 1 is'
      + (', or --labels_offset=-1 if class 0 is the output after the background.'
         if has_background else '.'))


def _listed(names: Sequence[str]) -> str:
  return ', '.join(names[:8]) + (f', … ({len(names)})' if len(names) > 8 else '')
