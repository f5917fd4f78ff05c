"""The PyTorch contender of `benchmark_transfer_learning.py`: a classifier on frozen layers.

    python benchmark_transfer_torch.py '{"model_name": "mobilenet_v1", …}'

As is usual in PyTorch, worker processes decode the images in every epoch, and the frozen layers run
in inference mode without gradients. The last line of output is the result, in JSON. Only PyTorch,
NumPy and Pillow are imported, so the file also runs where TensorFlow is not installed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np
import PIL.Image

_VALIDATION_BATCH = 100
_VGG_MEAN = (123.68, 116.78, 103.94)
_VGG_SIDE = 256
_CENTRAL_FRACTION = 0.875
# (depth, stride) of MobileNetV1's layers; (depth, number of layers) of VGG-16's blocks.
_MOBILENET = ((32, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
              *((512, 1),) * 5, (1024, 2), (1024, 1))
_VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


@dataclasses.dataclass(frozen=True)
class Settings:
  """What to train.

  Attributes:
    model_name: 'mobilenet_v1' or 'vgg_16'.
    weights: an .npz file of the frozen layers' arrays, by TF-Slim's names.
    examples: a JSON file, {'train': [[path, label], …], 'validation': …}.
    epochs: number of epochs.
    batch_size: images per step.
    image_size: height and width of the images.
    learning_rate: Adam's learning rate.
  """
  model_name: str
  weights: str
  examples: str
  epochs: int
  batch_size: int
  image_size: int
  learning_rate: float


def read_centre(path: str, size: int) -> PIL.Image.Image:
  """Decodes an image and resizes its centre to a square."""
  with PIL.Image.open(path) as file:
    image = file.convert('RGB')
  left, top = (int((side - side * _CENTRAL_FRACTION) / 2) for side in image.size)
  return image.resize((size, size), PIL.Image.Resampling.BILINEAR,
                      (left, top, image.width - left, image.height - top))


def read_inception(path: str, size: int) -> np.ndarray:
  """Reads the centre of an image as float32 [3, size, size] in [-1, 1]."""
  return np.asarray(read_centre(path, size), np.float32).transpose(2, 0, 1) / 127.5 - 1


def read_vgg(path: str, size: int) -> np.ndarray:
  """Resizes an image's shorter side to 256; returns its centre less the mean, [3, size, size]."""
  with PIL.Image.open(path) as file:
    image = file.convert('RGB')
  scale = _VGG_SIDE / min(image.size)
  width, height = (round(side * scale) for side in image.size)
  image = image.resize((width, height), PIL.Image.Resampling.BILINEAR)
  left, top = (width - size) // 2, (height - size) // 2
  pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
  return (pixels - np.array(_VGG_MEAN, np.float32)).transpose(2, 0, 1)


def mobilenet_v1(arrays: Mapping[str, np.ndarray]):
  """Returns MobileNetV1 up to global pooling, for [batch, 3, height, width] of even sizes."""
  import torch
  from torch import nn

  def layer(name: str, inputs: int, outputs: int, *, stride: int, kernel_size: int = 3,
            groups: int = 1) -> list:
    weights = f'{name}/{"depthwise_weights" if groups > 1 else "weights"}'
    convolution = nn.Conv2d(inputs, outputs, kernel_size, stride, groups=groups, bias=False,
                            padding=kernel_size // 2 if stride == 1 else 0)
    order = (2, 3, 0, 1) if groups > 1 else (3, 2, 0, 1)
    norm = nn.BatchNorm2d(outputs, eps=0.001)
    with torch.no_grad():
      convolution.weight.copy_(torch.from_numpy(arrays[weights].transpose(order)))
      for target, source in ((norm.weight, 'gamma'), (norm.bias, 'beta'),
                             (norm.running_mean, 'moving_mean'),
                             (norm.running_var, 'moving_variance')):
        target.copy_(torch.from_numpy(arrays[f'{name}/BatchNorm/{source}']))
    # At stride 2, TensorFlow pads even sizes only at the bottom and right.
    padding = [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
    return [*padding, convolution, norm, nn.ReLU6(inplace=True)]

  layers, inputs = [], 3
  for i, (depth, stride) in enumerate(_MOBILENET):
    name = f'MobilenetV1/Conv2d_{i}'
    if i == 0:
      layers += layer(name, inputs, depth, stride=stride)
    else:
      layers += layer(f'{name}_depthwise', inputs, inputs, stride=stride, groups=inputs)
      layers += layer(f'{name}_pointwise', inputs, depth, stride=1, kernel_size=1)
    inputs = depth
  return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def vgg_16(arrays: Mapping[str, np.ndarray]):
  """Returns VGG-16's convolutions and global pooling, for [batch, 3, height, width]."""
  import torch
  from torch import nn
  layers, inputs = [], 3
  for block, (depth, count) in enumerate(_VGG, start=1):
    for i in range(1, count + 1):
      name = f'vgg_16/conv{block}/conv{block}_{i}'
      convolution = nn.Conv2d(inputs, depth, 3, padding=1)
      with torch.no_grad():
        convolution.weight.copy_(torch.from_numpy(arrays[f'{name}/weights'].transpose(3, 2, 0, 1)))
        convolution.bias.copy_(torch.from_numpy(arrays[f'{name}/biases']))
      layers += [convolution, nn.ReLU(inplace=True)]
      inputs = depth
    layers.append(nn.MaxPool2d(2))
  return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


# Builder of the frozen layers, image reader, number of features, dropout rate.
_NETWORKS: dict[str, tuple[Callable, Callable, int, float]] = {
    'mobilenet_v1': (mobilenet_v1, read_inception, 1024, 0.001),
    'vgg_16': (vgg_16, read_vgg, 512, 0.0),
}


class Photos:
  """A dataset for PyTorch's `DataLoader`."""

  def __init__(self, examples: list, read: Callable[[str, int], np.ndarray], size: int):
    """Takes [[path, label], …] and `read(path, size)`."""
    self._examples, self._read, self._size = examples, read, size

  def __len__(self) -> int:
    return len(self._examples)

  def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
    path, label = self._examples[index]
    return self._read(path, self._size), label


def train(settings: Settings) -> tuple[list[float], list[float]]:
  """Trains; returns top-1 accuracy and seconds per epoch."""
  import torch
  from torch import nn
  from torch.utils import data
  build, read, width, dropout = _NETWORKS[settings.model_name]
  examples = json.loads(pathlib.Path(settings.examples).read_text(encoding='utf-8'))
  torch.manual_seed(0)
  with np.load(settings.weights) as arrays:
    trunk = build(arrays).eval().requires_grad_(False).to(memory_format=torch.channels_last)
  num_classes = 1 + max(label for _, label in examples['train'])
  head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))
  optimizer = torch.optim.Adam(head.parameters(), settings.learning_rate)
  workers = len(os.sched_getaffinity(0))
  training, held_out = (
      data.DataLoader(Photos(examples[split], read, settings.image_size), size, shuffle=shuffle,
                      num_workers=workers, persistent_workers=True)
      for split, size, shuffle in (('train', settings.batch_size, True),
                                   ('validation', _VALIDATION_BATCH, False)))

  def features(images):
    with torch.no_grad():
      return trunk(images.to(memory_format=torch.channels_last))

  top_1, seconds = [], []
  for _ in range(settings.epochs):
    start = time.perf_counter()
    head.train()
    for images, labels in training:
      loss = nn.functional.cross_entropy(head(features(images)), labels)
      optimizer.zero_grad()
      loss.backward()
      optimizer.step()
    head.eval()
    with torch.no_grad():
      correct = sum(int((head(features(images)).argmax(1) == labels).sum())
                    for images, labels in held_out)
    top_1.append(correct / len(examples['validation']))
    seconds.append(time.perf_counter() - start)
  return top_1, seconds


def main() -> None:
  """Runs the job described on the command line and prints the results."""
  import torch
  settings = Settings(**json.loads(sys.argv[1]))
  start = time.perf_counter()
  top_1, epoch_seconds = train(settings)
  print(json.dumps({
      'seconds': time.perf_counter() - start, 'epoch_seconds': epoch_seconds, 'top_1': top_1,
      'versions': f'python {platform.python_version()}, torch {torch.__version__}'}))


if __name__ == '__main__':
  main()
