"""Augmentation of training images beyond that of the networks' recipes."""

from __future__ import annotations

import dataclasses

from preprocessing import decoding, image_ops, resizing, torchvision
from preprocessing.transform import Transform

# The random decisions about an image, each with its own seed. Recipes have the numbers below.
_BOX = 100


@dataclasses.dataclass(frozen=True)
class Augmentation:
  """What is done to training images instead of what the network's recipe does, or as well.

  Attributes:
    min_crop_area: smallest share of an image's area in a random crop, in (0, 1]; replaces the crop
      of the recipe. None leaves the recipe's.
  """
  min_crop_area: float | None = None

  @property
  def is_random(self) -> bool:
    """Whether it changes images at random."""
    return self != NONE

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


NONE = Augmentation()
