"""Loads exports into torchvision's and timm's networks, and compares the logits.

This is the only place where the exports are loaded as a user of PyTorch does: from the file alone,
with all names and shapes required. `scripts/oracles/write_fixtures.sh exports` runs it. Prints a
Markdown table; differences are relative to the largest logit, and those between the two images
show that the logits depend on them. Fails above 1e-4.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np
import safetensors
import safetensors.torch
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import torch_models, values

_TOLERANCE = 1e-4


def load(path: pathlib.Path) -> tuple[torch.nn.Module, str]:
  """Makes the network that a file is for, and loads it; returns it and its constructor's call."""
  with safetensors.safe_open(path, 'pt') as file:
    about = file.metadata()
  name, arguments = about['architecture'], json.loads(about['arguments'])
  import timm
  import torchvision
  network = (timm.create_model(name, **arguments) if about['library'] == 'timm' else
             getattr(torchvision.models, name)(**arguments))
  network.load_state_dict(safetensors.torch.load_file(path), strict=True)
  call = ', '.join([name, *(f'{key}={value!r}' for key, value in arguments.items())])
  return network.eval(), f'{about["library"]}: {call}'


@torch.no_grad()
def differences(network: torch.nn.Module, expected: dict[str, list]) -> dict[str, tuple]:
  """Returns `{image size: (difference from ours, difference of the two images)}`."""
  found = {}
  for size, logits in expected.items():
    images = torch.from_numpy(values.images(2, int(size)).transpose(0, 3, 1, 2).copy())
    theirs, ours = network(images).numpy(), np.array(logits)
    scale = np.abs(ours).max()
    found[size] = np.abs(theirs - ours).max() / scale, np.abs(ours[0] - ours[1]).max() / scale
  return found


def main() -> None:
  """Prints one row for each export in a folder."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path, help='As write_exports.py filled it.')
  parser.add_argument('--declare_operators', action='store_true',
                      help='For a torchvision whose compiled operators do not fit PyTorch.')
  arguments = parser.parse_args()
  if arguments.declare_operators:
    torch_models.declare_operators()
  print('| network | loaded into | image size | difference | of the two images |')
  print('| --- | --- | --- | --- | --- |')
  faults = []
  for path in sorted(arguments.folder.glob('*.safetensors')):
    network, constructor = load(path)
    expected = json.loads(path.with_suffix('.json').read_text())
    for size, (difference, between) in differences(network, expected).items():
      print(f'| {path.stem} | {constructor} | {size} | {difference:.1e} | {between:.1e} |',
            flush=True)
      if not difference <= _TOLERANCE < between:
        faults.append(f'{path.stem} at {size}')
  if faults:
    sys.exit(f'Expected the same logits. Received others for {", ".join(faults)}.')


if __name__ == '__main__':
  main()
