r"""Converts weights of any format to a TF-Slim checkpoint with metadata.

    python convert_weights.py --checkpoint_path=resnet18-f37072fd.pth \
      --model_name=resnet_v1_18 --output_dir=resnet18

TF-Slim's programs can read the result, `resnet18/model.ckpt-0`, and so can the
programs of this project.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Convert


def main(parsed: Parsed[programs.Convert]) -> int:
  """Converts one file."""
  from slim_zoo.weights import conversion  # Imports TensorFlow.
  return conversion.convert(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
