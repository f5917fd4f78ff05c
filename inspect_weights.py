r"""Says what is in a file or directory of weights, and how to use it.

    python inspect_weights.py --checkpoint_path=model.bin

Prints its format, its arrays with their statistics, the network that it fits,
its classes and images, and the commands that evaluate it, predict with it and
fine-tune it. Nothing in the file is run, and its name does not matter.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Inspect


def main(parsed: Parsed[programs.Inspect]) -> int:
  """Inspects one file."""
  from slim_zoo.inspection import inspecting  # Imports TensorFlow.
  return inspecting.inspect(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
