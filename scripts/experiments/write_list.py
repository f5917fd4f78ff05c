"""Writes a list of the images in a folder, for experiments that read one.

    python scripts/experiments/write_list.py --dataset_dir=photos --output_path=lists/train.txt

A `.txt` file has lines `path label`, with labels counted from 0; a `.csv` file has a header, the
path in the first column and the class name in the second.
"""

from __future__ import annotations

import csv
import os
import pathlib
import sys

from absl import flags

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from datasets import dataset_factory
from slim_zoo.config import command_line
from slim_zoo.config import option as options

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines this script's flags."""
  options.define_path('dataset_dir', None, 'Directory with one folder of images per class.')
  options.define_path('output_path', None, 'List to write, a .txt or .csv file.',
                         is_written=True)


def main() -> int:
  """Writes the list."""
  if not FLAGS.dataset_dir or not FLAGS.output_path:
    raise ValueError('Expected --dataset_dir and --output_path. Received: '
                     f'{FLAGS.dataset_dir or ""} and {FLAGS.output_path or ""}.')
  path = pathlib.Path(FLAGS.output_path)
  if path.suffix not in ('.txt', '.csv'):
    raise ValueError(f'--output_path: expected a .txt or .csv file. Received: {path}.')
  dataset = dataset_factory.get_dataset('folder', 'train', FLAGS.dataset_dir,
                                        validation_fraction=0)
  images = list(zip(map(os.path.abspath, dataset.examples.files), dataset.labels, strict=True))
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.open('w', newline='', encoding='utf-8', errors='surrogateescape') as file:
    if path.suffix == '.txt':
      file.writelines(f'{name} {label}\n' for name, label in images)
    else:
      writer = csv.writer(file, lineterminator='\n')
      writer.writerow(['image', 'class'])
      writer.writerows((name, dataset.class_names[label]) for name, label in images)
  print(f'Wrote {len(images)} images of {dataset.num_classes} classes to {path}.')
  return 0


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
