"""The contenders of `benchmark.py` for the input pipeline: photos on disk to training batches.

All read a directory with one folder of photos per class, shuffled, and give batches of float32
images of one size with labels. Ours does what the network's preprocessing does in training. The
others do what is usual there: torchvision crops a random box and flips it, Keras resizes the whole
image, crops a little and flips. RandAugment is each one's own.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable

AUGMENTATIONS = ('none', 'rand_augment')

_CROP_RATIO = 256 / 224  # Of the size that Keras resizes to, before its crop.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class Photos:
  """What to read, and how.

  Attributes:
    folder: directory with one folder of photos per class.
    augmentation: one of `AUGMENTATIONS`, beside the random crop and flip.
    network: name of the network whose preprocessing ours uses.
    batch_size, image_size: of the batches.
  """
  folder: str
  augmentation: str
  network: str
  batch_size: int
  image_size: int


def _threads() -> int:
  return int(os.environ.get('OMP_NUM_THREADS', 0)) or os.cpu_count() or 1


def _draw(batches: Iterable, count: int) -> None:
  """Draws batches from a new iterator: an old one would have some ready, made out of turn."""
  iterator = iter(batches)
  for _ in range(count):
    next(iterator)


def ours(photos: Photos) -> Callable[[int], None]:
  """This project's training batches."""
  from datasets import dataset_factory
  from nets import nets_factory
  from preprocessing import preprocessing_factory
  from preprocessing.augmentation import Augmentation
  from slim_zoo.training.inputs import Inputs
  data = dataset_factory.get_dataset('folder', 'train', photos.folder, validation_fraction=0)
  name = nets_factory.get_net(photos.network).preprocessing
  policy = None if photos.augmentation == 'none' else photos.augmentation
  inputs = Inputs(data, list(range(data.num_classes)), (), preprocessing_name=name,
                  transform=preprocessing_factory.get_recipe(name).transform, channels=3,
                  image_size=photos.image_size,
                  augmentation=Augmentation(augmentation_policy=policy))
  return functools.partial(_draw, inputs.training_batches(batch_size=photos.batch_size, seed=0,
                                                          start_step=0))


def roof(photos: Photos) -> Callable[[int], None]:
  """Files read and decoded, as TensorFlow does it by default, and nothing else."""
  import pathlib

  import tensorflow as tf
  paths = sorted(str(path) for path in pathlib.Path(photos.folder).glob('*/*') if path.is_file())
  files = tf.data.Dataset.from_tensor_slices(paths).shuffle(len(paths), seed=0).repeat()
  images = files.map(
      lambda path: tf.shape(tf.io.decode_image(tf.io.read_file(path), channels=3,
                                               expand_animations=False)),
      num_parallel_calls=tf.data.AUTOTUNE)
  return functools.partial(_draw, images.batch(photos.batch_size).prefetch(tf.data.AUTOTUNE))


def keras(photos: Photos) -> Callable[[int], None]:
  """Keras' `image_dataset_from_directory` with its layers of augmentation."""
  import keras
  import tensorflow as tf
  side = round(photos.image_size * _CROP_RATIO)
  policy = [keras.layers.RandAugment(value_range=(0, 255))]
  layers = [keras.layers.RandomCrop(photos.image_size, photos.image_size),
            keras.layers.RandomFlip('horizontal'),
            *(policy if photos.augmentation == 'rand_augment' else []),
            keras.layers.Rescaling(1 / 127.5, -1)]

  def augment(images, labels):
    for layer in layers:
      images = layer(images, training=True) if layer is not layers[-1] else layer(images)
    return images, labels

  data = keras.utils.image_dataset_from_directory(
      photos.folder, image_size=(side, side), batch_size=photos.batch_size, seed=0, verbose=False)
  data = data.filter(lambda images, labels: tf.shape(images)[0] == photos.batch_size)
  data = data.map(augment, num_parallel_calls=tf.data.AUTOTUNE).repeat()
  return functools.partial(_draw, data.prefetch(tf.data.AUTOTUNE))


def torch(photos: Photos) -> Callable[[int], None]:
  """A `DataLoader` of torchvision's `ImageFolder`, with a worker per thread."""
  import torch
  import torchvision
  from torchvision import transforms
  policy = [transforms.RandAugment()] if photos.augmentation == 'rand_augment' else []
  data = torchvision.datasets.ImageFolder(photos.folder, transforms.Compose([
      transforms.RandomResizedCrop(photos.image_size), transforms.RandomHorizontalFlip(), *policy,
      transforms.ToTensor(), transforms.Normalize(_MEAN, _DEVIATION)]))
  loader = torch.utils.data.DataLoader(data, photos.batch_size, shuffle=True, drop_last=True,
                                       num_workers=_threads())
  if not len(loader):
    raise ValueError(f'--folder={photos.folder}: expected at least {photos.batch_size} photos, one '
                     f'batch. Received: {len(data)}.')

  def run(count: int) -> None:
    _draw(itertools.chain.from_iterable(itertools.repeat(loader)), count)

  return run


# The function of a contender, and the packages it runs on.
CONTENDERS: dict[str, tuple[Callable, tuple[str, ...]]] = {
    'ours': (ours, ('tensorflow',)), 'roof': (roof, ('tensorflow',)),
    'torch': (torch, ('torch', 'torchvision')), 'keras': (keras, ('tensorflow', 'keras'))}
