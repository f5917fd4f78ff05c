"""Writes the pixels of photos, for environments without TensorFlow."""

from __future__ import annotations

import pathlib
import sys

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import photos


def main() -> None:
  """Writes the photos of a folder (first argument) to an .npz file (second argument)."""
  found = photos.read(pathlib.Path(sys.argv[1]))
  np.savez(sys.argv[2], names=found.names, labels=found.labels, pixels=found.pixels)


if __name__ == '__main__':
  main()
