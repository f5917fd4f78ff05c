"""Writes what timm's and torchvision's networks answer, for the tests to compare ours with.

`scripts/oracles/write_fixtures.sh` makes the environment and calls this; see CONTRIBUTING.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

from scripts.oracles import fixtures, timm_names, timm_pnasnet, timm_resnet, values

CLASSES = 10
_OPERATORS = ('roi_align', 'roi_pool', 'ps_roi_align', 'ps_roi_pool', 'deform_conv2d')


def _declare_operators() -> None:
  """Lets torchvision be imported without its compiled operators, which no network here uses."""
  library = torch.library.Library('torchvision', 'DEF')
  for name in ('nms', 'qnms', 'qroi_align', *_OPERATORS,
               *(f'_{name}_backward' for name in _OPERATORS)):
    library.define(f'{name}(Tensor input) -> Tensor')
  globals()['_library'] = library  # The operators live as long as it does.


def _timm(name: str) -> Callable[[], torch.nn.Module]:
  def create():
    import timm
    return timm.create_model(name, pretrained=False, num_classes=CLASSES)
  return create


def _torchvision(name: str) -> Callable[[], torch.nn.Module]:
  def create():
    import torchvision
    return getattr(torchvision.models, name)(weights=None, num_classes=CLASSES)
  return create


@dataclasses.dataclass(frozen=True)
class Oracle:
  """Another implementation of one of our networks.

  Attributes:
    create: makes it, for `CLASSES` classes.
    find: maps our variable's name to the key in its state dict, and the change of layout.
    sizes: image sizes to compare at, one of them odd.
    is_trained: whether to compare the training, too.
  """
  create: Callable[[], torch.nn.Module]
  find: Callable[[str], tuple[str, str]]
  sizes: tuple[int, int]
  is_trained: bool = False


ORACLES: dict[str, Oracle] = {
    **{ours: Oracle(_timm(theirs), timm_names.efficientnet_lite, (64, 97), theirs.endswith('0'))
       for ours, theirs in timm_names.EFFICIENTNET_LITE.items()},
    'pnasnet_large': Oracle(_timm('pnasnet5large'), timm_pnasnet.pnasnet_large, (64, 97)),
    'resnet_v1_18': Oracle(_timm('resnet18'), timm_resnet.resnet_basic, (64, 97), True),
    'resnet_v1_34': Oracle(_timm('resnet34'), timm_resnet.resnet_basic, (64, 97)),
    'squeezenet': Oracle(_torchvision('squeezenet1_0'), timm_resnet.squeezenet, (64, 97), True),
    'squeezenet_1_1': Oracle(_torchvision('squeezenet1_1'), timm_resnet.squeezenet, (64, 97)),
}


def _to_torch(array: np.ndarray, transform: str) -> np.ndarray:
  """Changes an array from our layout to PyTorch's."""
  if transform == 'conv':
    return array.transpose(3, 2, 0, 1)
  if transform == 'depthwise':
    return array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2])
  if transform == 'dense':
    return array.reshape(array.shape[-2:]).T
  return array


def _fill(model: torch.nn.Module, oracle: Oracle, shapes: dict, squares: dict) -> None:
  """Gives a model the random variables; every one of its own must be given."""
  state = {}
  for name, shape in shapes.items():
    key, transform = oracle.find(name)
    state[key] = torch.from_numpy(np.ascontiguousarray(
        _to_torch(values.variable(name, shape, squares), transform))).double()
  left = {key for key in model.state_dict() if not key.endswith('num_batches_tracked')}
  if left != set(state):
    raise ValueError(f'The mapping is not whole: {sorted(left ^ set(state))[:6]}.')
  model.load_state_dict(state, strict=False)


def _images(batch: int, size: int) -> torch.Tensor:
  return torch.from_numpy(values.images(batch, size).transpose(0, 3, 1, 2).copy()).double()


def _squares(model: torch.nn.Module, oracle: Oracle, shapes: dict) -> dict[str, float]:
  """Measures `{our scope: mean square of what comes in}` of the batch norms in training."""
  scopes = {oracle.find(name)[0].rpartition('.')[0]: name.rpartition('/')[0]
            for name in shapes if name.endswith('/moving_mean')}
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
  """Measures logits and gradients in training, nothing dropped."""
  model.train()
  for module in model.modules():
    if isinstance(module, torch.nn.Dropout):
      module.p = 0.0
    if hasattr(module, 'drop_prob'):  # timm's DropPath.
      module.drop_prob = 0.0
    if hasattr(module, 'drop_rate'):  # timm's networks drop features by a function.
      module.drop_rate = 0.0
  size = oracle.sizes[1]
  logits = model(_images(4, size))
  weights = torch.from_numpy(values.coefficients('logits', logits.shape)).double()
  (logits * weights).sum().backward()
  parameters, gradients = dict(model.named_parameters()), {}
  for name, shape in shapes.items():
    key, transform = oracle.find(name)
    if key in parameters:
      gradient = parameters[key].grad.numpy()
      product = np.sum(gradient * _to_torch(values.coefficients(name, shape), transform))
      gradients[name] = fixtures.rounded(np.array([np.linalg.norm(gradient), product]))
  return {'batch': 4, 'size': size, 'logits': fixtures.rounded(logits.detach().numpy()),
          'gradients': gradients}


def measure(oracle: Oracle, shapes: dict[str, list[int]]) -> dict:
  """Measures the logits of a network with the random variables of ours, in float64."""
  model = oracle.create().double()
  _fill(model, oracle, shapes, {})
  squares = _squares(model, oracle, shapes)
  _fill(model, oracle, shapes, squares)
  model.eval()
  with torch.no_grad():
    inference = [{'size': size, 'logits': fixtures.rounded(model(_images(2, size)).numpy())}
                 for size in oracle.sizes]
  return {
      'oracle': f'{type(model).__module__}.{type(model).__name__}, PyTorch {torch.__version__}',
      'variables': shapes, 'squares': squares, 'inference': inference,
      **({'training': _training(model, oracle, shapes)} if oracle.is_trained else {})}


def main() -> None:
  """Writes one file a network."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--shapes', required=True, help='What write_shapes.py wrote.')
  parser.add_argument('names', nargs='*', help='Networks; all by default.')
  arguments = parser.parse_args()
  shapes = json.loads(pathlib.Path(arguments.shapes).read_text())
  _declare_operators()
  for name in arguments.names or ORACLES:
    print(fixtures.write('torch', name, measure(ORACLES[name], shapes[name])), flush=True)


if __name__ == '__main__':
  main()
