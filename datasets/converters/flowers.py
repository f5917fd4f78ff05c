"""TensorFlow's flower photos, or any local folder with one folder per class."""

from __future__ import annotations

import random
from pathlib import Path

import PIL.Image

from datasets import folder as folder_source
from datasets.converters import writer
from files.downloads import Resource

RESOURCES = (Resource(
    'http://download.tensorflow.org/example_images/flower_photos.tgz', 228813984,
    ('sha256', '4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c')),)
_SHARDS = 5
_SEED = 0
# Pillow's names of the formats, and those in records.
_FORMATS = {'JPEG': 'jpeg', 'PNG': 'png', 'GIF': 'gif', 'BMP': 'bmp', 'WEBP': 'webp'}


def filenames() -> list[str]:
  """The record files that `convert` writes."""
  return [_filename(split, shard) for split in ('train', 'validation') for shard in range(_SHARDS)]


def convert(source: Path, dataset_dir, *, num_validation: int = 350) -> None:
  """Converts a folder with one folder of images per class; the shuffled order is always the same.

  Args:
    source: the folder, or one that contains only this folder, like the archive.
    dataset_dir: folder to write the records to.
    num_validation: number of images in the validation split; TF-Slim's number is 350.

  Raises:
    ValueError: if the folder has another layout or too few images, or an image is damaged.
  """
  images = folder_source.get_split('folder', 'all', source)
  if not 0 < num_validation < images.num_examples:
    raise ValueError(
        f'Expected --num_validation between 1 and {images.num_examples - 1}, one less than the '
        f'number of images in {source}. Received: {num_validation}.')
  # Sorted by name, so that the seed gives one order on every file system.
  examples = sorted(zip(images.examples.names, images.examples.files, images.labels.tolist(),
                        strict=True))
  random.Random(_SEED).shuffle(examples)
  parts = {'train': examples[num_validation:], 'validation': examples[:num_validation]}
  files = {}
  for split, part in parts.items():
    size = -(-len(part) // _SHARDS)
    for shard in range(_SHARDS):
      shard_examples = part[shard * size:(shard + 1) * size]
      files[_filename(split, shard)] = (
          len(shard_examples), map(_read, (path for _, path, _ in shard_examples),
                                   (label for _, _, label in shard_examples)))
  writer.write_dataset(dataset_dir, files, images.class_names)


def _filename(split: str, shard: int) -> str:
  return f'flowers_{split}_{shard:05d}-of-{_SHARDS:05d}.tfrecord'


def _read(path: str, label: int) -> writer.Image:
  try:
    with PIL.Image.open(path) as image:
      image.load()
      image_format, (width, height) = image.format, image.size
  except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
    raise ValueError(f'Expected an image. Received: {path}, which cannot be decoded. Replace or '
                     'remove it.') from error
  if image_format not in _FORMATS:
    raise ValueError(f'Expected an image in one of the formats {", ".join(_FORMATS)}. Received: '
                     f'{path}, which is {image_format}. Convert or remove it.')
  return writer.Image(Path(path).read_bytes(), _FORMATS[image_format], height, width, label)
