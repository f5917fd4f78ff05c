"""Creates timm's, torchvision's and lukemelas' networks, in an environment with PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import torch

CLASSES = 10
_OPERATORS = ('roi_align', 'roi_pool', 'ps_roi_align', 'ps_roi_pool', 'deform_conv2d')


def declare_operators() -> None:
  """Makes torchvision importable without its compiled operators, which no network here uses."""
  library = torch.library.Library('torchvision', 'DEF')
  for name in ('nms', 'qnms', 'qroi_align', *_OPERATORS,
               *(f'_{name}_backward' for name in _OPERATORS)):
    library.define(f'{name}(Tensor input) -> Tensor')
  globals()['_library'] = library  # The operators live as long as it does.


def timm(name: str) -> Callable[[], torch.nn.Module]:
  """Returns a function that creates one of timm's networks for `CLASSES` classes."""
  def create():
    import timm
    return timm.create_model(name, pretrained=False, num_classes=CLASSES)
  return create


def torchvision(name: str, **arguments) -> Callable[[], torch.nn.Module]:
  """Returns a function that creates one of torchvision's networks for `CLASSES` classes."""
  def create():
    import torchvision
    return getattr(torchvision.models, name)(weights=None, num_classes=CLASSES, **arguments)
  return create


def lukemelas(name: str) -> Callable[[], torch.nn.Module]:
  """Returns a function that creates one of lukemelas' networks for `CLASSES` classes."""
  def create():
    from efficientnet_lite_pytorch import EfficientNet
    return EfficientNet.from_name(name, num_classes=CLASSES)
  return create
