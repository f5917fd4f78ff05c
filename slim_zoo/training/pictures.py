"""What a run sees and what it predicts, as pictures for TensorBoard."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from datasets import seeds
from datasets.indexed import IndexedExamples
from slim_zoo.evaluation.outcomes import AnyOutcomes, LabelOutcomes, Outcomes
from slim_zoo.training.inputs import Inputs
from slim_zoo.training.mixing import Mixing

_COUNT = 16  # Images in a picture.
_SIDE = 160  # Pixels of an image of the validation split.
_MOST_LINES = 3  # Of a caption.


@dataclasses.dataclass(frozen=True)
class Pictures:
  """The pictures of a run.

  Attributes:
    training: the images of training, which may be kept as features.
    validation: those of validation.
    class_names: one name per output.
    mixing: of training images.
    seed: of the run.
  """
  training: Inputs
  validation: Inputs
  class_names: Sequence[str]
  mixing: Mixing
  seed: int

  def draw(self, step: int, epoch: int, outcomes: AnyOutcomes
           ) -> Iterator[tuple[str, np.ndarray]]:
    """Yields pictures with their names, uint8 [height, width, 3].

    Args:
      step: of the run.
      epoch: of which the training images are.
      outcomes: of all examples of the validation split.

    Raises:
      OSError, tf.errors.OpError: if an image cannot be read.
    """
    from slim_zoo.report import confusions, run_pictures  # Imports matplotlib.
    trained = [run_pictures.Captioned(pixels, self._shares(targets))
               for pixels, targets in zip(*self._training_images(step, epoch), strict=True)]
    if trained:
      yield 'train/images', run_pictures.draw_images(trained)
    seen = [run_pictures.Captioned(pixels, *self._caption(outcomes, number))
            for number, pixels in self._validation_images.items()]
    if seen:
      yield 'validation/predictions', run_pictures.draw_images(seen)
    if isinstance(outcomes, Outcomes):
      found = confusions.confusion(outcomes)
      yield 'validation/confusion_matrix', run_pictures.draw_confusion(
          found, [self.class_names[label] for label in found.labels],
          num_classes=len(np.union1d(outcomes.labels, outcomes.predicted)))

  def _training_images(self, step: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images as the network sees them, but for their normalization, and their targets.

    Returns:
      uint8 [n, height, width, 3], float32 [n, classes].
    """
    batch = self.training.training_sample(_COUNT, seed=self.seed, epoch=epoch)
    images, targets, weights = batch['image'], batch['label'], batch['weight']
    if targets.shape.rank == 1:
      targets = tf.one_hot(targets, len(self.class_names))
    if self.mixing.is_on:
      images, targets = self.mixing(images, targets, weights=weights,
                                    seed=seeds.derive(seeds.MIXING, self.seed, step))
    pixels = self.training.transform.denormalize(images)
    is_good = weights > 0
    return _as_bytes(pixels[is_good]), targets[is_good].numpy()

  @functools.cached_property
  def _validation_images(self) -> dict[int, np.ndarray]:
    """Small images of the validation split, by their number among those that can be decoded.

    They are from all parts of a folder or a list, which are in the order of the classes; of
    records, which may be large, the first ones.
    """
    from slim_zoo.report import examples, images
    dataset, left_out = self.validation.dataset, set(self.validation.bad_images)
    good = np.flatnonzero([name not in left_out for name in dataset.examples.names])
    count = min(_COUNT, len(good))
    numbers = (np.linspace(0, len(good) - 1, count).astype(int)
               if isinstance(dataset.examples, IndexedExamples) else np.arange(count))
    places = dict(zip(good[numbers].tolist(), numbers.tolist(), strict=True))
    found = {}
    for position, image in examples.read(dataset, places):
      small = images.open_small(image, _SIDE)
      if small:
        small.thumbnail((_SIDE, _SIDE))
        found[places[position]] = np.asarray(small)
    return found

  def _shares(self, targets: np.ndarray) -> str:
    """Names the classes of an image, with their shares if it is mixed, on a few lines."""
    lines = [self.class_names[label] + ('' if targets[label] == 1 else f' {targets[label]:.2f}')
             for label in np.flatnonzero(targets).tolist()]
    return '\n'.join(lines if len(lines) <= _MOST_LINES else [*lines[:_MOST_LINES - 1], '…'])

  def _caption(self, outcomes: AnyOutcomes, number: int) -> tuple[str, bool]:
    """Says what is predicted for an example, and whether that is right."""
    names, is_right = self.class_names, bool(outcomes.is_right[number])
    if isinstance(outcomes, LabelOutcomes):
      label, predicted = (', '.join(names[place] for place in np.flatnonzero(row).tolist())
                          for row in (outcomes.labels[number], outcomes.predicted[number]))
      label, predicted = label or 'none', predicted or 'none'
      return (label if is_right else f'{label}\n→ {predicted}'), is_right
    label = names[outcomes.labels[number]]
    predicted = f'{names[outcomes.predicted[number]]} {outcomes.confidences[number]:.2f}'
    return (predicted if is_right else f'{label}\n→ {predicted}'), is_right


def _as_bytes(pixels: tf.Tensor) -> np.ndarray:
  """Returns [n, height, width, 1 or 3] in [0, 255] as uint8 with three channels."""
  found = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
  return np.broadcast_to(found, [*found.shape[:3], 3])
