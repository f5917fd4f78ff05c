"""The names in PyTorch's state dicts: torchvision's, timm's and lukemelas'."""

from __future__ import annotations

from slim_zoo.weights.dialects import timm, torchvision
from slim_zoo.weights.dialects.dialect import Dialect


def dialects(network: str) -> tuple[Dialect, ...]:
  """Lists PyTorch's dialects for a network; none if none are known."""
  return (*torchvision.dialects(network), *timm.dialects(network))
