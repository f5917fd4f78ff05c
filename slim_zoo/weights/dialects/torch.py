"""The names in state dicts of PyTorch, whoever wrote the network: torchvision, timm, lukemelas."""

from __future__ import annotations

from slim_zoo.weights.dialects import timm, torchvision
from slim_zoo.weights.dialects.dialect import Dialect


def dialects(network: str) -> tuple[Dialect, ...]:
  """Lists how PyTorch's state dicts name a network; none if no names are known."""
  return (*torchvision.dialects(network), *timm.dialects(network))
