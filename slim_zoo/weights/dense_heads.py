"""Fully connected layers that a Keras model has on top of a network."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence


def find(shapes: Mapping[str, Sequence[int]]) -> str | None:
  """Describes dense layers as the head that they would be here.

  Args:
    shapes: `{name: shape}` of the arrays that are not the network's own.

  Returns:
    A value of `--head`, such as `fc:64,fc`; None if there are no dense layers, or if they do not
    follow each other. Activations and dropout are not in the file.
  """
  kernels = {name: shape for name, shape in shapes.items()
             if name.endswith('/kernel') and len(shape) == 2}
  # Keras numbers them: dense, dense_1, …, dense_10.
  layers = [kernels[name] for name in sorted(kernels, key=_number)]
  follow = all(one[1] == following[0] for one, following in itertools.pairwise(layers))
  if not layers or not follow:
    return None
  return ','.join([*(f'fc:{layer[1]}' for layer in layers[:-1]), 'fc'])


def advice(shapes: Mapping[str, Sequence[int]]) -> str:
  """Says which flag trains such a head; '' if `find` finds none."""
  head = find(shapes)
  return '' if head is None else (
      'The file has dense layers of its own on top, which are not used. To train new ones of the '
      f'same sizes: --head={head}')


def _number(name: str) -> tuple[str, int]:
  layer = name.removesuffix('/kernel')
  found = re.fullmatch(r'(.*?)_?(\d*)', layer)
  return (found[1], int(found[2] or 0)) if found else (layer, 0)
