"""Splits a feature file at random: a tenth of each class for testing, the rest for training.

    python scripts/experiments/split_features.py --features=flowers.npz --seed=1 --output_dir=1

Writes train.npz and test.npz. A different seed gives a different split.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys

import numpy as np
import sklearn.model_selection
from absl import flags

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # Before TensorFlow is imported.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from slim_zoo.config import command_line
from slim_zoo.config import option as options
from slim_zoo.features import formats, npz
from slim_zoo.features.features import Features

FLAGS = flags.FLAGS


def define_flags() -> None:
  """Defines this script's flags."""
  options.define_path('features', None, 'Feature file to split.')
  flags.DEFINE_integer('seed', 0, 'Random seed of the split.', lower_bound=0)
  flags.DEFINE_float('fraction', 0.1, 'Fraction of the examples for testing.', lower_bound=0.001,
                     upper_bound=0.9)
  options.define_path('output_dir', None, 'Directory for the two files.', is_written=True)


def select(features: Features, rows: np.ndarray) -> Features:
  """Returns the features of some rows, int64 [n]."""
  return dataclasses.replace(features, values=features.values[rows], labels=features.labels[rows],
                             names=tuple(features.names[row] for row in rows))


def main() -> int:
  """Writes both files."""
  if not FLAGS.features or not FLAGS.output_dir:
    raise ValueError('Expected --features and --output_dir. Received: '
                     f'{FLAGS.features or ""} and {FLAGS.output_dir or ""}.')
  features = formats.read(FLAGS.features)
  rows = sklearn.model_selection.train_test_split(
      np.arange(len(features.labels)), test_size=FLAGS.fraction, random_state=FLAGS.seed,
      stratify=features.labels)
  folder = pathlib.Path(FLAGS.output_dir)
  folder.mkdir(parents=True, exist_ok=True)
  for name, chosen in zip(('train', 'test'), map(np.sort, rows), strict=True):
    npz.write(folder / f'{name}.npz', select(features, chosen))
  print(f'Wrote {len(rows[0])} training and {len(rows[1])} test examples to {folder}.')
  return 0


if __name__ == '__main__':
  define_flags()
  command_line.run(main)
