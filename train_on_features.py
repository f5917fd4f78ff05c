r"""Trains a classifier on saved features, for the network that they came from.

    python train_on_features.py --training_file=train.npz \
      --validation_file=validation.npz --train_dir=run

The files are those of extract_features.py, or pickles of a dict with `features`
and `labels`. `run` then holds the whole network, for images, and `run/head` the
classifier alone. The same command continues where the run stopped.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.TrainOnFeatures


def main(parsed: Parsed[programs.TrainOnFeatures]) -> int:
  """Trains one classifier."""
  from slim_zoo.features import head_training  # Imports TensorFlow.
  return head_training.train(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
