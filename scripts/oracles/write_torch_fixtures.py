"""Writes the results of timm's and torchvision's networks, with which the tests compare ours.

`scripts/oracles/write_fixtures.sh` creates the environment and runs this; see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable, Sequence

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import fixtures, torch_models, values
from slim_zoo.weights.dialects import torch as torch_dialects
from slim_zoo.weights.layouts import Take


@dataclasses.dataclass(frozen=True)
class Oracle:
  """Another implementation of one of our networks.

  Attributes:
    network: our name of the network.
    dialect: prefix of the dialect that maps its state dict to our variables.
    create: creates it, for ten classes.
    sizes: image sizes to compare at, one of them odd.
    is_trained: whether to compare training too.
  """
  network: str
  dialect: str
  create: Callable[[], torch.nn.Module]
  sizes: tuple[int, int] = (64, 97)
  is_trained: bool = False


def _timm(ours: str, theirs: str, dialect: str, **arguments) -> Oracle:
  return Oracle(ours, dialect, torch_models.timm(theirs), **arguments)


def _torchvision(ours: str, theirs: str, **arguments) -> Oracle:
  return Oracle(ours, 'torchvision', torch_models.torchvision(theirs), **arguments)


ORACLES: dict[str, Oracle] = {oracle.network: oracle for oracle in (
    *(_timm(f'efficientnet_lite{i}', f'tf_efficientnet_lite{i}', 'timm', is_trained=i == 0)
      for i in range(5)),
    _timm('pnasnet_large', 'pnasnet5large', 'timm'),
    _timm('resnet_v1_18', 'resnet18', 'torchvision', is_trained=True),
    _timm('resnet_v1_34', 'resnet34', 'torchvision'),
    *(_torchvision(f'resnet{layers}_torchvision', f'resnet{layers}') for layers in (50, 101, 152)),
    _torchvision('alexnet_torchvision', 'alexnet', sizes=(224, 227)),
    _torchvision('squeezenet', 'squeezenet1_0', is_trained=True),
    _torchvision('squeezenet_1_1', 'squeezenet1_1'),
)}


def _to_torch(array: np.ndarray, take: Take, shape: Sequence[int]) -> np.ndarray:
  """Changes an array from our layout to PyTorch's."""
  if take.factor:
    raise ValueError(f'Expected an array without a factor. Received: {take.key}.')
  return take.revert(array).reshape(tuple(shape))


def _takes(oracle: Oracle, shapes: dict) -> dict[str, Take]:
  dialect, = (dialect for dialect in torch_dialects.dialects(oracle.network)
              if dialect.name.startswith(oracle.dialect))
  return dialect.takes({name: tuple(shape) for name, shape in shapes.items()}, {})


def _fill(model: torch.nn.Module, oracle: Oracle, shapes: dict, *, squares: dict) -> None:
  """Assigns random values to all variables of a model."""
  theirs = {key: value for key, value in model.state_dict().items()
            if not key.endswith('num_batches_tracked')}
  takes = _takes(oracle, shapes)
  if {take.key for take in takes.values()} != set(theirs) or set(takes) != set(shapes):
    raise ValueError(f'{oracle.dialect} lacks names for {oracle.network}.')
  state = {take.key: torch.from_numpy(np.ascontiguousarray(_to_torch(
      values.variable(name, shapes[name], squares), take, theirs[take.key].shape))).double()
           for name, take in takes.items()}
  model.load_state_dict(state, strict=False)


def _images(batch: int, size: int) -> torch.Tensor:
  return torch.from_numpy(values.images(batch, size).transpose(0, 3, 1, 2).copy()).double()


def _squares(model: torch.nn.Module, oracle: Oracle, shapes: dict) -> dict[str, float]:
  """Measures `{our scope: mean square of the inputs}` of the batch norms in training."""
  scopes = {take.key.rpartition('.')[0]: name.rpartition('/')[0]
            for name, take in _takes(oracle, shapes).items() if name.endswith('/moving_mean')}
  found = {}

  def watch(scope):
    def measure(module, inputs):
      found[scope] = fixtures.rounded(float(torch.mean(inputs[0] ** 2)))
    return measure

  hooks = [model.get_submodule(module).register_forward_pre_hook(watch(scope))
           for module, scope in scopes.items()]
  model.train()
  with torch.no_grad():
    model(_images(4, oracle.sizes[1]))
  for hook in hooks:
    hook.remove()
  return found


def _training(model: torch.nn.Module, oracle: Oracle, shapes: dict) -> dict:
  """Measures logits and gradients in training without dropout and drop path."""
  model.train()
  for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
      module.p = 0.0
    if hasattr(module, 'drop_prob'):  # timm's DropPath.
      module.drop_prob = 0.0
    if hasattr(module, 'drop_rate'):  # timm's networks apply dropout with a function.
      module.drop_rate = 0.0
  size = oracle.sizes[1]
  logits = model(_images(4, size))
  weights = torch.from_numpy(values.coefficients('logits', logits.shape)).double()
  (logits * weights).sum().backward()
  parameters, gradients = dict(model.named_parameters()), {}
  for name, take in _takes(oracle, shapes).items():
    if take.key in parameters:
      gradient = parameters[take.key].grad.numpy()
      product = np.sum(gradient * _to_torch(values.coefficients(name, shapes[name]), take,
                                            gradient.shape))
      gradients[name] = fixtures.rounded(np.array([np.linalg.norm(gradient), product]))
  return {'batch': 4, 'size': size, 'logits': fixtures.rounded(logits.detach().numpy()),
          'gradients': gradients}


def measure(oracle: Oracle, shapes: dict[str, list[int]]) -> dict:
  """Measures the logits of a network with the random variables of ours, in float64."""
  model = oracle.create().double()
  _fill(model, oracle, shapes, squares={})
  squares = _squares(model, oracle, shapes)
  _fill(model, oracle, shapes, squares=squares)
  model.eval()
  with torch.no_grad():
    inference = [{'size': size, 'logits': fixtures.rounded(model(_images(2, size)).numpy())}
                 for size in oracle.sizes]
  return {
      'oracle': f'{type(model).__module__}.{type(model).__name__}, PyTorch {torch.__version__}',
      'variables': shapes, 'squares': squares, 'inference': inference,
      **({'training': _training(model, oracle, shapes)} if oracle.is_trained else {})}


def main() -> None:
  """Writes one file per network."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--shapes', required=True, help='File written by write_shapes.py.')
  parser.add_argument('names', nargs='*', help='Networks; all by default.')
  arguments = parser.parse_args()
  shapes = json.loads(pathlib.Path(arguments.shapes).read_text())
  torch_models.declare_operators()
  for name in arguments.names or ORACLES:
    print(fixtures.write('torch', name, measure(ORACLES[name], shapes[name])), flush=True)


if __name__ == '__main__':
  main()
