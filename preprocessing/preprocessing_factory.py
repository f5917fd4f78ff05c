"""The table of preprocessing recipes, and the functions that get one."""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
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


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How images are converted to a network's input.

  Attributes:
    preprocess_for_train: (image, height, width, *, channels) -> float32 [height, width, channels];
      also takes `seed` if the recipe is random.
    preprocess_for_eval: the same without `seed`.
    values: the order of the channels, and the formula for `value` in [0, 255] of red, green and
      blue; for users who prepare images by other means. Grey images use the luma of its numbers.
    is_random: whether the training function is random.
  """
  preprocess_for_train: Callable[..., tf.Tensor]
  preprocess_for_eval: Callable[..., tf.Tensor]
  _: dataclasses.KW_ONLY
  values: str
  is_random: bool = True


PREPROCESSING = {
    'caffe': Recipe(caffe.preprocess_for_train, caffe.preprocess_for_eval,
                    values='BGR: value - (104, 117, 124)'),
    'cifarnet': Recipe(cifarnet.preprocess_for_train, cifarnet.preprocess_for_eval,
                       values='RGB: (value - mean) / deviation, over all values of the image'),
    'efficientnet_lite': Recipe(efficientnet_lite.preprocess_for_train,
                                efficientnet_lite.preprocess_for_eval,
                                values='RGB: (value - 127) / 128'),
    'inception': Recipe(inception.preprocess_for_train, inception.preprocess_for_eval,
                        values='RGB: value / 127.5 - 1'),
    'lenet': Recipe(lenet.preprocess, lenet.preprocess, values='RGB: (value - 128) / 128',
                    is_random=False),
    'torchvision': Recipe(torchvision.preprocess_for_train, torchvision.preprocess_for_eval,
                          values='RGB: (value - (123.675, 116.28, 103.53)) / '
                          '(58.395, 57.12, 57.375)'),
    'vgg': Recipe(vgg.preprocess_for_train, vgg.preprocess_for_eval,
                  values='RGB: value - (123.68, 116.78, 103.94)'),
}


def code_digest() -> str:
  """Returns a digest of the recipes' source code, because any change may change the results."""
  found = hashlib.sha256()
  for path in sorted(pathlib.Path(__file__).parent.glob('*.py')):
    found.update(path.read_bytes())
  return found.hexdigest()


def get_recipe(name: str) -> Recipe:
  """Finds a recipe.

  Raises:
    ValueError: if `name` is not in the table.
  """
  if name not in PREPROCESSING:
    raise unknown_name('preprocessing', name, PREPROCESSING)
  return PREPROCESSING[name]


def get_preprocessing(name, is_training=False, use_grayscale=False, *, channels=3):
  """Returns a function that converts one image to a network's input.

  Args:
    name: a name in `PREPROCESSING`.
    is_training: whether to augment images at random, for training.
    use_grayscale: whether to convert to grey.
    channels: channels of the dataset's images, 1 or 3; files with other channels are converted.

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
  if channels not in (1, 3):
    raise ValueError(f'Expected channels to be 1 (grey) or 3 (RGB). Received: {channels!r}.')
  out_channels = 1 if use_grayscale else channels
  draws = is_training and recipe.is_random
  function = recipe.preprocess_for_train if is_training else recipe.preprocess_for_eval

  def preprocess(image, height, width, *, seed=None):
    height, width = int(height), int(width)
    if height < 1 or width < 1:
      raise ValueError('Expected an image height and width of 1 or more. '
                       f'Received: {height} and {width}.')
    if draws and seed is None:
      raise ValueError(f'Expected `seed`, an integer tensor of shape [2], because the recipe '
                       f'{name!r} is random in training. Received: None.')
    arguments = {'seed': seed} if draws else {}
    result = function(image, height, width, channels=out_channels, **arguments)
    return tf.ensure_shape(result, [height, width, out_channels])

  return preprocess
