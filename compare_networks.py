r"""Compares pretrained networks on your photos: which of them to take.

    python compare_networks.py --dataset_dir=photos --output_dir=compared \
      --checkpoint_paths=zoo:mobilenet_v1_1.0_224,vgg_16=vgg16.npy --minutes=10

Each network computes its features of the training split once. A linear
classifier on them is cross-validated, and the best network is written with its
classifier. The same command continues an interrupted comparison.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Compare


def main(parsed: Parsed[programs.Compare]) -> int:
  """Compares the networks."""
  from slim_zoo.comparison import comparing  # Imports TensorFlow.
  return comparing.compare(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
