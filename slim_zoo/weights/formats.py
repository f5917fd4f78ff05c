"""The formats of weights, recognized by the content of the files."""

from __future__ import annotations

import dataclasses
import os
import shlex
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from slim_zoo.weights import (
  caffe_files,
  checkpoint_files,
  graph_def,
  graph_files,
  hdf5_files,
  safetensors_files,
  table_files,
  tfjs_files,
  tflite_files,
  torch_files,
)
from slim_zoo.weights.dialects import caffe, frozen, keras, objects, torch
from slim_zoo.weights.dialects.dialect import Dialect
from slim_zoo.weights.layouts import HWIO, OIHW

_HEAD = 1024  # Bytes that identify the format.


@dataclasses.dataclass(frozen=True)
class Format:
  """A format of files with weights.

  Attributes:
    name: name for messages, with an article.
    matches: `matches(path, head)` returns whether a file with these first bytes has this format.
    read: `read(path) -> {name: array}`; raises ValueError for a damaged file. None for checkpoints,
      whose arrays are read one by one.
    dialects: `dialects(network, channel_order)` returns the dialects of such files. The order,
      'rgb', 'bgr' or None, is the one expected by the first layer, as stated by the user;
      ValueError if it is needed and None.
    takes_order: whether the user may state the channel order.
    has_prefixes: whether training programs add prefixes to the names of arrays.
    facts: `facts(path)` returns what files next to it say about the weights, such as `class_names`.
    suffixes: those of files that are taken to have this format if no format is recognized, so that
      the error for a damaged one says what is wrong with it.
  """
  name: str
  matches: Callable[[str, bytes], bool]
  read: Callable[[str], Mapping[str, np.ndarray]] | None
  dialects: Callable[[str, str | None], Sequence[Dialect]]
  takes_order: bool = False
  has_prefixes: bool = False
  facts: Callable[[str], Mapping[str, Any]] = lambda path: {}
  suffixes: tuple[str, ...] = ()


def _begins(*starts: bytes) -> Callable[[str, bytes], bool]:
  return lambda path, head: head.startswith(starts)


def members(path: str, head: bytes) -> list[str]:
  """Lists the names in a zip archive; none if it is damaged or not an archive."""
  if not head.startswith(b'PK\x03\x04'):
    return []
  try:
    with zipfile.ZipFile(path) as archive:
      return archive.namelist()
  except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError):
    return []


def _is_safetensors(path: str, head: bytes) -> bool:
  """Returns whether a file starts with the length of a header, then JSON."""
  return head[8:9] == b'{' and int.from_bytes(head[:8], 'little') + 8 <= os.path.getsize(path)


def _is_zip_of_torch(path: str, head: bytes) -> bool:
  return any(name.count('/') == 1 and name.endswith('/data.pkl') for name in members(path, head))


def _is_zip_of_keras(path: str, head: bytes) -> bool:
  return {'config.json', 'model.weights.h5'} <= {*members(path, head)}


def _is_tflite(path: str, head: bytes) -> bool:
  return head[4:8] == tflite_files.IDENTIFIER


def _regardless(dialects: Callable[[str], Sequence[Dialect]]) -> (
    Callable[[str, str | None], Sequence[Dialect]]):
  """For formats in which the network determines the channel order."""
  return lambda network, order: dialects(network)


# The first bytes of state dicts before PyTorch used zip archives: a pickled number.
_LEGACY_TORCH = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'

_TORCH, _KERAS, _FROZEN = map(_regardless, (torch.dialects, keras.dialects, frozen.dialects))

_OF_CHECKPOINTS = ('.index', '.meta', '.json')

# The first one that matches is used.
FORMATS = (
    Format("a layers model of TensorFlow.js, a 'model.json' beside its shards", tfjs_files.is_tfjs,
           tfjs_files.read_tfjs, _KERAS, facts=tfjs_files.read_class_names),
    Format('a safetensors file', _is_safetensors, safetensors_files.read_safetensors, _TORCH,
           has_prefixes=True),
    Format('a PyTorch state dict', _is_zip_of_torch, torch_files.read_torch, _TORCH,
           has_prefixes=True),
    Format('a PyTorch state dict', _begins(_LEGACY_TORCH), torch_files.read_torch, _TORCH,
           has_prefixes=True),
    Format("Keras' weights, a .h5 file", _begins(b'\x89HDF\r\n\x1a\n'), hdf5_files.read_hdf5,
           _KERAS),
    Format("Keras' model, a .keras file", _is_zip_of_keras, hdf5_files.read_keras, _KERAS),
    Format("a dict of Caffe's layers, a .npy file or a pickle", caffe_files.is_pickle,
           caffe_files.read_npy, lambda network, order: caffe.dialects(network, HWIO, order),
           takes_order=True, suffixes=('.npy', '.p', '.pkl', '.pickle')),
    Format("one of Caffe's networks, a .caffemodel file", caffe_files.is_caffemodel,
           caffe_files.read_caffemodel,
           lambda network, order: caffe.dialects(network, OIHW, order or 'bgr'), takes_order=True,
           suffixes=('.caffemodel',)),
    Format('a TensorFlow Lite model', _is_tflite, tflite_files.read_tflite, _FROZEN),
    Format('a frozen graph, a .pb file', graph_def.is_graph, graph_files.read_graph, _FROZEN,
           suffixes=('.pb',)),
)

# `sources.open_weights` recognizes these among checkpoints.
OBJECT_BASED = Format('an object-based checkpoint of TensorFlow 2', lambda path, head: False, None,
                      _regardless(objects.dialects))


def recognize(path: str) -> Format | None:
  """Recognizes a file by its content, and only a damaged one by its name.

  Returns:
    Its format; None for a folder, and for anything that may be a TensorFlow checkpoint.
  """
  if not os.path.isfile(path):
    return None
  head = _head(path)
  found = next((candidate for candidate in FORMATS if candidate.matches(path, head)), None)
  if found or table_files.is_table(path):  # TensorFlow's V1 format.
    return found
  return next((candidate for candidate in FORMATS
               if str(path).endswith(candidate.suffixes)), None)


def _head(path: str) -> bytes:
  with open(path, 'rb') as file:
    return file.read(_HEAD)


def refuse_unknown(path: str) -> None:
  """Rejects a file that is neither in one of `FORMATS` nor part of a TensorFlow checkpoint.

  Raises:
    ValueError: if so; the message lists the supported formats.
  """
  if not os.path.isfile(path) or os.path.exists(f'{path}.index') or (
      checkpoint_files.is_state_file(path) or str(path).endswith(_OF_CHECKPOINTS)
      or '.data-' in os.path.basename(path)):
    return
  if table_files.is_table(path):  # TensorFlow's V1 format.
    return
  if _head(path).startswith(b'\x1f\x8b'):
    raise ValueError(f'{path}: expected weights. Received: a file compressed by gzip. Uncompress '
                     f'it first: gunzip <{shlex.quote(str(path))} >weights')
  names = '; '.join(dict.fromkeys(candidate.name for candidate in FORMATS))
  raise ValueError(f'{path}: expected weights in one of these formats: a checkpoint of TensorFlow '
                   '(x.index and x.data-00000-of-00001, with these names); '
                   f'{names}; an archive (.zip, .tar.gz) or a folder with one of them. Received: '
                   + ('something else.' if os.path.getsize(path) else 'an empty file.'))
