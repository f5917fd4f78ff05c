r"""Exports a network for servers, phones and other programs.

    python export_model.py --checkpoint_path=run --output_path=flowers
    python export_model.py --checkpoint_path=run --output_path=a.onnx,a.pb
    python export_model.py --checkpoint_path=run --output_path=a.int8.tflite \
      --dataset_name=folder --dataset_dir=photos

All take prepared images; the SavedModel also takes image files, and pixels of
any size. `model.json` and `labels.txt` in its directory, or `a.pb.json` and
`a.pb.labels.txt` beside a file, describe images, inputs and classes.

Every export is compared with the network, on random images and on those of a
dataset. It is kept if it computes the same, or is about as accurate.
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
