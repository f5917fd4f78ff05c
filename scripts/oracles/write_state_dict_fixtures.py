"""Writes the names and shapes in PyTorch's state dicts, and the networks' logits.

The arrays are random, each seeded by its name in the state dict: a test creates the same file,
loads it into our network and compares the logits.

`scripts/oracles/write_fixtures.sh` creates the environment and runs this; see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterator

import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import fixtures, torch_models, values


@dataclasses.dataclass(frozen=True)
class Model:
  """A PyTorch network.

  Attributes:
    name: name of the fixture.
    network: our name of the network.
    create: creates it, for ten classes.
    size: image size.
    dialect: name of our dialect, if others have the same names.
  """
  name: str
  network: str
  create: Callable[[], torch.nn.Module]
  size: int = 64
  dialect: str = ''


def _timm(network: str, name: str, size: int = 64, *, dialect: str = '') -> Model:
  return Model(f'timm_{name}', network, torch_models.timm(name), size, dialect)


def _torchvision(network: str, name: str, size: int = 64, **arguments) -> Model:
  return Model(f'torchvision_{name}', network, torch_models.torchvision(name, **arguments), size)


# Sizes of torchvision's and timm's own MobileNets stay odd when halved.
MODELS: dict[str, Model] = {model.name: model for model in (
    _torchvision('alexnet_torchvision', 'alexnet', 224),
    _torchvision('vgg_a', 'vgg11', 224),
    _torchvision('vgg_16', 'vgg16', 224),
    _torchvision('vgg_19', 'vgg19', 224),
    _torchvision('squeezenet', 'squeezenet1_0'),
    _torchvision('squeezenet_1_1', 'squeezenet1_1'),
    *(_torchvision(f'resnet_v1_{layers}', f'resnet{layers}') for layers in (18, 34)),
    *(_torchvision(f'resnet{layers}_torchvision', f'resnet{layers}') for layers in (50, 101, 152)),
    _torchvision('inception_v3', 'inception_v3', 299, init_weights=False),
    _torchvision('mobilenet_v2', 'mobilenet_v2', 97),
    _torchvision('mobilenet_v3_large', 'mobilenet_v3_large', 97),
    _torchvision('mobilenet_v3_small', 'mobilenet_v3_small', 97),
    *(_timm(f'efficientnet_lite{i}', f'tf_efficientnet_lite{i}') for i in range(5)),
    *(_timm(f'mobilenet_v2{ours}', f'mobilenetv2_{theirs}', 97)
      for ours, theirs in (('', '100'), ('_050', '050'), ('_140', '140'), ('_035', '035'))),
    _timm('mobilenet_v1', 'mobilenetv1_100', 97),
    *(_timm(f'mobilenet_v3_{size}', f'mobilenetv3_{size}_100', 97, dialect='timm mobilenetv3')
      for size in ('large', 'small')),
    *(_timm(f'mobilenet_v3_{size}{ours}', f'tf_mobilenetv3_{size}_{theirs}100')
      for size in ('large', 'small') for ours, theirs in (('', ''), ('_minimalistic', 'minimal_'))),
    _timm('inception_v4', 'inception_v4', 107),
    _timm('inception_resnet_v2', 'inception_resnet_v2', 107),
    _timm('nasnet_large', 'nasnetalarge'),
    _timm('pnasnet_large', 'pnasnet5large'),
    Model('lukemelas_efficientnet-lite0', 'efficientnet_lite0',
          torch_models.lukemelas('efficientnet-lite0')),
)}


def _fill(model: torch.nn.Module, shapes: dict, squares: dict) -> None:
  state = {key: torch.from_numpy(values.array_of_torch(key, shape, squares))
           for key, shape in shapes.items()}
  model.load_state_dict({key: array.double() if array.is_floating_point() else array
                         for key, array in state.items()})


def _images(batch: int, size: int) -> torch.Tensor:
  return torch.from_numpy(values.images(batch, size).transpose(0, 3, 1, 2).copy()).double()


def _hooked(model: torch.nn.Module, modules: dict[str, torch.nn.Module], *,
            watch: Callable[[str, torch.Tensor], None], images: torch.Tensor) -> torch.Tensor:
  """Runs a network and calls `watch(name, inputs)` with the inputs of some modules."""
  def hook(name):
    return lambda module, inputs: watch(name, inputs[0])

  hooks = [module.register_forward_pre_hook(hook(name)) for name, module in modules.items()]
  with torch.no_grad():
    result = model(images)
  for handle in hooks:
    handle.remove()
  return result


def _squares(model: torch.nn.Module, size: int) -> dict[str, float]:
  """Measures `{module: mean square of the inputs}` of the batch norms in training."""
  norms = {name: module for name, module in model.named_modules()
           if isinstance(module, torch.nn.BatchNorm2d)}
  found = {}

  def watch(name, inputs):
    found[name] = fixtures.rounded(float(torch.mean(inputs ** 2)))

  model.train()
  _hooked(model, norms, watch=watch, images=_images(4, size))
  return found


@contextlib.contextmanager
def _pools_without_border() -> Iterator[None]:
  """Excludes padding from average pooling, as in TensorFlow.

  PyTorch counts it by default, and so does timm's `AvgPool2dSame` with a stride, which pads before
  it pools.
  """
  import timm

  functional, average = torch.nn.functional, torch.nn.functional.avg_pool2d
  same, forward = timm.layers.AvgPool2dSame, timm.layers.AvgPool2dSame.forward

  # The signature is that of PyTorch's function.
  def without(  # noqa: PLR0917
      inputs, kernel_size, stride=None, padding=0, ceil_mode=False, *unused, **others):
    del unused, others  # Including whether the padding counts.
    return average(inputs, kernel_size, stride, padding, ceil_mode, False)

  def shares(self, inputs):
    return forward(self, inputs) / forward(self, torch.ones_like(inputs))

  functional.avg_pool2d = without
  same.forward = shares
  try:
    yield
  finally:
    functional.avg_pool2d, same.forward = average, forward


@torch.no_grad()
def _answers(model: torch.nn.Module, size: int) -> Iterator[tuple[str, list]]:
  """Measures logits in inference; also without zeros in average pools, if that differs."""
  def answer():
    return fixtures.rounded(model(_images(2, size)).numpy())

  model.eval()
  logits = answer()
  yield 'logits', logits
  with _pools_without_border():
    others = answer()
    if others != logits:
      yield 'logits_without_border', others
    if getattr(model, 'aux_logits', False):
      found = []
      _hooked(model, {'': model.Mixed_7a}, watch=lambda name, inputs: found.append(inputs),
              images=_images(2, size))
      yield 'auxiliary_logits', fixtures.rounded(model.AuxLogits(found[0]).numpy())


def measure(entry: Model) -> dict:
  """Measures the logits of a network with random arrays, in float64."""
  model = entry.create().double()
  shapes = {key: list(array.shape) for key, array in model.state_dict().items()}
  _fill(model, shapes, {})
  squares = _squares(model, entry.size)
  _fill(model, shapes, squares)
  return {
      'oracle': f'{type(model).__module__}.{type(model).__name__}, PyTorch {torch.__version__}',
      'network': entry.network, 'state_dict': shapes, 'squares': squares, 'size': entry.size,
      **({'dialect': entry.dialect} if entry.dialect else {}),
      **dict(_answers(model, entry.size))}


def main() -> None:
  """Writes one file per network."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('names', nargs='*', help='Keys of MODELS; all by default.')
  torch_models.declare_operators()
  for name in parser.parse_args().names or MODELS:
    print(fixtures.write('state_dicts', name, measure(MODELS[name])), flush=True)


if __name__ == '__main__':
  main()
