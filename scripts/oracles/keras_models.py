"""Networks of `keras.applications` with our variables' values."""

from __future__ import annotations

import json
import pathlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping

import h5py
import keras
import numpy as np

from slim_zoo.weights.dialects import keras as names


def variables(network: str, model: keras.Model, ours: Iterable[str]) -> dict[str, keras.Variable]:
  """Maps the names of our variables, in the order of the layers, to Keras' variables.

  Raises:
    ValueError: if a variable of Keras' network has no counterpart.
  """
  dialect = names.dialects(network)[0]
  theirs = {f'{layer.name}/{variable.name.split("/")[-1]}': variable
            for layer in model.layers for variable in layer.weights}
  takes = dialect.takes(dict.fromkeys(ours, ()), theirs)
  mapped = {name: theirs.pop(take.key) for name, take in takes.items()}
  if theirs:
    raise ValueError(f'Expected a name for each variable. Received none for: {sorted(theirs)[:6]}.')
  return mapped


def assign(network: str, model: keras.Model,
           values: Mapping[str, np.ndarray]) -> dict[str, keras.Variable]:
  """Assigns our values to all variables of Keras' network; VGG is then for BGR images.

  Returns:
    The same as `variables`.
  """
  found = variables(network, model, values)
  takes = names.takes_of(network, values, {}, theirs={})
  for name, variable in found.items():
    variable.assign(takes[name].revert(values[name]).reshape(variable.shape))
  return found


def save(model: keras.Model, folder: pathlib.Path) -> list[pathlib.Path]:
  """Saves a network in Keras' three formats; returns the paths."""
  paths = [folder / name for name in ('model.keras', 'model.h5', 'model.weights.h5')]
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)  # Keras' own use of NumPy.
    for path in paths:
      (model.save_weights if path.name.endswith('.weights.h5') else model.save)(path)
  return paths


def save_older(model: keras.Model, path: pathlib.Path, *, layer: Callable[[str], str],
               variable: Callable[[str, str], str]) -> None:
  """Saves weights as Keras 1 or 2 did.

  Args:
    model: a network.
    path: of the file.
    layer: returns the older name of a layer.
    variable: `variable(layer, name)` returns the older name of a variable, such as `conv1_W_1:0`.
  """
  with h5py.File(path, 'w') as file:
    file.attrs['layer_names'] = [layer(one.name).encode() for one in model.layers]
    for one in model.layers:
      name = layer(one.name)
      group = file.create_group(name)
      arrays = {variable(name, weight.name.split('/')[-1]): weight.numpy()
                for weight in one.weights}
      group.attrs['weight_names'] = [key.encode() for key in arrays]
      for key, array in arrays.items():
        group[key] = array


def save_tfjs(model: keras.Model, folder: pathlib.Path, *, layer: Callable[[str], str] = str,
              dtype: str = 'float32', shard: int = 2 ** 22) -> pathlib.Path:
  """Saves a layers model as TensorFlow.js' converter does; returns the path of `model.json`.

  Args:
    model: a network; its layers may be models.
    folder: is created.
    layer: returns the name of a layer there.
    dtype: 'float32', or 'uint8', 'uint16' or 'float16' for quantized weights.
    shard: bytes of a shard; the last one is shorter.
  """
  folder.mkdir()
  manifest, data = [], bytearray()
  # The converter goes through the groups of an HDF5 file, which are sorted.
  for one in sorted(_leaves(model), key=lambda one: layer(one.name)):
    for weight in one.weights:
      entry = {'name': f'{layer(one.name)}/{weight.name.split("/")[-1]}',
               'shape': list(weight.shape), 'dtype': 'float32'}
      array = weight.numpy()
      if dtype != 'float32':
        array, entry['quantization'] = quantized(array, dtype)
      manifest.append(entry)
      data += array.tobytes()
  parts = [data[at:at + shard] for at in range(0, len(data), shard)]
  paths = [f'group1-shard{i}of{len(parts)}.bin' for i in range(1, len(parts) + 1)]
  for path, part in zip(paths, parts, strict=True):
    (folder / path).write_bytes(part)
  (folder / 'model.json').write_text(json.dumps({
    'format': 'layers-model', 'generatedBy': 'keras v2.4.0', 'convertedBy': 'TensorFlow.js',
    'modelTopology': {'keras_version': '2.4.0', 'backend': 'tensorflow', 'model_config': {
      'class_name': 'Functional', 'config': _config(model, layer)}},
    'weightsManifest': [{'paths': paths, 'weights': manifest}]}))
  return folder / 'model.json'


def _leaves(model: keras.Model) -> Iterator[keras.Layer]:
  """Yields the layers of a model and of the models in it."""
  for one in model.layers:
    yield from _leaves(one) if isinstance(one, keras.Model) else (one,)


def _config(one: keras.Layer, layer: Callable[[str], str]) -> dict:
  """Returns what the description of a model or a layer says of its names."""
  if not isinstance(one, keras.Model):
    return {'name': layer(one.name)}
  return {'name': one.name, 'layers': [
    {'class_name': type(inner).__name__, 'config': _config(inner, layer)} for inner in one.layers]}


def quantized(array: np.ndarray, dtype: str) -> tuple[np.ndarray, dict]:
  """Quantizes a float32 array; returns it with what a manifest says of it."""
  facts = {'dtype': dtype, 'original_dtype': 'float32'}
  if dtype == 'float16':
    return array.astype(np.float16), facts
  low, high = float(array.min()), float(array.max())
  scale = (high - low) / np.iinfo(dtype).max or 1.0
  return np.round((array - low) / scale).astype(dtype), {**facts, 'min': low, 'scale': scale}


def with_poolings_of_slim(model: keras.Model) -> keras.Model:
  """Copies a NASNet, with the pooling in reduction cells as in TF-Slim and in the paper's code.

  Keras pads with zeros, which affect the maximum of negative numbers and count in averages.
  """
  def copy(layer):
    if layer.name.startswith('reduction_pad_1_'):
      return keras.layers.Activation('linear', name=layer.name)
    config = layer.get_config()
    if re.match(r'reduction_(left2|left3|right5)_', layer.name):
      config['padding'] = 'same'
    return type(layer).from_config(config)
  return keras.models.clone_model(model, clone_function=copy)
