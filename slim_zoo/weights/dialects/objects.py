"""The names in object-based checkpoints: ours, and those of Keras' models by layer order."""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Mapping
from typing import Any

from slim_zoo.weights.dialects import keras
from slim_zoo.weights.dialects.dialect import Dialect, Shapes
from slim_zoo.weights.layouts import Take

# A variable of a layer, among those of a model: in Keras 3, in its Sequential models, in Keras 2.
_VARIABLE = re.compile(
  r'(?P<layers>(?:.*/)?(?:_operations/|_layers/|layer_with_weights-|layer-))(?P<number>\d{1,6})/'
  r'_?(?P<variable>\w+)')


def _ours(ours: Shapes, theirs: Shapes) -> dict[str, Take]:
  """Finds our names, below any attribute."""
  prefixes = {name.removesuffix(known) for known in ours for name in theirs
              if f'/{name}'.endswith(f'/{known}')}
  prefix = max(sorted(prefixes), default='',
               key=lambda prefix: sum(prefix + known in theirs for known in ours))
  return {name: Take(prefix + name) for name in ours}


def _layers(theirs: Shapes) -> Mapping[int, dict[str, str]]:
  """Finds the model with the most layers; returns their `{number: {variable: name}}`."""
  models: Any = collections.defaultdict(lambda: collections.defaultdict(dict))
  for name in theirs:
    if found := _VARIABLE.fullmatch(name):
      models[found['layers']][int(found['number'])][found['variable']] = name
  return max(models.values(), key=len, default={})


def _keras(network: str, ours: Shapes, theirs: Shapes) -> dict[str, Take]:
  """Finds Keras' layers, which are unnamed here, by their order."""
  layers = _layers(theirs)
  if not layers:
    return {}
  names = {f'{number}/{variable}': name for number, variables in layers.items()
           for variable, name in variables.items()}
  order = keras.in_order(network, [str(number) for number in sorted(layers)])
  takes = keras.takes_of(network, ours, order,
                         theirs={key: theirs[name] for key, name in names.items()})
  return {ours_name: Take(names.get(take.key, take.key), take.steps)
          for ours_name, take in takes.items()}


def dialects(network: str) -> tuple[Dialect, ...]:
  """Lists the dialects for a network: ours, and Keras' if it has the network."""
  found = tuple(Dialect('TensorFlow 2 of Keras', functools.partial(_keras, network),
                        preprocessing=dialect.preprocessing, note=dialect.note)
                for dialect in keras.dialects(network)[:1])  # Older ones differ in names only.
  return (Dialect('TensorFlow 2', _ours, knows_heads=True), *found)
