"""The table of preprocessing recipes, and the functions that get one."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Callable

import tensorflow as tf

from files.errors import unknown_name
from preprocessing import (
  caffe,
  cifarnet,
  efficientnet_lite,
  inception,
  lenet,
  torchvision,
  vgg,
)
from preprocessing.augmentation import NONE, Augmentation
from preprocessing.transform import LETTERBOX, Transform


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How images are converted to a network's input.

  Attributes:
    transform: for evaluation; its normalization is also that of training.
    random_crop: (image, height, width, *, channels, seed) -> float32 [height, width, channels] in
      [0, 255], for training; None to train on the images of an evaluation.
    flip: (image, seed) -> image, applied to the crop.
    recolor: (image, seed) -> image, applied next; None if colours are not changed.
  """
  transform: Transform
  random_crop: Callable[..., tf.Tensor] | None = None
  flip: Callable[..., tf.Tensor] | None = None
  recolor: Callable[..., tf.Tensor] | None = None

  @property
  def is_random(self) -> bool:
    """Whether training images are augmented at random."""
    return self.flip is not None


def _recipe(module, transform: Transform | None = None) -> Recipe:
  return Recipe(transform or module.TRANSFORM, module.random_crop, module.flip,
                getattr(module, 'recolor', None))


PREPROCESSING = {
    'caffe': _recipe(caffe),
    'cifarnet': _recipe(cifarnet),
    'efficientnet_lite': _recipe(efficientnet_lite),
    'inception': _recipe(inception),
    'lenet': Recipe(lenet.TRANSFORM),
    'resnet_keras': _recipe(vgg, vgg.KERAS_RESNET),
    'torchvision': _recipe(torchvision),
    'vgg': _recipe(vgg),
}


# Patterns of the names of TF-Slim's networks and their siblings; the records in `nets` say the
# same.
_OF_NETWORKS = {
    'inception': (r'inception_(v[1-4]|resnet_v2)|p?nasnet_(mobile|large)'
                  r'|mobilenet_(v1|v2|edgetpu)(_\d{3})?|mobilenet_v3_(small|large)(_minimalistic)?'),
    'vgg': r'vgg_(a|16|19)|resnet_v[12]_(18|34|50|101|152|200)',
}


def code_digest() -> str:
  """Returns a digest of the recipes' source code, because any change may change the results."""
  found = hashlib.sha256()
  for path in sorted(pathlib.Path(__file__).parent.glob('*.py')):
    found.update(path.read_bytes())
  return found.hexdigest()


def get_recipe(name: str) -> Recipe:
  """Finds a recipe.

  Args:
    name: a name in `PREPROCESSING`; or of one of TF-Slim's networks, as in its preprocessing
      factory.

  Raises:
    ValueError: if it is neither.
  """
  if name not in PREPROCESSING:
    of_network = [recipe for recipe, names in _OF_NETWORKS.items() if re.fullmatch(names, name)]
    if of_network:
      return PREPROCESSING[of_network[0]]
    raise unknown_name('preprocessing', name, PREPROCESSING)
  return PREPROCESSING[name]


def is_random(name: str, augmentation: Augmentation) -> bool:
  """Returns whether a network's training images are augmented at random."""
  return get_recipe(name).is_random or augmentation.is_random


def get_preprocessing(name, is_training=False, use_grayscale=False, *, channels=3,
                      transform=None, augmentation=NONE):
  """Returns a function that converts one image to a network's input.

  Args:
    name: see `get_recipe`.
    is_training: whether to augment images at random, for training.
    use_grayscale: whether to convert to grey.
    channels: channels of the dataset's images, 1 or 3; files with other channels are converted.
    transform: a `Transform` to use instead of the recipe's. In training, its normalization is used,
      and letterboxed images are not cropped at random.
    augmentation: an `Augmentation`, which changes that of the recipe.

  Returns:
    preprocess(image, height, width, *, seed=None) -> float32 [height, width, C], where C is 1 if
    `use_grayscale` is set or `channels` is 1, else 3. `image` is a scalar string (an image file) or
    uint8 [in_height, in_width, 1 to 4]; `height` and `width` are integers; `seed` is an integer
    tensor [2], required in training by random recipes: the result is a function of it and the
    image. Runs eagerly, in graphs and in `tf.data`. It raises ValueError if the seed is missing or
    an argument is invalid, and (when run) tf.errors.InvalidArgumentError if a file cannot be
    decoded.

  Raises:
    ValueError: if `name` is not in the table or `channels` is neither 1 nor 3.
  """
  recipe = get_recipe(name)
  transform = transform or recipe.transform
  if channels not in (1, 3):
    raise ValueError(f'Expected channels to be 1 (grey) or 3 (RGB). Received: {channels!r}.')
  out_channels = 1 if use_grayscale else channels
  draws = is_training and (recipe.is_random or augmentation.is_random)

  def crop(image, height, width, *, channels, seed):
    if transform.resize_mode == LETTERBOX:
      return transform.pixels(image, height, width, channels=channels)
    if augmentation.min_crop_area is not None:
      return augmentation.random_crop(image, height, width, channels=channels, seed=seed,
                                      transform=transform)
    if recipe.random_crop is None:
      return transform.pixels(image, height, width, channels=channels)
    return recipe.random_crop(image, height, width, channels=channels, seed=seed)

  @tf.autograph.experimental.do_not_convert
  def preprocess(image, height, width, *, seed=None):
    height, width = int(height), int(width)
    if height < 1 or width < 1:
      raise ValueError('Expected an image height and width of 1 or more. '
                       f'Received: {height} and {width}.')
    if draws and seed is None:
      raise ValueError(f'Expected `seed`, an integer tensor of shape [2], because the recipe '
                       f'{name!r} is random in training. Received: None.')
    if not draws:
      return transform(image, height, width, channels=out_channels)
    image = crop(image, height, width, channels=out_channels, seed=seed)
    image = tf.ensure_shape(image, [height, width, out_channels])
    image = recipe.flip(image, seed) if recipe.flip else image
    if recipe.recolor and not augmentation.replaces_colors:
      image = recipe.recolor(image, seed)
    image = transform.normalize(augmentation.change_pixels(image, seed))
    return augmentation.change_normalized(image, seed)

  return preprocess
