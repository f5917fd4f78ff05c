"""Networks of `keras.applications` with our variables' values."""

from __future__ import annotations

import pathlib
import re
import warnings
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from slim_zoo.weights.dialects import keras as names


def variables(network: str, model: keras.Model, ours: Iterable[str]) -> dict[str, keras.Variable]:
  """Maps the names of our variables, in the order of the layers, to Keras' variables.

  Raises:
    ValueError: if a variable of Keras' network has no counterpart.
  """
  dialect, = names.dialects(network)
  theirs = {f'{layer.name}/{variable.name.split("/")[-1]}': variable
            for layer in model.layers for variable in layer.weights}
  takes = dialect.takes(dict.fromkeys(ours, ()), theirs)
  mapped = {name: theirs.pop(take.key) for name, take in takes.items()}
  if theirs:
    raise ValueError(f'Expected a name for each variable. Received none for: {sorted(theirs)[:6]}.')
  return mapped


def assign(network: str, model: keras.Model,
           values: Mapping[str, np.ndarray]) -> dict[str, keras.Variable]:
  """Assigns our values to all variables of Keras' network; not for VGG, whose weights are for BGR.

  Returns:
    As `variables`.
  """
  found = variables(network, model, values)
  takes = names.takes_of(network, values, {}, theirs={})
  for name, variable in found.items():
    scale = takes[name].apply(np.ones(variable.shape, np.float32), values[name].shape)
    variable.assign((values[name] / scale).reshape(variable.shape))
  return found


def save(model: keras.Model, folder: pathlib.Path) -> list[pathlib.Path]:
  """Saves a network in Keras' three formats; returns the paths."""
  paths = [folder / name for name in ('model.keras', 'model.h5', 'model.weights.h5')]
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)  # Keras' own use of NumPy.
    for path in paths:
      (model.save_weights if path.name.endswith('.weights.h5') else model.save)(path)
  return paths


def with_poolings_of_slim(model: keras.Model) -> keras.Model:
  """Copies a NASNet, with the pooling in reduction cells as in TF-Slim and in the paper's code.

  Keras pads the input with zeros, which affect the maximum of negative numbers and count in
  averages.
  """
  def copy(layer):
    if layer.name.startswith('reduction_pad_1_'):
      return keras.layers.Activation('linear', name=layer.name)
    config = layer.get_config()
    if re.match(r'reduction_(left2|left3|right5)_', layer.name):
      config['padding'] = 'same'
    return type(layer).from_config(config)
  return keras.models.clone_model(model, clone_function=copy)
