r"""Trains an image classifier, from scratch or from a checkpoint.

    python train_image_classifier.py --train_dir=run --recipe=finetune \
      --dataset_name=folder --dataset_dir=photos \
      --checkpoint_path=zoo:mobilenet_v1_1.0_224

The same command continues where the run stopped.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Train
RETIRED = programs.RETIRED_IN_TRAINING


def main(parsed: Parsed[programs.Train]) -> int:
  """Trains, in --phases if there are any."""
  from slim_zoo.training import session  # Imports TensorFlow.
  return session.train(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS, retired=RETIRED)
