"""Draws every augmentation of training images on one photo.

    python scripts/draw_augmentations.py --output_path=docs/augmentations.png

The photo is `flower.jpg` of scikit-learn, or --photo. Operations have their magnitude of
RandAugment's default, 9 of 30; the others are drawn with two seeds.
"""

from __future__ import annotations

import dataclasses
import io
import os
import pathlib
import sys
from collections.abc import Iterator

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
import PIL.Image
import PIL.ImageDraw
import tensorflow as tf
from absl import flags
from sklearn.datasets import load_sample_image

from preprocessing import policies, preprocessing_factory
from preprocessing.augmentation import Augmentation
from slim_zoo.config import command_line
from slim_zoo.config import option as options
from slim_zoo.training.mixing import Mixing

FLAGS = flags.FLAGS

_SIZE, _COLUMNS, _MARGIN, _TEXT = 128, 6, 6, 16
_MAGNITUDE = 9
_DRAWN = (('min_crop_area=0.35', {'min_crop_area': 0.35}),
          ('vertical_flip', {'vertical_flip': True}),
          ('color_jitter=0.4', {'color_jitter': 0.4}),
          ('rand_augment', {'augmentation_policy': 'rand_augment'}),
          ('trivial_augment', {'augmentation_policy': 'trivial_augment'}),
          ('auto_augment', {'augmentation_policy': 'auto_augment'}),
          ('erasing_probability=1', {'erasing_probability': 1.0}))


def define_flags() -> None:
  """Defines this script's flags."""
  options.define_path('photo', None, "A photo; by default scikit-learn's flower.jpg.")
  options.define_path('output_path', None, 'A .png file for the picture.', is_written=True)


def tiles(photo: bytes, other: bytes) -> Iterator[tuple[str, np.ndarray]]:
  """Yields names and pictures, uint8 [height, width, 3].

  Args:
    photo: an encoded image.
    other: the image to mix it with.
  """
  whole = {'min_crop_area': 1.0}
  photo_only = _prepared(photo, seed=0, **whole)
  yield 'photo', photo_only
  operations = policies._usual(policies.BINS, _SIZE)
  for name, operation in operations.items():
    if name == 'identity':
      continue
    magnitude = None if operation.magnitudes is None else tf.constant(
        operation.magnitudes[_MAGNITUDE], tf.float32)
    yield name, operation.function(tf.constant(photo_only, tf.int32), magnitude).numpy()
  for name, chosen in _DRAWN:
    for seed in (1, 2):
      yield name, _prepared(photo, seed=seed, **{**whole, **chosen})
  pair = tf.stack([photo_only, _prepared(other, seed=0, **whole)])
  for name, mixing in (('mixup_alpha=1', Mixing(mixup_alpha=1.0)),
                       ('cutmix_alpha=1', Mixing(cutmix_alpha=1.0))):
    for seed in (1, 2):
      images, _ = mixing(tf.cast(pair, tf.float32), tf.eye(2), weights=tf.ones(2),
                         seed=tf.constant([seed, 0], tf.int64))
      yield name, images[0].numpy()


def _prepared(photo: bytes, *, seed: int, **chosen) -> np.ndarray:
  """Prepares a training image, with a grey of 127.5 as the mean."""
  transform = dataclasses.replace(preprocessing_factory.get_recipe('torchvision').transform,
                                  mean=(127.5,) * 3, scale=(1.0,) * 3)
  function = preprocessing_factory.get_preprocessing(
      'torchvision', True, transform=transform, augmentation=Augmentation(**chosen))
  image = function(tf.constant(photo), _SIZE, _SIZE, seed=tf.constant([seed, 0]))
  return np.clip(image.numpy() + 127.5, 0, 255)


def main() -> int:
  """Draws the picture."""
  if not FLAGS.output_path:
    raise ValueError('--output_path: expected a .png file. Received: none.')
  photo = (pathlib.Path(FLAGS.photo).read_bytes() if FLAGS.photo else
           _encoded(load_sample_image('flower.jpg')))
  drawn = list(tiles(photo, _encoded(load_sample_image('china.jpg'))))
  rows = -(-len(drawn) // _COLUMNS)
  width, height = _SIZE + _MARGIN, _SIZE + _MARGIN + _TEXT
  sheet = PIL.Image.new('RGB', (_COLUMNS * width + _MARGIN, rows * height + _MARGIN), 'white')
  write = PIL.ImageDraw.Draw(sheet)
  for number, (name, pixels) in enumerate(drawn):
    left = _MARGIN + number % _COLUMNS * width
    top = _MARGIN + number // _COLUMNS * height
    sheet.paste(PIL.Image.fromarray(np.asarray(pixels).astype(np.uint8)), (left, top + _TEXT))
    write.text((left, top + 2), name, fill='black')
  sheet.save(FLAGS.output_path, optimize=True)
  print(f'Drew {len(drawn)} pictures: {FLAGS.output_path}')
  return 0


def _encoded(pixels: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  PIL.Image.fromarray(pixels).save(buffer, 'PNG')
  return buffer.getvalue()


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
