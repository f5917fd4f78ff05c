"""One split of an image classification dataset, independent of how it is stored."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf

from datasets import bad_images, pieces
from datasets.readers import Readers
from files import image_types

ALL_FORMATS = frozenset(image_types.SIGNATURES)
# How many classes a summary shows if there are many.
_FIRST, _LAST = 8, 3


@dataclasses.dataclass(frozen=True)
class Options:
  """How a dataset is read; each source uses some of them.

  Attributes:
    file_pattern: pattern of the names of a split's TFRecord files, with wildcards and '%s' for the
      split; a pattern without '%s' is for the training files. None uses the source's pattern.
    record_keys: the keys of the image and of the label in TFRecords; () finds them.
    image_dir: folder that the paths in a list of images are relative to; None is the list's folder.
    multi_label: whether an image may have several labels, or none.
    validation_fraction: fraction of the training examples, in [0, 1), used as the validation split
      if the source has none; 0 makes none.
    readers: processes that open the same dataset at the same time, each of which reads the labels
      of a part of the TFRecord files; None if there is only this one.
  """

  file_pattern: str | None = None
  record_keys: tuple[str, ...] = ()
  image_dir: str | None = None
  multi_label: bool = False
  validation_fraction: float = 0.1
  readers: Readers | None = None


class Examples(Protocol):
  """The storage of a split: `indexed.IndexedExamples` or `records.RecordExamples`.

  Attributes:
    labels: int64 [num_examples], in the order of the source.
    names: the examples' names in the same order, unique and stable.
    files: the files that contain the examples; empty if they are in memory.
    formats: the formats that the images have, among `ALL_FORMATS`; all, if they are not known.
  """

  labels: np.ndarray
  files: tuple[str, ...]
  formats: frozenset[str]

  @property
  def names(self) -> tuple[str, ...]:
    """The examples' names, in the order of the source."""

  @property
  def is_sequential(self) -> bool:
    """Whether an image can only be read after all others that precede it in its file."""

  def select(self, keep: np.ndarray) -> Examples:
    """The examples for which `keep`, bool [num_examples], is true."""

  def order(self, epoch, *, seed: int, shuffle: bool, skip: int = 0,
            with_images: bool = True) -> tf.data.Dataset:
    """One epoch's examples. Skipped ones are not read; with `with_images=False`, none is.

    Then the images can be read later, one by one, unless the examples are sequential.
    """

  def pieces(self) -> list[pieces.Piece]:
    """All examples, divided into the parts that results are cached for."""

  def facts(self, raw) -> dict[str, tf.Tensor]:
    """'label', 'name' and 'id' of one element of `order`, without reading its image."""

  def image(self, raw) -> tf.Tensor:
    """The encoded image of one element of `order`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """One split of an image classification dataset.

  Attributes:
    name: the name passed to `get_dataset`, such as 'folder'.
    split_name: 'train', 'validation', 'test' …
    class_names: one name per class; the position is the label.
    channels: 1 or 3, the number of channels to decode the images to.
    examples: the storage.
    made_split: whether the split was made here, by hashing names, so that it depends on the
      validation fraction.
    notes: lines to print for the user, such as which files were ignored.
    open_ended_labels: whether the number of classes was inferred from the largest label, because
      nothing lists them; a network may have more classes.
    label_sets: if images may have several classes, those of each label; None if label i is class i.
    numbered_by_name: whether the labels are the positions of the sorted class names, so that they
      do not correspond to the outputs of a network that was trained elsewhere.
  """

  name: str
  split_name: str
  class_names: tuple[str, ...]
  channels: int
  examples: Examples
  made_split: bool = False
  notes: tuple[str, ...] = ()
  open_ended_labels: bool = False
  numbered_by_name: bool = False
  label_sets: tuple[tuple[int, ...], ...] | None = None

  def __post_init__(self):
    if not len(self.labels):
      raise ValueError(
          f'Expected examples in the split {self.split_name!r} of the dataset {self.name!r}. '
          'Received none. Check --dataset_dir.')

  @property
  def labels(self) -> np.ndarray:
    """int64 [num_examples], in the order of the source."""
    return self.examples.labels

  @property
  def num_examples(self) -> int:
    """Number of examples."""
    return len(self.examples.labels)

  @property
  def num_classes(self) -> int:
    """Number of classes, including those without examples."""
    return len(self.class_names)

  @functools.cached_property
  def class_counts(self) -> np.ndarray:
    """Number of examples of each class in this split: int64 [num_classes]."""
    return self.count_classes(self.labels)

  def count_classes(self, labels: np.ndarray) -> np.ndarray:
    """Counts how many of some examples, given by their labels, have each class.

    Args:
      labels: of the examples, int64 [n].

    Returns:
      int64 [num_classes].
    """
    if self.label_sets is None:
      return np.bincount(labels, minlength=self.num_classes)
    found = np.zeros(self.num_classes, np.int64)
    counts = np.bincount(labels, minlength=len(self.label_sets))
    for classes, count in zip(self.label_sets, counts, strict=True):
      found[list(classes)] += count
    return found

  def label_name(self, label: int) -> str:
    """Returns the name of a label's class, or the names of its classes."""
    if self.label_sets is None:
      return self.class_names[label]
    return ' | '.join(self.class_names[a_class] for a_class in self.label_sets[label])

  @functools.cached_property
  def empty_classes(self) -> tuple[str, ...]:
    """The classes without examples in this split."""
    return tuple(self.class_names[label] for label in np.flatnonzero(self.class_counts == 0))

  def summary(self) -> str:
    """Describes the split: its size, and the first and last classes with their sizes.

    A second line warns of class names that differ only in case.
    """
    classes = [f'{name} ({count})'
               for name, count in zip(self.class_names, self.class_counts, strict=True)]
    if len(classes) > _FIRST + _LAST + 1:
      classes = [*classes[:_FIRST], '…', *classes[-_LAST:]]
    alike = collections.defaultdict(set)
    for name in self.class_names:
      alike[name.casefold()].add(name)
    pairs = [' and '.join(sorted(names)) for names in alike.values() if len(names) > 1]
    warning = ('\nWarning: class names that differ only in case: '
               f'{", ".join(pairs[:_FIRST])}.' if pairs else '')
    several = ('' if self.label_sets is None else
               f', {self.class_counts.sum() / self.num_examples:.2f} for each on average')
    return (f'Split {self.split_name!r}: {self.num_examples} examples of {self.num_classes} '
            f'{"class" if self.num_classes == 1 else "classes"}{several}: {", ".join(classes)}.'
            f'{warning}')

  @functools.cached_property
  def fingerprint(self) -> str:
    """sha256 over the class names and every example's name and label, in order."""
    digest = hashlib.sha256()
    for class_name in self.class_names:
      digest.update(_bytes(class_name) + b'\n')
    texts = [b'%d' % label for label in range(self.num_classes)] if self.label_sets is None else [
        b','.join(b'%d' % a_class for a_class in classes) for classes in self.label_sets]
    for name, label in zip(self.examples.names, self.labels.tolist(), strict=True):
      digest.update(b'%s %s\n' % (texts[label], _bytes(name)))
    return digest.hexdigest()

  @tf.autograph.experimental.do_not_convert
  def epoch(self, epoch, *, seed: int = 0, shuffle: bool = False, skip: int = 0) -> tf.data.Dataset:
    """One pass over the examples.

    Args:
      epoch: the epoch, an integer or a scalar int64 tensor; it only affects the order.
      seed: the run's seed. The order is a function of (seed, epoch).
      shuffle: whether to shuffle; otherwise the order is that of the source.
      skip: number of examples to skip at the start, without reading them.

    Returns:
      A tf.data.Dataset of {'image': scalar string, an encoded image file; 'label': int64;
      'name': string; 'id': int64, a stable hash of the name}.
    """
    order = self.examples.order(epoch, seed=seed, shuffle=shuffle, skip=skip)
    return order.map(
        lambda raw: {**self.examples.facts(raw), 'image': self.examples.image(raw)},
        num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

  def find_bad_images(self, decode, readers: Readers | None = None
                      ) -> tuple[bad_images.BadImage, ...]:
    """Decodes every image once and returns those that cannot be; see `bad_images.find`."""
    return bad_images.find(self, decode, readers)


def number_sets(found: Sequence[Sequence[int]]) -> tuple[list[int], tuple[tuple[int, ...], ...]]:
  """Numbers the sets of classes of examples.

  Args:
    found: the classes of each example.

  Returns:
    The number of each example's set, and the sets, each in ascending order.
  """
  of_examples = [tuple(sorted(set(classes))) for classes in found]
  sets = sorted(set(of_examples))
  numbers = {classes: number for number, classes in enumerate(sets)}
  return [numbers[classes] for classes in of_examples], tuple(sets)


def example_id(name: tf.Tensor) -> tf.Tensor:
  """A stable 63-bit hash of an example's name.

  Args:
    name: string, any shape.

  Returns:
    int64 of the same shape, in [0, 2**63 - 1).
  """
  return tf.strings.to_hash_bucket_fast(name, 2**63 - 1)


def ids(names: Sequence[str]) -> np.ndarray:
  """The ids of examples with these names: int64 [len(names)]."""
  return example_id(as_strings(names)).numpy()


def as_strings(texts: Sequence[str]) -> tf.Tensor:
  """Converts texts to a string tensor; file names among them need not be UTF-8."""
  return tf.constant(np.array([_bytes(text) for text in texts], object), tf.string)


def _bytes(text: str) -> bytes:
  return text.encode('utf-8', 'surrogateescape')
