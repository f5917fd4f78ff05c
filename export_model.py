"""Exports a network as a SavedModel, a TensorFlow Lite model or a frozen graph.

    python export_model.py --checkpoint_path=run --output_path=flowers
    python export_model.py --checkpoint_path=run --output_path=flowers.tflite
    python export_model.py --checkpoint_path=run --output_path=flowers.pb

All take float32 images that are already preprocessed, and return `logits` and
`probabilities`. The SavedModel also has the signature `serving_bytes`, which
takes image files and preprocesses them as an evaluation does. The network, its
inputs and its classes are described in `model.json` and `labels.txt` in the
directory, or in `flowers.pb.json` and `flowers.pb.labels.txt` next to the file.

Every export computes in float32, and is only kept if its logits are the
network's.
"""

from __future__ import annotations

from slim_zoo.config import command_line, programs
from slim_zoo.config.flag_values import Parsed

OPTIONS = programs.Export


def main(parsed: Parsed[programs.Export]) -> int:
  """Exports one network."""
  from slim_zoo.export import exporting  # Imports TensorFlow.
  return exporting.export(parsed)


if __name__ == '__main__':
  command_line.run(main, OPTIONS)
