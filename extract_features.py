r"""Extracts features: what a network computes for each image of a split.

    python extract_features.py --checkpoint_path=zoo:mobilenet_v1_1.0_224 \
      --dataset_name=folder --dataset_dir=photos --dataset_split_name=train \
      --output_path=train.npz

The rows are in the order of the source, one per image. The same command
continues an interrupted extraction.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Extract


def main(parsed: Parsed[programs.Extract]) -> int:
  """Extracts the features of one split."""
  from slim_zoo.features import extraction  # Imports TensorFlow.
  return extraction.extract(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
