"""Augmentation of training images beyond that of the networks' recipes."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from preprocessing import decoding, image_ops, policies, resizing, torchvision
from preprocessing.transform import Transform

POLICIES = ('auto_augment', 'rand_augment', 'trivial_augment')
# The random decisions about an image, each with its own seed. Recipes have the numbers below.
_BOX, _VERTICAL, _JITTER, _POLICY, _ERASE = range(100, 105)


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What is done to training images instead of what the network's recipe does, or as well.

  Attributes:
    min_crop_area: smallest share of an image's area in a random crop, in (0, 1]; replaces the crop
      of the recipe. None leaves the recipe's.
    vertical_flip: whether half of the images are turned upside down.
    color_jitter: strength of the changes of brightness, contrast and saturation, which replace the
      recipe's; see `policies.jitter`. None leaves the recipe's.
    augmentation_policy: one of `POLICIES`, which replaces the recipe's changes of colours as well;
      see `policies`.
    rand_augment_operations, rand_augment_magnitude: of RandAugment.
    erasing_probability: share of images of which a rectangle is erased.
  """
  min_crop_area: float | None = None
  vertical_flip: bool = False
  color_jitter: float | None = None
  augmentation_policy: str | None = None
  rand_augment_operations: int = 2
  rand_augment_magnitude: int = 9
  erasing_probability: float = 0.0

  @property
  def is_random(self) -> bool:
    """Whether it changes images at random."""
    return self.replaces_colors or self.vertical_flip or self.erasing_probability > 0 or (
        self.min_crop_area is not None)

  @property
  def replaces_colors(self) -> bool:
    """Whether the recipe's changes of colours are left out."""
    return self.color_jitter is not None or self.augmentation_policy is not None

  def random_crop(self, image, height, width, *, channels, seed, transform: Transform):
    """Crops a random box, and resizes it without keeping its aspect ratio.

    Width / height of the box is in [3/4, 4/3], as in Inception's training
    (https://arxiv.org/abs/1409.4842, section 6).

    Args:
      image: scalar string (a file), or uint8 [in_height, in_width, 1 to 4].
      height, width: size of the result, in pixels.
      channels: 3, or 1 for grey.
      seed: integer tensor [2]; the result is a function of it and the image.
      transform: of the evaluation; its interpolation is used.

    Returns:
      float32 [height, width, channels] in [0, 255].
    """
    resize = resizing.INTERPOLATIONS[transform.interpolation]
    image = decoding.open_image(image, channels, dct_method=resize.dct_method)
    in_height, in_width = decoding.shape_of(image)
    box = torchvision.random_box(in_height, in_width, image_ops.decision_seed(seed, _BOX),
                                 least_area=self.min_crop_area)
    return resize.resize(decoding.crop(image, box), height, width)

  def change_pixels(self, image, seed):
    """Flips upside down, and changes colours: what precedes the normalization.

    Args:
      image: float32 [height, width, channels] in [0, 255].
      seed: integer tensor [2]; the result is a function of it and the image.

    Returns:
      float32 [height, width, channels] in [0, 255].
    """
    if self.vertical_flip:
      image = tf.image.stateless_random_flip_up_down(
          image, image_ops.decision_seed(seed, _VERTICAL))
    if not self.replaces_colors:
      return image
    pixels = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.int32)
    if self.color_jitter is not None:
      pixels = policies.jitter(pixels, image_ops.decision_seed(seed, _JITTER), self.color_jitter)
    of_policy = image_ops.decision_seed(seed, _POLICY)
    if self.augmentation_policy == 'rand_augment':
      pixels = policies.rand_augment(pixels, of_policy,
                                     num_operations=self.rand_augment_operations,
                                     magnitude=self.rand_augment_magnitude)
    elif self.augmentation_policy == 'trivial_augment':
      pixels = policies.trivial_augment(pixels, of_policy)
    elif self.augmentation_policy == 'auto_augment':
      pixels = policies.auto_augment(pixels, of_policy)
    return tf.cast(pixels, tf.float32)

  def change_normalized(self, image, seed):
    """Erases a rectangle: what follows the normalization; float32 [height, width, channels]."""
    if not self.erasing_probability:
      return image
    return policies.erase(image, image_ops.decision_seed(seed, _ERASE), self.erasing_probability)


NONE = Augmentation()
