"""Mixing the images of a batch and their labels: mixup and CutMix."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

# Decisions about groups, each with its own seed.
_WHICH, _FIRST, _SECOND, _CENTER = range(4)
# Images are mixed within groups of so many, which batches of several sizes have in common.
_GROUP = 8


@dataclasses.dataclass(frozen=True)
class Mixing:
  """Mixes each example with the one at the opposite place in its group.

  A batch is divided into groups of 8, or of the largest power of two that divides it; a batch of
  odd size is one group. So a batch that is divided among replicas is mixed like a whole one.

  Attributes:
    mixup_alpha: mixup draws the share of an image from Beta(alpha, alpha), once per group
      (Zhang et al. 2018, https://arxiv.org/abs/1710.09412); 0 for no mixup.
    cutmix_alpha: CutMix draws the share outside of a rectangle, which comes from the other image
      (Yun et al. 2019, https://arxiv.org/abs/1905.04899); 0 for no CutMix. With both, each group
      has one of them, either as likely as the other.
  """
  mixup_alpha: float = 0.0
  cutmix_alpha: float = 0.0

  @property
  def is_on(self) -> bool:
    """Whether anything is mixed."""
    return bool(self.mixup_alpha or self.cutmix_alpha)

  def __call__(self, images: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor,
               seed: tf.Tensor, place: tf.Tensor | int = 0, places: int = 1
               ) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes a batch.

    Args:
      images: float32 [batch, height, width, channels].
      targets: float32 [batch, classes], each row a distribution.
      weights: float32 [batch]; examples of weight 0 are not mixed with others.
      seed: int64 [2], of the step; the result is a function of it, the place and the batch.
      place, places: number of this batch among those of the step, of all replicas; how many there
        are.

    Returns:
      Images and targets of the same shapes.
    """
    batch = images.shape[0]
    size = math.gcd(batch, _GROUP)
    size = size if size > 1 else batch
    count = batch // size

    def of_batch(values: tf.Tensor) -> tf.Tensor:
      """Returns the values of this batch's groups among those of all groups of the step."""
      return values[place * count:][:count]

    def of_opposite(values: tf.Tensor) -> tf.Tensor:
      groups = tf.reshape(values, [count, size, *values.shape[1:]])
      return tf.reshape(tf.reverse(groups, [1]), values.shape)

    def of_examples(shares: tf.Tensor) -> tf.Tensor:
      """Returns the shares of each example; all of one that cannot be mixed."""
      may_mix = (weights > 0) & (of_opposite(weights) > 0)
      may_mix = tf.reshape(may_mix, [batch] + [1] * (shares.shape.rank - 1))
      return tf.where(may_mix, tf.repeat(shares, size, axis=0), 1.0)

    kept, of_pixels = self._shares(tuple(images.shape[1:3]), places * count, seed=seed,
                                   of_batch=of_batch)
    of_targets = of_examples(kept)[:, tf.newaxis]
    of_pixels = of_examples(of_pixels)[..., tf.newaxis]
    return (of_pixels * images + (1 - of_pixels) * of_opposite(images),
            of_targets * targets + (1 - of_targets) * of_opposite(targets))

  def _shares(self, size: tuple[int, int], count: int, *, seed: tf.Tensor,
              of_batch: Callable[[tf.Tensor], tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the shares that groups keep.

    Args:
      size: height and width of the images.
      count: number of groups of the step.
      seed: of the step.
      of_batch: selects the groups of a batch.

    Returns:
      The shares of the targets, float32 [groups]; those of the pixels, float32 [groups, height,
      width], or [groups, 1, 1] if they are equal.
    """
    found = []
    if self.mixup_alpha:
      kept = of_batch(_beta(self.mixup_alpha, seed, count))
      found.append((kept, kept[:, tf.newaxis, tf.newaxis]))
    if self.cutmix_alpha:
      centers = tf.random.stateless_uniform([count, 2], tf.random.fold_in(seed, _CENTER))
      outside = _outside_of_box(size, of_batch(_beta(self.cutmix_alpha, seed, count)),
                                of_batch(centers))
      found.append((tf.reduce_mean(outside, [1, 2]), outside))
    if len(found) == 1:
      return found[0]
    (kept, pixels), (outside, of_box) = found
    is_mixup = of_batch(tf.random.stateless_uniform([count], tf.random.fold_in(seed, _WHICH))) < 0.5
    return (tf.where(is_mixup, kept, outside),
            tf.where(is_mixup[:, tf.newaxis, tf.newaxis], pixels, of_box))


def _beta(alpha: float, seed: tf.Tensor, count: int) -> tf.Tensor:
  """Draws from Beta(alpha, alpha); float32 [count]."""
  # In double precision, in which only alphas below 0.01 may give two zeros; then 0 is returned,
  # which exchanges the images, as the distribution does half of the time.
  first, second = (tf.random.stateless_gamma([count], tf.random.fold_in(seed, decision),
                                             tf.constant(alpha, tf.float64), dtype=tf.float64)
                   for decision in (_FIRST, _SECOND))
  return tf.cast(tf.math.divide_no_nan(first, first + second), tf.float32)


def _outside_of_box(size: tuple[int, int], shares: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
  """Returns 1 outside of boxes and 0 inside; float32 [boxes, height, width].

  A box has 1 - share of the area, and the image's proportions; what is beyond the image is cut off.

  Args:
    size: height and width of the images.
    shares: float32 [boxes].
    centers: float32 [boxes, 2] in [0, 1), vertical and horizontal.
  """
  height, width = size
  sides = tf.constant(size, tf.float32)
  half = tf.cast(sides * tf.sqrt(1 - shares)[:, tf.newaxis], tf.int32) // 2
  center = tf.cast(sides * centers, tf.int32)
  low, high = (tf.expand_dims(edge, -1) for edge in (center - half, center + half))
  rows, columns = tf.range(height), tf.range(width)
  in_rows = (rows >= low[:, 0]) & (rows < high[:, 0])
  in_columns = (columns >= low[:, 1]) & (columns < high[:, 1])
  inside = in_rows[:, :, tf.newaxis] & in_columns[:, tf.newaxis]
  return 1 - tf.cast(inside, tf.float32)


NO_MIXING = Mixing()
