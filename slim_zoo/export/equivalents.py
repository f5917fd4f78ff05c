"""Whether another program has a network that computes the same as ours."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nets import custom_head, scopes
from slim_zoo.export.model import Model

# What the names of variants differ in: `resnet_v1_50`, `resnet50_keras`, `resnet50_torchvision`.
_VARIANT = re.compile(r'_v1(?=_)|_keras|_torchvision|_')


def check(model: Model, program: str, known: Iterable[str]) -> None:
  """Checks that another program has the same network.

  Args:
    model: the network.
    program: its name, for the message.
    known: the names in `NETS` of the networks that it has.

  Raises:
    ValueError: if it has none that computes the same, or if the network has a custom head.
  """
  known = sorted(known)
  if model.name not in known:
    variants = [name for name in known if _VARIANT.sub('', name) == _VARIANT.sub('', model.name)]
    hint = (f' It has a variant, {" and ".join(variants)}, which has to be trained itself.'
            if variants else '')
    raise ValueError(f'Expected: a network that {program} has with the same layers, strides and '
                     f'padding: {", ".join(known)}. Received: {model.name}.{hint} Choose another '
                     'target.')
  if any(scopes.matches(name, custom_head.SCOPE) for name in model.network.variables):
    raise ValueError(f'Expected: a network with its own classifier, as {program} has it. '
                     f'Received: {model.name} with a custom head (--head). Choose another target.')
