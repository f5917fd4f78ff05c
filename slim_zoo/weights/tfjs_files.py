"""Reading TensorFlow.js' layers models: a `model.json`, and the shards that it names.

`weightsManifest` lists groups: the paths of shards, whose bytes are joined, and the names, shapes
and types of the weights in them, in this order (https://www.tensorflow.org/js/guide/save_load).
Quantized weights are `value * scale + min`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from files.raw_tensors import MOST_DIMENSIONS, are_counts, lay_over, read_bytes
from files.unpickling import reading
from slim_zoo.weights import keras_config
from slim_zoo.weights.layer_arrays import ModelArrays

MODEL, MANIFEST = 'model.json', 'weightsManifest'
_EXPECTED = "a layers model of TensorFlow.js, with the shards that its 'model.json' names"
_ADVICE = 'Copy the whole folder again, or convert the model once more.'
# Python takes up to 30 times as much memory for JSON. NASNet-Large's takes about 1 MB.
_LARGEST_JSON = 2 ** 24
_LARGEST_METADATA = 2 ** 20
_TYPES = {'float32': 'f4', 'float16': 'f2', 'int32': 'i4', 'uint16': 'u2', 'uint8': 'u1',
          'bool': '?'}
_QUANTIZED = ('uint8', 'uint16', 'float16')
_CHUNK = 2 ** 20


@dataclasses.dataclass(frozen=True)
class _Weight:
  """An entry of a manifest.

  Attributes:
    name: as TensorFlow.js has it.
    shape: of the array.
    code: NumPy's, of the numbers in the shards.
    is_float: whether it is an array of floats once it is read.
    scale, minimum: what quantized numbers are multiplied by, and what is then added; None if there
      is nothing to do.
  """
  name: str
  shape: tuple[int, ...]
  code: str
  is_float: bool
  scale: float | None = None
  minimum: float = 0.0

  @property
  def size(self) -> int:
    """Bytes in the shards."""
    return math.prod(self.shape) * np.dtype(self.code).itemsize


def is_tfjs(path: str, head: bytes) -> bool:
  """Tells whether a file is a `model.json`; that of a checkpoint is metadata of ours."""
  path = str(path)
  if path.endswith('.json') and os.path.exists(f'{path.removesuffix(".json")}.index'):
    return False
  return os.path.basename(path) == MODEL or (
    head.lstrip().startswith(b'{') and has_manifest(path))


def has_manifest(path: str | os.PathLike[str]) -> bool:
  """Tells whether a JSON file has a manifest of weights; other programs have a `model.json` too."""
  with open(path, 'rb') as file:
    return f'"{MANIFEST}"'.encode() in file.read(_LARGEST_JSON)


def read_tfjs(path: str | os.PathLike[str]) -> ModelArrays:
  """Reads a layers model.

  Args:
    path: of its `model.json`. The shards are beside it or below its folder.

  Returns:
    `{'layer/variable': array}`, such as `conv1_bn/gamma`, in the order of the model's layers; for
    nested models the innermost layer's name is used. Quantized weights are float32. With it, the
    size of the model's images.

  Raises:
    ValueError: if it is a graph model, or damaged, or if its shards are not as it says.
    OSError: if it does not exist or may not be read.
  """
  with reading(path, _EXPECTED, _ADVICE) as (file, size):
    if size > _LARGEST_JSON:
      raise ValueError(f'a description of {size:,} bytes')
    model = json.loads(file.read().decode(), object_pairs_hook=_unique)
    _check_kind(model)
    topology = _topology(model)
    layers = {name: i for i, name in enumerate(_layers(topology))}
    folder = os.path.dirname(os.path.abspath(path))
    found: dict[str, np.ndarray] = {}
    names: set[str] = set()
    for weight, array in _arrays(folder, model[MANIFEST]):
      if weight.name in names:
        raise ValueError(f'the weight {weight.name!r:.80} twice')
      names.add(weight.name)
      if weight.is_float:
        key = _key(weight.name, layers)
        found[weight.name if key in found else key] = array
    if not found:
      raise ValueError('a model without weights')
    in_order = sorted(found.items(), key=lambda item: layers.get(
      item[0].rpartition('/')[0], len(layers)))
    return ModelArrays(dict(in_order), keras_config.image_size(topology))


def read_class_names(path: str) -> dict[str, list[str]]:
  """Reads the class names that Teachable Machine writes to `metadata.json` beside a model.

  Returns:
    `{'class_names': names}`; {} where there is no such file or it has something else.
  """
  beside = pathlib.Path(path).with_name('metadata.json')
  if not beside.is_file() or beside.stat().st_size > _LARGEST_METADATA:
    return {}
  try:
    labels = json.loads(beside.read_text(encoding='utf-8'))['labels']
  except (ValueError, LookupError, TypeError, RecursionError):
    return {}
  if not isinstance(labels, list) or not labels or not all(type(name) is str for name in labels):
    return {}
  return {'class_names': labels}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  result = dict(pairs)
  if len(result) < len(pairs):
    raise ValueError('an object of JSON with the same name twice')
  return result


def _check_kind(model: Any) -> None:
  """Refuses everything but a layers model."""
  if type(model) is not dict:
    raise ValueError('JSON that is not an object')
  topology = model.get('modelTopology')
  if model.get('format') == 'graph-model' or (type(topology) is dict and 'node' in topology):
    raise ValueError('a graph model, in which the layers have been rewritten. Convert the original '
                     'with --output_format=tfjs_layers_model, or use the file that it was made '
                     'from')
  if MANIFEST not in model:
    raise ValueError(f'JSON without {MANIFEST}')


def _topology(model: Mapping[str, Any]) -> Any:
  """Returns the configuration of the outermost model; None if it is missing."""
  topology = model.get('modelTopology')
  return topology.get('model_config', topology) if topology is not None else None


def _layers(model: Any) -> Iterator[str]:
  """Yields the names of the layers of a model, those of nested ones in their place."""
  config: Any = model['config'] if model is not None else []
  # Before Keras 2.2.3, a sequential model was a list of layers.
  for layer in config if type(config) is list else config['layers']:
    inner = layer['config']
    if type(inner) is list or 'layers' in inner:
      yield from _layers(layer)
    else:
      yield str(layer.get('name', inner.get('name')))


def _key(name: str, layers: Mapping[str, int]) -> str:
  """Takes the names of outer models off a weight's name."""
  *scopes, variable = name.split('/')
  candidates = ['/'.join(scopes[i:]) for i in range(len(scopes))]
  layer = next((scope for scope in candidates if scope in layers), '/'.join(scopes))
  return f'{layer}/{variable}'


def _arrays(folder: str, manifest: Any) -> Iterator[tuple[_Weight, np.ndarray]]:
  """Reads the weights of all groups, one group at a time."""
  if type(manifest) is not list:
    raise ValueError(f'a {MANIFEST} that is not a list')
  used: set[str] = set()
  for group in manifest:
    paths, weights = group['paths'], [_weight(entry) for entry in group['weights']]
    shards = [_shard(folder, name) for name in paths]
    for name, shard in zip(paths, shards, strict=True):
      if shard in used:
        raise ValueError(f'the shard {name!r:.80} twice')
      used.add(shard)
    wanted, size = sum(weight.size for weight in weights), sum(map(os.path.getsize, shards))
    if wanted != size:
      raise ValueError(f'weights of {wanted:,} bytes in shards of {size:,} bytes: '
                       f'{", ".join(paths)!r:.200}')
    raw, at = _joined(shards, size), 0
    for weight in weights:
      yield weight, _array(weight, raw[at:at + weight.size])
      at += weight.size


def _weight(entry: Any) -> _Weight:
  """Checks an entry of the manifest."""
  name, shape, dtype = entry['name'], entry['shape'], entry['dtype']
  if type(name) is not str or '/' not in name:
    raise ValueError(f'the name of a weight {name!r:.80}')
  if type(shape) is not list or len(shape) > MOST_DIMENSIONS or not are_counts(
      *shape, math.prod(size for size in shape if size)):
    raise ValueError(f'the weight {name!r:.80} of the shape {shape!s:.80}')
  quantization = entry.get('quantization')
  stored = quantization['dtype'] if quantization is not None else dtype
  if dtype not in _TYPES or stored not in (_TYPES if quantization is None else _QUANTIZED):
    raise ValueError(f'the weight {name!r:.80} of the type {dtype!s:.40}, stored as {stored!s:.40}')
  is_float = dtype in ('float32', 'float16')
  if quantization is None or stored == 'float16':
    return _Weight(name, tuple(shape), _TYPES[stored], is_float)
  scale, minimum = quantization['scale'], quantization['min']
  if not all(type(number) in (int, float) and math.isfinite(number)
             for number in (scale, minimum)):
    raise ValueError(f'the weight {name!r:.80} with the scale {scale!s:.40} and the minimum '
                     f'{minimum!s:.40}')
  return _Weight(name, tuple(shape), _TYPES[stored], is_float, float(scale), float(minimum))


def _shard(folder: str, name: Any) -> str:
  """Returns the path of a shard, which must be a file below the model's folder."""
  if type(name) is not str or not name or '\0' in name:
    raise ValueError(f'the path of a shard {name!r:.80}')
  parts = pathlib.PurePosixPath(name.replace('\\', '/'))
  path = os.path.join(folder, *parts.parts)
  if parts.is_absolute() or '..' in parts.parts or (
      os.path.commonpath([os.path.realpath(folder), os.path.realpath(path)])
      != os.path.realpath(folder)):
    raise ValueError(f'the shard {name!r:.80}, which is not in the folder of the model')
  if not os.path.isfile(path):
    raise ValueError(f'no file {name!r:.80} in the folder of the model, which is one of its '
                     'shards')
  return os.path.realpath(path)


def _joined(shards: Sequence[str], size: int) -> np.ndarray:
  """Reads shards, one behind the other: uint8 [size]."""
  raw, at = np.empty(size, np.uint8), 0
  for shard in shards:
    length = os.path.getsize(shard)
    with open(shard, 'rb') as file:
      raw[at:at + length] = read_bytes(file, length)
    at += length
  return raw


def _array(weight: _Weight, raw: np.ndarray) -> np.ndarray:
  """Makes a weight of its bytes."""
  if weight.scale is None or not weight.is_float:
    array = lay_over(raw, weight.code, weight.shape)
    return array.astype(np.float32, copy=False) if weight.is_float else array
  stored = lay_over(raw, weight.code, (math.prod(weight.shape),))
  result = np.empty(stored.shape, np.float32)
  with np.errstate(over='ignore'):  # Infinite numbers are refused where they are used.
    for at in range(0, len(stored), _CHUNK):  # Less memory than all of it in 64 bits.
      part = stored[at:at + _CHUNK].astype(np.float64)
      result[at:at + _CHUNK] = part * weight.scale + weight.minimum
  return result.reshape(weight.shape)
