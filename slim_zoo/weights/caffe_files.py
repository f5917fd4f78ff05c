"""Reading the weights of Caffe's networks: `.caffemodel` files, and `.npy` files made from them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from files.raw_tensors import MOST_DIMENSIONS, are_counts, lay_over
from files.unpickling import read_pickle, reading
from slim_zoo.weights.wire_format import (
  BYTES,
  VARINT,
  fields,
  first_fields,
  is_text,
  signed,
  varints,
)

_LONGEST_NAME = 1000
_NO_LAYERS = ('{path}: expected a dict of layers, each [weights, biases] or a dict of both, as in '
              'bvlc_alexnet.npy. Received: {found}.')


def read_npy(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a pickled dict of layers, such as `bvlc_alexnet.npy` and `vgg16.npy`.

  Args:
    path: a file with {layer: [weights, biases]} or {layer: {'weights': …, 'biases': …}}.

  Returns:
    `{'conv1/weights': array}`; kernels are [height, width, in, out], or [in, out].

  Raises:
    ValueError: if it is damaged or has other content; no code in it has been run.
    OSError: if it does not exist or cannot be read.
  """
  layers = read_pickle(path)
  if type(layers) is not dict or not layers:
    raise ValueError(_NO_LAYERS.format(path=path, found=type(layers).__name__))
  arrays = {}
  for layer, values in layers.items():
    if type(values) in (list, tuple) and len(values) == 2:
      values = dict(zip(('weights', 'biases'), values, strict=True))
    if type(values) is not dict:
      raise ValueError(_NO_LAYERS.format(path=path,
                                         found=f'{_text(layer)!r:.80}: {type(values).__name__}'))
    for kind, array in values.items():
      name = f'{_text(layer)}/{_text(kind)}'
      if type(array) is not np.ndarray or array.dtype.kind != 'f':
        found = f'{name!r:.80}: {type(array).__name__}'
        raise ValueError(_NO_LAYERS.format(path=path, found=found))
      arrays[name] = array
  return arrays


# How a pickle of a dict or of an array begins in the protocols 0 and 1, which have no signature.
_OLD_PICKLE = re.compile(rb'\(dp?\d*\n|\(lp\d+\n|[}\]]q[\0\1]\(|'
                         rb'c(numpy|collections|copy_reg|copyreg|__builtin__|[A-Za-z_]\w*\.\w+)'
                         rb'[\w.]*\n\w+\n')


def is_pickle(path: str, head: bytes) -> bool:
  """Tells whether a file with these first bytes is a `.npy` file or a pickle."""
  del path
  return head.startswith((b'\x93NUMPY', b'\x80')) or _OLD_PICKLE.match(head) is not None


def _text(key: Any) -> str:
  """Returns a key as text; Python 2's are bytes."""
  return key.decode('latin1') if type(key) is bytes else str(key)


# The fields of caffe.proto that are read (https://github.com/BVLC/caffe, `src/caffe/proto`).
_NAME = 1  # Of NetParameter.
_V1_LAYERS, _LAYERS = 2, 100  # Fields of NetParameter in old and new files.


@dataclasses.dataclass(frozen=True)
class _Fields:
  """The field numbers of a layer.

  Attributes:
    name, type, bottoms, tops, blobs: number of each field.
    types: the values of `type` that matter here.
  """
  name: int
  type: int
  bottoms: int
  tops: int
  blobs: int
  types: dict[int | str, str]

  @property
  def type_is_text(self) -> bool:
    """Whether `type` is a text, not a number."""
    return any(isinstance(value, str) for value in self.types)


_INNER_PRODUCT, _POOLING, _LRN = 'InnerProduct', 'Pooling', 'LRN'
_LAYER_FIELDS = {
    _V1_LAYERS: _Fields(name=4, type=5, bottoms=2, tops=3, blobs=6,
                        types={14: _INNER_PRODUCT, 15: _LRN, 17: _POOLING}),
    _LAYERS: _Fields(name=1, type=2, bottoms=3, tops=4, blobs=7,
                     types={name: name for name in (_INNER_PRODUCT, _LRN, _POOLING)}),
}
_SHAPE, _FLOATS, _DOUBLES = 7, 5, 8  # Fields of BlobProto.
_OLD_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
_DIM = 1  # Field of BlobShape.
_MOST_FIELDS = 100_000  # Networks have a few thousand; without a bound, long files take minutes.

# Marks a network that pools before normalizing, like CaffeNet and unlike AlexNet. Both have the
# same layers with the same shapes.
POOLS_FIRST = 'norm1/follows pool1'


@dataclasses.dataclass
class _Layer:
  """A layer of a file.

  Attributes:
    name: its name.
    type: one of the types that matter here, or ''.
    bottoms, tops: names of its inputs and outputs.
    blobs: its arrays, still encoded.
  """
  name: str = ''
  type: str = ''
  bottoms: list[str] = dataclasses.field(default_factory=list)
  tops: list[str] = dataclasses.field(default_factory=list)
  blobs: list[memoryview] = dataclasses.field(default_factory=list)


def read_caffemodel(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Reads a network that Caffe saved.

  Args:
    path: a `.caffemodel` file.

  Returns:
    `{'conv1/weights': array}`; kernels are [out, in, height, width], or [out, in] for a fully
    connected layer. An empty array `POOLS_FIRST` is added if it applies to the network. The arrays
    share the memory of the file's bytes and are read-only.

  Raises:
    ValueError: if it is damaged or has other content.
    OSError: if it does not exist or cannot be read.
  """
  advice = 'Copy it again, or name another file.'
  with reading(path, 'a .caffemodel file', advice) as (file, _):
    budget = itertools.count()
    layers = [*_layers(memoryview(file.read()), budget)]
    arrays = {}
    for layer in layers:
      for kind, blob in zip(_kinds(layer), layer.blobs, strict=True):
        name = f'{layer.name}/{kind}'
        if name in arrays:
          raise ValueError(f'the layer {layer.name!r:.80} twice')
        arrays[name] = _array(blob, name, budget, layer_type=layer.type)
    if not arrays:
      raise ValueError('no layers with weights')
    if _pools_first(layers):
      arrays[POOLS_FIRST] = np.empty(0, np.float32)
    return arrays


def is_caffemodel(path: str, head: bytes) -> bool:
  """Tells whether a file with these first bytes is a network: a message with a layer."""
  del path
  try:
    for number, kind, value in first_fields(memoryview(head)):
      if number in _LAYER_FIELDS and kind == BYTES:
        return _begins_layer(value, _LAYER_FIELDS[number])
      if number == _NAME and not is_text(value):
        return False
  except ValueError:
    pass
  return False


def _begins_layer(message: memoryview, known: _Fields) -> bool:
  """Tells whether bytes are the beginning of a layer: it has a name, and its type comes next."""
  has_name = False
  for number, kind, value in first_fields(message):
    if number == known.type and has_name:
      return kind == (BYTES if known.type_is_text else VARINT)
    if kind != BYTES or number not in (known.name, known.bottoms, known.tops) or (
        not is_text(value)):
      return False
    has_name |= number == known.name
  return False


def _fields(message: memoryview,
            budget: Iterator[int]) -> Iterator[tuple[int, int, Any]]:
  """Reads a message's fields, counting them across all messages of a file."""
  for field in fields(message):
    if next(budget) >= _MOST_FIELDS:
      raise ValueError(f'more than {_MOST_FIELDS:,} fields')
    yield field


def _layers(net: memoryview, budget: Iterator[int]) -> Iterator[_Layer]:
  """Reads the layers without decoding their arrays."""
  for number, kind, message in _fields(net, budget):
    known = _LAYER_FIELDS.get(number)
    if known is None or kind != BYTES:
      continue
    layer = _Layer()
    for part, kind, value in _fields(message, budget):
      if part == known.blobs and kind == BYTES:
        layer.blobs.append(value)
      elif part == known.type:
        value = _decoded(value) if kind == BYTES else value
        layer.type = known.types.get(value, '')
      elif part == known.name and kind == BYTES:
        layer.name = _decoded(value)
      elif part in (known.bottoms, known.tops) and kind == BYTES:
        (layer.bottoms if part == known.bottoms else layer.tops).append(_decoded(value))
    yield layer


def _decoded(value: memoryview) -> str:
  return bytes(value[:_LONGEST_NAME]).decode()


def _kinds(layer: _Layer) -> list[str]:
  """Names a layer's arrays."""
  return [*('weights', 'biases')[:len(layer.blobs)], *map(str, range(2, len(layer.blobs)))]


def _array(blob: memoryview, name: str, budget: Iterator[int], *,
           layer_type: str) -> np.ndarray:
  """Decodes an array, after checking its shape against its data."""
  dims: list[int] = []
  old_dims = [0, 0, 0, 0]
  data: dict[int, list[memoryview]] = {_FLOATS: [], _DOUBLES: []}
  has_shape = False
  for number, kind, value in _fields(blob, budget):
    if number == _SHAPE and kind == BYTES:
      has_shape = True
      dims += _dims(value, budget)
    elif number in _OLD_SHAPE and kind == VARINT:
      old_dims[number - 1] = signed(value)
    elif number in data and kind == BYTES:
      data[number].append(value)
  shape = dims if has_shape else old_dims
  code, chunks = ('f4', data[_FLOATS]) if data[_FLOATS] else ('f8', data[_DOUBLES])
  size = sum(map(len, chunks))
  if len(shape) > MOST_DIMENSIONS or not are_counts(*shape) or (
      math.prod(shape) * np.dtype(code).itemsize != size):
    raise ValueError(f'the array {name!r:.80} of the shape {tuple(shape)!s:.80} with {size:,} '
                     'bytes of numbers')
  if not has_shape:
    shape = _without_ones(shape, name, layer_type)
  raw = np.frombuffer(chunks[0] if len(chunks) == 1 else b''.join(chunks), np.uint8)
  return np.require(lay_over(raw, code, shape), requirements='A')


def _dims(message: memoryview, budget: Iterator[int]) -> list[int]:
  """Reads a BlobShape."""
  dims = []
  for number, kind, value in _fields(message, budget):
    if number == _DIM:
      dims += varints(value, MOST_DIMENSIONS) if kind == BYTES else [signed(value)]
    if len(dims) > MOST_DIMENSIONS:
      raise ValueError(f'an array of more than {MOST_DIMENSIONS} dimensions')
  return dims


def _without_ones(shape: list[int], name: str, layer_type: str) -> list[int]:
  """Removes leading ones from the four dimensions of old files if the layer has fewer."""
  if name.endswith('/weights'):
    count = 2 if layer_type == _INNER_PRODUCT else 0
  else:
    count = 3
  if shape[:count] != [1] * count:
    raise ValueError(f'the array {name!r:.80} of the shape {tuple(shape)}')
  return shape[count:]


def _pools_first(layers: list[_Layer]) -> bool:
  """Returns whether the layer `norm1` normalizes the output of a pooling layer."""
  pooled = {top for layer in layers if layer.type == _POOLING for top in layer.tops}
  return any(layer.name == 'norm1' and layer.type == _LRN and not pooled.isdisjoint(layer.bottoms)
             for layer in layers)
