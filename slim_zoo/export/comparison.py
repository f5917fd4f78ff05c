"""How well an export does what the network does: its logits and its classes for photos."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import tabulate

from datasets.dataset import Dataset
from slim_zoo.export import runner
from slim_zoo.export.model import Model

_BATCH = 25


class Photos:
  """Images of a dataset with their right classes, and what the network says about them."""

  def __init__(self, model: Model, dataset: Dataset, label_map: Sequence[int], *,
               has_several_labels: bool):
    """Reads nothing yet.

    Args:
      model: the network.
      dataset: the images.
      label_map: the output of each class of the dataset, -1 if there is none.
      has_several_labels: whether an image may have several classes, each of which the network
        predicts if its logit is above 0; otherwise it predicts the one with the largest logit.
    """
    self._model, self._dataset = model, dataset
    self._label_map, self._has_several_labels = label_map, has_several_labels

  @property
  def names(self) -> tuple[str, ...]:
    """The images' names."""
    return self._dataset.examples.names

  @property
  def split_name(self) -> str:
    """The split that the images are from."""
    return self._dataset.split_name

  def __len__(self) -> int:
    return self._dataset.num_examples

  def batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields prepared images, float32 [n, height, width, channels], and their files, bytes [n]."""
    for batch in self._dataset.epoch(0).batch(_BATCH).as_numpy_iterator():
      yield self._model.prepare(batch['image']), batch['image']

  @functools.cached_property
  def right(self) -> np.ndarray:
    """Whether each output is right for each image, bool [n, num_classes]."""
    sets = self._dataset.label_sets or [(label,) for label in range(self._dataset.num_classes)]
    found = np.zeros([len(self), len(self._model.class_names)], bool)
    for row, label in zip(found, self._dataset.labels.tolist(), strict=True):
      row[[self._label_map[a_class] for a_class in sets[label]
           if self._label_map[a_class] >= 0]] = True
    return found

  @functools.cached_property
  def expected(self) -> np.ndarray:
    """The network's logits, float32 [n, num_classes]."""
    return np.concatenate([self._model.logits(images) for images, _ in self.batches()])

  def predicted(self, logits: np.ndarray) -> np.ndarray:
    """Returns the predictions that logits stand for: int64 [n], or bool [n, num_classes]."""
    return logits > 0 if self._has_several_labels else logits.argmax(axis=-1)

  def accuracy(self, logits: np.ndarray) -> float:
    """Returns the share of the images, or of the answers for all classes, that are right."""
    predicted = self.predicted(logits)
    if self._has_several_labels:
      return float((predicted == self.right).mean())
    return float(self.right[np.arange(len(predicted)), predicted].mean())


@dataclasses.dataclass(frozen=True)
class Found:
  """What was found out about an export, or about the network itself.

  Attributes:
    difference: of its logits from the network's, relative to the largest; for a batch of random
      images, and for all photos. None for the network.
    num_bytes: size on disk; of the network, that of its variables.
    milliseconds: median time for one prepared image on this machine's CPU; None if it is not run.
    agreement: share of its predictions for photos that are the network's; None without photos.
    accuracy: share of its predictions that are right; None without photos.
    network_accuracy: that of the network; None without photos, and for the network itself.
    num_photos: number of photos.
    split: that they are from.
  """
  difference: float | None
  num_bytes: int
  milliseconds: float | None
  agreement: float | None = None
  accuracy: float | None = None
  network_accuracy: float | None = None
  num_photos: int = 0
  split: str = ''


def relative_difference(found: np.ndarray, expected: np.ndarray) -> float:
  """Returns the largest difference, relative to the largest expected number; NaN if one is NaN."""
  scale = max(float(np.abs(expected).max()), float(np.finfo(np.float32).tiny))
  return float(np.abs(found - expected).max()) / scale


def on_photos(run: runner.Runner, photos: Photos) -> tuple[float, float, float]:
  """Compares an export with the network on photos.

  An export that takes image files is given them as well, and the worse result counts.

  Returns:
    The relative difference of the logits, the agreement, and the accuracy; see `Found`.
  """
  kinds = [kind for kind in (runner.IMAGES, runner.FILES) if kind in run]
  logits: dict[str, list[np.ndarray]] = {kind: [] for kind in kinds}
  for images, files in photos.batches():
    for kind, batch in ((runner.IMAGES, images), (runner.FILES, files)):
      if kind in run:
        logits[kind].append(run[kind](batch))
  expected = photos.expected
  same = photos.predicted(expected)
  all_found = [np.concatenate(logits[kind]) for kind in kinds]
  differences = [relative_difference(found, expected) for found in all_found]
  return (float(np.max(differences)),  # Python's `max` may leave out NaN.
          min(float((photos.predicted(found) == same).mean()) for found in all_found),
          min(photos.accuracy(found) for found in all_found))


def size_of(path: str | os.PathLike[str]) -> int:
  """Returns the bytes of a file, or of all files in a directory."""
  files = [pathlib.Path(path), *pathlib.Path(path).rglob('*')]
  return sum(file.stat().st_size for file in files if file.is_file())


def table(rows: Sequence[tuple[str, Found, str]]) -> str:
  """Formats what was found about each export as a table.

  Args:
    rows: (name, what was found, remark).
  """
  has_photos, has_remarks = any(found.num_photos for _, found, _ in rows), any(
      remark for *_, remark in rows)
  headers = ['', 'difference', *(['agreement', 'accuracy'] if has_photos else []), 'MB',
             'ms per image', *([''] if has_remarks else [])]
  cells = [[name, _text(found.difference, '.1e'),
            *([_text(found.agreement, '.4f'), _text(found.accuracy, '.4f')] if has_photos else []),
            f'{found.num_bytes / 1e6:.2f}', _text(found.milliseconds, '.1f'),
            *([remark] if has_remarks else [])] for name, found, remark in rows]
  numbers = len(headers) - 1 - has_remarks
  return tabulate.tabulate(cells, headers, 'simple', disable_numparse=True, colalign=(
      'left', *['right'] * numbers, *['left'] * has_remarks))


def _text(value: float | None, form: str) -> str:
  return '' if value is None else format(value, form)
