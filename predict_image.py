"""Predicts the classes of images with a trained network.

    python predict_image.py --checkpoint_path=run photo.jpg directory_of_photos

Directories are searched for images, with their subdirectories. Images that
cannot be decoded are named and skipped; the exit code is then 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Predict


def main(parsed: Parsed[programs.Predict], arguments: Sequence[str]) -> int:
  """Predicts the classes of the images that the arguments name."""
  from slim_zoo.evaluation import prediction  # Imports TensorFlow.
  return prediction.predict(parsed, arguments)


if __name__ == '__main__':
  command_line.run(main, OPTIONS, takes_arguments=True)
