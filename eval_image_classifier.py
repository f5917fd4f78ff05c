r"""Evaluates a checkpoint: top-1, top-5, loss, and the recall of each class.

    python eval_image_classifier.py --checkpoint_path=run \
      --dataset_name=folder --dataset_dir=photos --dataset_split_name=validation

Every example of the split counts once. A checkpoint of this project tells its
network, its classes and its preprocessing.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Evaluate
RETIRED = programs.RETIRED_IN_EVALUATION


def main(parsed: Parsed[programs.Evaluate]) -> int:
  """Evaluates one checkpoint."""
  from slim_zoo.evaluation import evaluation  # Imports TensorFlow.
  return evaluation.evaluate(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS, retired=RETIRED)
