"""Policies of augmentation: AutoAugment, RandAugment and TrivialAugment.

Operations, magnitudes and probabilities are those of torchvision's classes of these names, which
give the papers' operations a scale (https://github.com/pytorch/vision,
`torchvision/transforms/autoaugment.py`). Pixels are those of Pillow; see `pixel_ops`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from preprocessing import image_ops, pixel_ops

BINS = 31
_AUTO_BINS = 10


class _Operation(NamedTuple):
  """An operation of a policy.

  Attributes:
    function: (image, magnitude) -> image.
    magnitudes: one per bin; None if it has none.
    is_signed: whether the magnitude is negated half of the time.
  """
  function: Callable
  magnitudes: np.ndarray | None = None
  is_signed: bool = False


def _operations(bins: int, *, shear: float, translation: float, rotation: float, factor: float,
                lost_bits: int) -> dict[str, _Operation]:
  """Returns operations whose magnitudes rise evenly to these values.

  Args:
    bins: number of magnitudes.
    shear: slope.
    translation: in pixels.
    rotation: in degrees.
    factor: difference from 1 of the factors of brightness, colour, contrast and sharpness.
    lost_bits: of eight, in posterizing.
  """
  def signed(function: Callable, most: float) -> _Operation:
    return _Operation(function, np.linspace(0, most, bins), is_signed=True)

  def enhancing(function: Callable) -> _Operation:
    return signed(lambda image, magnitude: function(image, 1 + magnitude), factor)

  bits = 8 - np.round(np.arange(bins) / ((bins - 1) / lost_bits))
  return {
      'identity': _Operation(lambda image, magnitude: image),
      'shear_x': signed(pixel_ops.shear_x, shear), 'shear_y': signed(pixel_ops.shear_y, shear),
      'translate_x': signed(pixel_ops.translate_x, translation),
      'translate_y': signed(pixel_ops.translate_y, translation),
      'rotate': signed(pixel_ops.rotate, rotation),
      'brightness': enhancing(pixel_ops.brightness), 'color': enhancing(pixel_ops.color),
      'contrast': enhancing(pixel_ops.contrast), 'sharpness': enhancing(pixel_ops.sharpness),
      'posterize': _Operation(pixel_ops.posterize, bits),
      'solarize': _Operation(pixel_ops.solarize, np.linspace(255, 0, bins)),
      'autocontrast': _Operation(pixel_ops.autocontrast),
      'equalize': _Operation(pixel_ops.equalize),
  }


def _usual(bins: int, size: int) -> dict[str, _Operation]:
  """Returns the operations of AutoAugment and RandAugment, for images of this height and width."""
  return _operations(bins, shear=0.3, translation=150 / 331 * size, rotation=30, factor=0.9,
                     lost_bits=4)


def rand_augment(image, seed, *, num_operations: int = 2, magnitude: int = 9):
  """Applies random operations of one magnitude (Cubuk et al. 2019, arxiv.org/abs/1909.13719).

  Args:
    image: int32 [height, width, channels] in [0, 255], of a static shape.
    seed: integer tensor [2]; the result is a function of it and the image.
    num_operations: how many, drawn independently.
    magnitude: number of the bin, below `BINS`.

  Returns:
    int32 [height, width, channels] in [0, 255].
  """
  operations = _usual(BINS, max(image.shape[:2]))
  for number in range(num_operations):
    of_operation = image_ops.decision_seed(seed, number)
    which = image_ops.uniform_integer(image_ops.decision_seed(of_operation, 0), 0,
                                      len(operations) - 1)
    image = _apply(image, operations, which=which, magnitude=magnitude,
                   seed=image_ops.decision_seed(of_operation, 1))
  return image


def trivial_augment(image, seed):
  """Applies one random operation of a random magnitude, with TrivialAugment's wide ranges.

  (Müller and Hutter 2021, arxiv.org/abs/2103.10158, section 3.) Arguments and result are those of
  `rand_augment`.
  """
  operations = _operations(BINS, shear=0.99, translation=32, rotation=135, factor=0.99,
                           lost_bits=6)
  which = image_ops.uniform_integer(image_ops.decision_seed(seed, 0), 0, len(operations) - 1)
  magnitude = image_ops.uniform_integer(image_ops.decision_seed(seed, 1), 0, BINS - 1)
  return _apply(image, operations, which=which, magnitude=magnitude,
                seed=image_ops.decision_seed(seed, 2))


# AutoAugment's policy for ImageNet (Cubuk et al. 2018, arxiv.org/abs/1805.09501, appendix): each
# line is two operations with probability and magnitude; some are in the list twice.
_IMAGENET = """
posterize 0.4 8, rotate 0.6 9
solarize 0.6 5, autocontrast 0.6 0
equalize 0.8 0, equalize 0.6 0
posterize 0.6 7, posterize 0.6 6
equalize 0.4 0, solarize 0.2 4
equalize 0.4 0, rotate 0.8 8
solarize 0.6 3, equalize 0.6 0
posterize 0.8 5, equalize 1.0 0
rotate 0.2 3, solarize 0.6 8
equalize 0.6 0, posterize 0.4 6
rotate 0.8 8, color 0.4 0
rotate 0.4 9, equalize 0.6 0
equalize 0.0 0, equalize 0.8 0
invert 0.6 0, equalize 1.0 0
color 0.6 4, contrast 1.0 8
rotate 0.8 8, color 1.0 2
color 0.8 8, solarize 0.8 7
sharpness 0.4 7, invert 0.6 0
shear_x 0.6 5, equalize 1.0 0
color 0.4 0, equalize 0.6 0
equalize 0.4 0, solarize 0.2 4
solarize 0.6 5, autocontrast 0.6 0
invert 0.6 0, equalize 1.0 0
color 0.6 4, contrast 1.0 8
equalize 0.8 0, equalize 0.6 0
"""


def imagenet_policy() -> list[list[tuple[str, float, int]]]:
  """Returns AutoAugment's policy: for each of 25 pairs, (operation, probability, bin) twice."""
  pairs = [[step.split() for step in line.split(',')] for line in _IMAGENET.split('\n') if line]
  return [[(name, float(probability), int(number)) for name, probability, number in pair]
          for pair in pairs]


def auto_augment(image, seed):
  """Applies a random pair of AutoAugment's policy; arguments and result as of `rand_augment`."""
  operations = {**_usual(_AUTO_BINS, max(image.shape[:2])), 'invert': _Operation(pixel_ops.invert)}
  names, policy = list(operations), imagenet_policy()
  which = image_ops.uniform_integer(image_ops.decision_seed(seed, 0), 0, len(policy) - 1)
  for number in range(2):
    steps = [pair[number] for pair in policy]
    of_step = image_ops.decision_seed(seed, number + 1)
    chance = tf.gather([probability for _, probability, _ in steps], which)
    is_done = tf.random.stateless_uniform([], image_ops.decision_seed(of_step, 0)) < chance
    operation = tf.gather([names.index(name) for name, _, _ in steps], which)
    image = _apply(image, operations,
                   which=tf.where(is_done, operation, names.index('identity')),
                   magnitude=tf.gather([magnitude for _, _, magnitude in steps], which),
                   seed=image_ops.decision_seed(of_step, 1))
  return image


def _apply(image, operations: Mapping[str, _Operation], *, which, magnitude, seed):
  """Applies one of the operations.

  Args:
    image: see `rand_augment`.
    operations: all of them.
    which: its number; int32 scalar.
    magnitude: its bin; int32 scalar.
    seed: of the sign.
  """
  sign = 1.0 - 2.0 * tf.cast(image_ops.uniform_integer(seed, 0, 1), tf.float32)

  def branch(operation: _Operation) -> Callable:
    def apply():
      if operation.magnitudes is None:
        return operation.function(image, None)
      value = tf.gather(tf.constant(operation.magnitudes, tf.float32), magnitude)
      return operation.function(image, sign * value if operation.is_signed else value)
    return apply

  return tf.ensure_shape(tf.switch_case(which, [branch(one) for one in operations.values()]),
                         image.shape)


def jitter(image, seed, strength: float):
  """Changes brightness, contrast and saturation in a random order.

  As torchvision's `ColorJitter` with this strength for each of the three, and no change of hue.

  Args:
    image, seed: see `rand_augment`.
    strength: each factor is uniform in [1 - strength, 1 + strength], not below 0.
  """
  functions: Sequence[Callable] = (pixel_ops.brightness, pixel_ops.contrast, pixel_ops.color)
  order = tf.random.experimental.stateless_shuffle(tf.range(len(functions)),
                                                   image_ops.decision_seed(seed, 0))
  factors = tf.random.stateless_uniform(
      [len(functions)], image_ops.decision_seed(seed, 1), max(0.0, 1 - strength), 1 + strength)
  for place in range(len(functions)):
    image = tf.ensure_shape(tf.switch_case(order[place], [
        lambda number=number, now=image: functions[number](now, factors[number])
        for number in range(len(functions))]), image.shape)
  return image


def erase(image, seed, probability: float):
  """Sets a random rectangle to zero (Zhong et al. 2017, arxiv.org/abs/1708.04896).

  Areas and shapes are those of torchvision's `RandomErasing`.

  Args:
    image: float32 [height, width, channels] of a static shape, normalized.
    seed: integer tensor [2].
    probability: that a rectangle is erased.
  """
  height, width, _ = image.shape
  area = height * width * tf.random.stateless_uniform(
      [_ATTEMPTS], image_ops.decision_seed(seed, 0), *_ERASED_SHARE)
  ratio = tf.exp(tf.random.stateless_uniform(
      [_ATTEMPTS], image_ops.decision_seed(seed, 1), *np.log(_ERASED_RATIO)))
  sizes = tf.cast(tf.round(tf.sqrt(tf.stack([area * ratio, area / ratio], axis=1))), tf.int32)
  fits = tf.reduce_all(sizes < [height, width], axis=1)
  size = sizes[tf.argmax(fits)]
  shares = tf.random.stateless_uniform([2], image_ops.decision_seed(seed, 2))
  room = tf.constant([height, width]) - size
  start = tf.minimum(tf.cast(tf.cast(room + 1, tf.float32) * shares, tf.int32), room)
  rows, columns = tf.range(height)[:, tf.newaxis], tf.range(width)
  inside = ((rows >= start[0]) & (rows < start[0] + size[0])
            & (columns >= start[1]) & (columns < start[1] + size[1]))
  is_erased = tf.reduce_any(fits) & (
      tf.random.stateless_uniform([], image_ops.decision_seed(seed, 3)) < probability)
  return tf.where((inside & is_erased)[:, :, tf.newaxis], 0.0, image)


_ATTEMPTS = 10
_ERASED_SHARE, _ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)
