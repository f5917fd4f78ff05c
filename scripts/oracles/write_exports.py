"""Exports networks with random weights for PyTorch, and writes their logits.

`scripts/oracles/write_fixtures.sh exports` runs this and then `compare_exports.py`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import exports, values
from slim_zoo.export import torch_file
from slim_zoo.export.model import LOGITS


def main() -> None:
  """Writes `<network>.safetensors` and `<network>.json`, `{image size: logits}`."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('names', nargs='*', help='Names in torch_file.NETWORKS; all by default.')
  arguments = parser.parse_args()
  for name in arguments.names or torch_file.NETWORKS:
    sizes = exports.sizes(name)
    model = exports.model(name, sizes[0])
    torch_file.write(model, arguments.folder / f'{name}.safetensors')
    (arguments.folder / f'{name}.json').write_text(json.dumps({
        size: model.outputs(values.images(2, size))[LOGITS].numpy().tolist() for size in sizes}))
    print(name, flush=True)


if __name__ == '__main__':
  main()
