"""Mixing the images of a batch and their labels: mixup and CutMix."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

# Decisions about a batch, each with its own seed.
_WHICH, _FIRST, _SECOND, _CENTER = range(4)


@dataclasses.dataclass(frozen=True)
class Mixing:
  """Mixes each example with the one at the opposite place in its batch.

  Attributes:
    mixup_alpha: mixup draws the share of an image from Beta(alpha, alpha), once per batch
      (Zhang et al. 2018, https://arxiv.org/abs/1710.09412); 0 for no mixup.
    cutmix_alpha: CutMix draws the share outside of a rectangle, which comes from the other image
      (Yun et al. 2019, https://arxiv.org/abs/1905.04899); 0 for no CutMix. With both, each batch
      has one of them, either as likely as the other.
  """
  mixup_alpha: float = 0.0
  cutmix_alpha: float = 0.0

  @property
  def is_on(self) -> bool:
    """Whether anything is mixed."""
    return bool(self.mixup_alpha or self.cutmix_alpha)

  def __call__(self, images: tf.Tensor, targets: tf.Tensor, *, weights: tf.Tensor,
               seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes a batch.

    Args:
      images: float32 [batch, height, width, channels].
      targets: float32 [batch, classes], each row a distribution.
      weights: float32 [batch]; examples of weight 0 are not mixed with others.
      seed: int64 [2]; the result is a function of it and the batch.

    Returns:
      Images and targets of the same shapes.
    """
    may_mix = tf.cast((weights > 0) & (tf.reverse(weights, [0]) > 0), tf.float32)

    def mixed(kept: tf.Tensor, images_kept: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
      """Mixes, with the share of the targets and the shares of the pixels that are kept."""
      of_targets = 1 - may_mix[:, tf.newaxis] * (1 - kept)
      of_pixels = 1 - may_mix[:, tf.newaxis, tf.newaxis, tf.newaxis] * (1 - images_kept)
      return (of_pixels * images + (1 - of_pixels) * tf.reverse(images, [0]),
              of_targets * targets + (1 - of_targets) * tf.reverse(targets, [0]))

    def mixup():
      kept = _beta(self.mixup_alpha, seed)
      return mixed(kept, kept[tf.newaxis, tf.newaxis, tf.newaxis, tf.newaxis])

    def cutmix():
      outside = _outside_of_box(tuple(images.shape[1:3]), _beta(self.cutmix_alpha, seed), seed)
      return mixed(tf.reduce_mean(outside), outside[tf.newaxis, :, :, tf.newaxis])

    if not self.cutmix_alpha:
      return mixup()
    if not self.mixup_alpha:
      return cutmix()
    is_mixup = tf.random.stateless_uniform([], tf.random.fold_in(seed, _WHICH)) < 0.5
    return tf.cond(is_mixup, mixup, cutmix)


def _beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
  """Draws from Beta(alpha, alpha); float32 scalar."""
  # In double precision, in which only alphas below 0.01 may give two zeros; then 0 is returned,
  # which exchanges the images, as the distribution does half of the time.
  first, second = (tf.random.stateless_gamma([], tf.random.fold_in(seed, decision),
                                             tf.constant(alpha, tf.float64), dtype=tf.float64)
                   for decision in (_FIRST, _SECOND))
  return tf.cast(tf.math.divide_no_nan(first, first + second), tf.float32)


def _outside_of_box(size: tuple[int, int], share: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
  """Returns 1 outside of a random box and 0 inside; float32 [height, width].

  The box has 1 - share of the area, and the image's proportions; what is beyond the image is cut
  off.
  """
  height, width = size
  sides = tf.constant(size, tf.float32)
  half = tf.cast(sides * tf.sqrt(1 - share), tf.int32) // 2
  uniform = tf.random.stateless_uniform([2], tf.random.fold_in(seed, _CENTER))
  center = tf.cast(sides * uniform, tf.int32)
  low, high = center - half, center + half
  rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis]
  inside = (rows >= low[0]) & (rows < high[0]) & (columns >= low[1]) & (columns < high[1])
  return 1 - tf.cast(inside, tf.float32)


NO_MIXING = Mixing()
