"""Writes the names and shapes of our networks' variables, for environments without TensorFlow."""

from __future__ import annotations

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from nets import nets_factory, outline

CLASSES = 10


def main() -> None:
  """Writes `{network: {variable: shape}}` to the given file."""
  shapes = {}
  for name in nets_factory.list_nets():
    size = nets_factory.get_net(name).image_size
    found = outline.trace(name, CLASSES, image_shape=[size, size, 3])
    shapes[name] = {**found.trainable, **found.others}
  pathlib.Path(sys.argv[1]).write_text(json.dumps(shapes))


if __name__ == '__main__':
  main()
