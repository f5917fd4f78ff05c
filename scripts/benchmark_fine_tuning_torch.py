"""The PyTorch contender of `benchmark_fine_tuning.py`: a network as fastai fine-tunes it.

    python benchmark_fine_tuning_torch.py '{"model_name": "mobilenet_v1", …}'

The schedule is that of fastai's `fine_tune`: an epoch of the head alone, then all layers, with
rates from 1/200 of the base rate at the images to a half of it at the head, and one cycle of rate
and momentum each time (https://docs.fast.ai/callback.schedule.html). AdamW has fastai's settings,
and the loss its label smoothing. The crops and colours are those of this project's recipe, so that
only the training differs. Only PyTorch, NumPy and Pillow are imported, and timm for its networks.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import platform
import random
import sys
import time
from collections.abc import Callable

import benchmark_transfer_torch
import numpy as np
import PIL.Image
import PIL.ImageEnhance

_BASE_RATE, _LOWEST = 2e-3, 1 / 100
_START, _DIVISION, _END = 0.3, 5.0, 1e5
_RATIO = (3 / 4, 4 / 3)


@dataclasses.dataclass(frozen=True)
class Trunk:
  """A network without its last layer.

  Attributes:
    build: returns, from the path of the weights, the module that computes the features, and its
      layers in their order.
    mean, scale: pixels are (value - mean) / scale, of values in [0, 255].
  """
  build: Callable
  mean: float
  scale: float

  def pixels(self, image: PIL.Image.Image) -> np.ndarray:
    """What the network takes, float32 [3, height, width]."""
    return (np.asarray(image, np.float32).transpose(2, 0, 1) - self.mean) / self.scale


def _mobilenet_v1(weights: str) -> tuple:
  """From an .npz file with TF-Slim's names."""
  with np.load(weights) as arrays:
    trunk = benchmark_transfer_torch.mobilenet_v1(arrays)
  return trunk, [module for module in trunk if list(module.parameters())]


def _efficientnet_lite0(weights: str) -> tuple:
  """From an .npz file of a state dict whose arrays have the order of timm's, by whatever names."""
  import timm
  import torch
  from torch import nn
  trunk = timm.create_model('tf_efficientnet_lite0', num_classes=1000)
  with np.load(weights) as arrays:
    tensors = [torch.from_numpy(arrays[name]) for name in arrays.files
               if not name.endswith('num_batches_tracked')]
  names = [name for name in trunk.state_dict() if not name.endswith('num_batches_tracked')]
  trunk.load_state_dict(dict(zip(names, tensors, strict=True)), strict=False)
  trunk.reset_classifier(0)
  return trunk, [nn.ModuleList([trunk.conv_stem, trunk.bn1]),
                 *(block for stage in trunk.blocks for block in stage),
                 nn.ModuleList([trunk.conv_head, trunk.bn2])]


TRUNKS = {'mobilenet_v1': Trunk(_mobilenet_v1, 127.5, 127.5),
          'efficientnet_lite0': Trunk(_efficientnet_lite0, 127, 128)}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to train.

  Attributes:
    model_name: a key of `TRUNKS`.
    weights: path of its weights.
    examples: a JSON file, {'train': [[path, label], …], 'validation': …}.
    epochs: number of epochs of all layers, after one of the head.
    seed: of everything random.
    predictions: the file for the predicted label of each validation image, in JSON.
    min_crop_area: smallest share of a random crop.
    batch_size, image_size: of the images.
  """
  model_name: str
  weights: str
  examples: str
  epochs: int
  seed: int
  predictions: str
  min_crop_area: float = 0.35
  batch_size: int = 32
  image_size: int = 224


class TrainingPhotos:
  """A dataset for PyTorch's `DataLoader`: random crops, flips, brightness and saturation."""

  def __init__(self, examples: list, settings: Settings):
    self._examples, self._settings = examples, settings

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    path, label = self._examples[index]
    with PIL.Image.open(path) as file:
      image = file.convert('RGB')
    size = self._settings.image_size
    image = image.resize((size, size), PIL.Image.Resampling.BILINEAR, self._box(image.size))
    if random.random() < 0.5:
      image = image.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT)
    image = PIL.ImageEnhance.Brightness(image).enhance(random.uniform(0.8, 1.2))
    image = PIL.ImageEnhance.Color(image).enhance(random.uniform(0.5, 1.5))
    return TRUNKS[self._settings.model_name].pixels(image), label

  def _box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
    width, height = size
    for _ in range(10):
      area = width * height * random.uniform(self._settings.min_crop_area, 1)
      ratio = math.exp(random.uniform(*map(math.log, _RATIO)))
      w, h = math.sqrt(area * ratio), math.sqrt(area / ratio)
      if w <= width and h <= height:
        left, top = random.uniform(0, width - w), random.uniform(0, height - h)
        return left, top, left + w, top + h
    return 0, 0, width, height


def train(settings: Settings) -> dict:
  """Trains; returns top-1 accuracy and seconds."""
  import torch
  from torch import nn
  from torch.utils import data
  examples = json.loads(pathlib.Path(settings.examples).read_text(encoding='utf-8'))
  torch.manual_seed(settings.seed)
  network = TRUNKS[settings.model_name]
  trunk, layers = network.build(settings.weights)
  trunk = trunk.to(memory_format=torch.channels_last)
  with torch.no_grad():
    width = trunk.eval()(torch.zeros(1, 3, settings.image_size, settings.image_size)).shape[1]
  head = nn.Linear(width, 1 + max(label for _, label in examples['train']))
  workers = len(os.sched_getaffinity(0))
  training = data.DataLoader(
      TrainingPhotos(examples['train'], settings), settings.batch_size, shuffle=True,
      drop_last=True, num_workers=workers, persistent_workers=True,
      worker_init_fn=lambda _: random.seed(torch.initial_seed()))
  held_out = data.DataLoader(
      benchmark_transfer_torch.Photos(examples['validation'], lambda path, size: network.pixels(
          benchmark_transfer_torch.read_centre(path, size)), settings.image_size),
      100, num_workers=workers)
  smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)

  def fit(groups: list[dict], rates: list[float], epochs: int, *, start: float) -> None:
    optimizer = torch.optim.AdamW(groups, lr=rates[-1], betas=(0.9, 0.99), eps=1e-5,
                                  weight_decay=0.01)
    cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, epochs=epochs, steps_per_epoch=len(training), pct_start=start,
        div_factor=_DIVISION, final_div_factor=_END, base_momentum=0.85, max_momentum=0.95)
    for _ in range(epochs):
      trunk.train()  # Batch norm learns in fastai's frozen layers, too.
      for images, labels in training:
        loss = smoothed(head(trunk(images.to(memory_format=torch.channels_last))), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()

  trunk.requires_grad_(False)
  norms = [parameter for module in trunk.modules() if isinstance(module, nn.BatchNorm2d)
           for parameter in module.requires_grad_(True).parameters()]
  fit([{'params': [*norms, *head.parameters()]}], [_BASE_RATE], 1, start=0.99)
  trunk.requires_grad_(True)
  rates = [_BASE_RATE / 2 * _LOWEST ** (1 - i / len(layers)) for i in range(len(layers) + 1)]
  fit([{'params': list(module.parameters())} for module in (*layers, head)], rates,
      settings.epochs, start=_START)
  trunk.eval()
  with torch.inference_mode():
    found = [int(label) for images, _ in held_out for label in
             head(trunk(images.to(memory_format=torch.channels_last))).argmax(1)]
  pathlib.Path(settings.predictions).write_text(json.dumps(found), encoding='utf-8')
  return {'top_1': float(np.mean([label == guess for (_, label), guess
                                  in zip(examples['validation'], found, strict=True)]))}


def main() -> None:
  """Runs the job described on the command line and prints the results."""
  import torch
  settings = Settings(**json.loads(sys.argv[1]))
  start = time.perf_counter()
  found = train(settings)
  print(json.dumps({**found, 'seconds': time.perf_counter() - start,
                    'versions': f'python {platform.python_version()}, torch {torch.__version__}'}))


if __name__ == '__main__':
  main()
