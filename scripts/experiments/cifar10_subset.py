"""Writes the images of the experiment "bottleneck features, 100 images per class".

    python scripts/experiments/cifar10_subset.py --dataset_dir=data/cifar10 \
      --output_dir=data/cifar10_100

They are the first 100 training images of each class of CIFAR-10, and all 10,000 test images or the
first --test_images_per_class of each class. They are written to `train` and `validation` as one
folder of PNG files per class, for --dataset_name=folder. The records to read come from
download_and_convert_data.py.

The published experiment (https://github.com/udacity/CarND-Transfer-Learning-Lab) drew its images at
random and validated on 10,000 of the 50,000 training images.
"""

from __future__ import annotations

import collections
import os
import pathlib
import shutil
import sys

from absl import flags

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from datasets import dataset_factory
from datasets.dataset import Dataset
from slim_zoo.config import command_line
from slim_zoo.config import option as options

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines this script's flags."""
  options.define_path('dataset_dir', None, "Directory with CIFAR-10's TFRecord files.")
  options.define_path('output_dir', None, 'Directory to create.',
                         is_written=True)
  flags.DEFINE_integer('images_per_class', 100, 'Training images per class.', lower_bound=1)
  flags.DEFINE_integer('test_images_per_class', None, 'Test images per class; by default all.',
                       lower_bound=1)


def write(dataset: Dataset, folder: pathlib.Path, most: int | None) -> int:
  """Writes the first images of each class, as '<number in the split>.png'.

  Args:
    dataset: a split of PNG images.
    folder: directory for one folder per class.
    most: number of images per class; None for all.

  Returns:
    The number of images.

  Raises:
    ValueError: if a class has too few.
  """
  counts = collections.Counter()
  for number, example in enumerate(dataset.epoch(0).as_numpy_iterator()):
    name = dataset.class_names[example['label']]
    if counts[name] != most:
      counts[name] += 1
      path = folder / name / f'{number:05d}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(example['image'])
  for name in dataset.class_names:
    if most and counts[name] < most:
      raise ValueError(f'Expected {most} images of {name} in the split {dataset.split_name!r}. '
                       f'Received: {counts[name]}. Ask for fewer.')
  return counts.total()


def main() -> int:
  """Writes both splits, or none if one fails."""
  if not FLAGS.dataset_dir or not FLAGS.output_dir:
    raise ValueError('Expected --dataset_dir and --output_dir. Received: '
                     f'{FLAGS.dataset_dir or ""} and {FLAGS.output_dir or ""}.')
  output = pathlib.Path(FLAGS.output_dir)
  if output.exists():
    raise ValueError(f'--output_dir={output}: expected a path that does not exist yet.')
  aside = output.with_name(f'{output.name}.part')
  shutil.rmtree(aside, ignore_errors=True)
  counts = []
  for split, folder, most in (('train', 'train', FLAGS.images_per_class),
                              ('test', 'validation', FLAGS.test_images_per_class)):
    dataset = dataset_factory.get_dataset('cifar10', split, FLAGS.dataset_dir,
                                          validation_fraction=0)
    counts.append(write(dataset, aside / folder, most))
  os.replace(aside, output)
  print(f'Wrote {counts[0]} training and {counts[1]} validation images to {output}. Use them with '
        f'--dataset_name=folder --dataset_dir={output}.')
  return 0


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
