"""Reading what Keras saves: `.h5`, `.weights.h5` and `.keras` files.

HDF5's library hangs and crashes on damaged files. They are read by `weights/hdf5_child.py` in a
separate process with limits, which returns the arrays by their names in the file. Here these names
are translated into layers and variables (https://keras.io/guides/serialization_and_saving).
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from files.unpickling import reading
from slim_zoo.weights import keras_config
from slim_zoo.weights.dialects.keras_older import OF_TENSORFLOW, OF_THEANO
from slim_zoo.weights.layer_arrays import ModelArrays
from slim_zoo.weights.safetensors_files import read_safetensors

_ROOT = str(pathlib.Path(__file__).resolve().parents[2])
_EXPECTED = "weights or a model that Keras saved ('.h5', '.weights.h5' or '.keras')"
_ADVICE = 'Download or copy it again, or save the model once more.'

# Arrays may be compressed: the total size allowed, in addition to a multiple of the file's.
_BASE_BYTES, _MULTIPLE = 2 ** 26, 4
_BASE_MEMORY = 2 ** 32
_BASE_SECONDS, _BYTES_A_SECOND = 20, 2 ** 23
_LONGEST_REPORT = 2 ** 26
_LARGEST_CONFIG = 2 ** 24

# The variables of a layer, as numbered in `.weights.h5`; batch norm may lack the first ones.
_BATCH_NORM = ('gamma', 'beta', 'moving_mean', 'moving_variance')
_VARIABLES = {
  'conv2d': ('kernel', 'bias'),
  'dense': ('kernel', 'bias'),
  'depthwise_conv2d': ('kernel', 'bias'),
  'separable_conv2d': ('depthwise_kernel', 'pointwise_kernel', 'bias'),
}
# Suffixes of their names in Keras 1, which published files still have.
_KERAS_1 = {'W': 'kernel', 'b': 'bias', 'gamma': 'gamma', 'beta': 'beta',
            'running_mean': 'moving_mean', 'running_std': 'moving_variance'}

_OF_THEANO = re.compile(r'(?<![a-z])th_(dim_ordering|kernels)')

Texts = Mapping[str, Mapping[str, Sequence[str]]]
Run = Callable[[list[str], float], int]


def run_child(arguments: list[str], seconds: float) -> int:
  """Runs `hdf5_child`; returns its exit code, negative if a signal ended it.

  Raises:
    subprocess.TimeoutExpired: if it took too long and was stopped.
  """
  path = os.pathsep.join(filter(None, [_ROOT, os.environ.get('PYTHONPATH')]))
  environment = {**os.environ, 'PYTHONPATH': path, 'HDF5_PLUGIN_PRELOAD': '::',
                 'HDF5_PLUGIN_PATH': os.devnull, 'OPENBLAS_NUM_THREADS': '1'}
  return subprocess.run(
    [sys.executable, '-m', 'slim_zoo.weights.hdf5_child', *arguments], env=environment,
    timeout=seconds, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL, check=False).returncode


def read_hdf5(path: str | os.PathLike[str], *, run: Run = run_child) -> ModelArrays:
  """Reads Keras' `.h5` and `.weights.h5` files.

  Args:
    path: a whole model or its weights, from Keras 3 or older.
    run: `run(arguments, seconds)` runs the program that parses it.

  Returns:
    `{'layer/variable': array}`, such as `conv1_bn/gamma`, in the file's order of the layers; for
    nested layers the innermost name is used. Variables of the optimizer are left out. With it, the
    size of the images of a whole model.

  Raises:
    ValueError: if it is damaged, unreasonably large, has no names of layers, or was saved for
      Theano.
    OSError: if it does not exist or cannot be read.
  """
  with reading(path, _EXPECTED, _ADVICE) as (_, size):
    arrays, texts = _parse(os.path.abspath(path), size, run, file_size=size)
    result = _by_layer(arrays, texts, None)
  _refuse_theano(path, texts)
  config = texts.get('', {}).get('model_config', [])
  return ModelArrays(result, keras_config.image_size(config[0] if config else None))


def _refuse_theano(path: str | os.PathLike[str], texts: Texts) -> None:
  """Refuses a file whose name or backend says that its kernels are for Theano.

  Some have TensorFlow's shapes, but their kernels are flipped.
  """
  reason = ''
  if found := _OF_THEANO.search(os.path.basename(path)):
    reason = f'{found[0]!r} in the name of the file'
  elif any('theano' in texts.get(root, {}).get('backend', ()) for root in ('', 'model_weights')):
    reason = "the backend 'theano'"
  if reason:
    raise ValueError(f'{os.fspath(path)} cannot be used. {OF_TENSORFLOW} Received: {reason}, '
                     f'{OF_THEANO}')


def read_keras(path: str | os.PathLike[str], *, run: Run = run_child) -> ModelArrays:
  """Reads a `.keras` file: its `config.json` and `model.weights.h5`; see `read_hdf5`.

  Nothing in the configuration is instantiated or run; it only provides the names of layers if the
  weights have none.
  """
  with reading(path, _EXPECTED, _ADVICE) as (file, size), zipfile.ZipFile(file) as archive, (
      tempfile.TemporaryDirectory()) as folder:
    config = b''.join(_unpacked(archive, 'config.json', min(_LARGEST_CONFIG, 2 ** 20 + size)))
    inner = os.path.join(folder, 'weights')
    with open(inner, 'wb') as output:
      output.writelines(_unpacked(archive, 'model.weights.h5', _most_bytes(size)))
    arrays, texts = _parse(inner, os.path.getsize(inner), run, file_size=size)
    return ModelArrays(_by_layer(arrays, texts, config), keras_config.image_size(config))


def _most_bytes(size: int) -> int:
  return _BASE_BYTES + _MULTIPLE * size


def _unpacked(archive: zipfile.ZipFile, name: str, most: int) -> Iterator[bytes]:
  """Yields a member's bytes, after checking that its size is at most `most`."""
  info = archive.getinfo(name)
  if info.file_size > most or info.flag_bits & 1 or (
      info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
    raise ValueError(f'the member {name} of {info.file_size:,} bytes, encrypted, in an unknown '
                     'compression, or larger than such a file can be expected to hold')
  with archive.open(info) as source:
    while chunk := source.read(2 ** 20):
      yield chunk


def _parse(path: str, size: int, run: Run, *,
           file_size: int) -> tuple[dict[str, np.ndarray], Texts]:
  """Returns an HDF5 file's arrays and the texts of its attributes, by path.

  Args:
    path: absolute path.
    size: size of the HDF5 file.
    run: see `read_hdf5`.
    file_size: size of the file that contains it, which limits the size of its arrays.
  """
  most = _most_bytes(file_size)
  seconds = _BASE_SECONDS + (size + most - _BASE_BYTES) // _BYTES_A_SECOND
  memory = _BASE_MEMORY + 4 * max(size, file_size)
  with tempfile.TemporaryDirectory() as folder:
    try:
      code = run([path, folder, str(seconds), str(memory), str(most)], 2 * seconds + 30)
    except subprocess.TimeoutExpired as error:
      raise ValueError(f'data that its reader did not finish within {error.timeout:.0f} '
                       'seconds') from error
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
      raise ValueError('data that its reader did not finish within its limits')
    if code:
      raise ValueError('data on which its reader stopped with '
                       + (signal.Signals(-code).name if code < 0 else f'exit code {code}'))
    report_path = os.path.join(folder, 'report.json')
    if os.path.getsize(report_path) > _LONGEST_REPORT:
      raise ValueError('too many names')
    with open(report_path, encoding='utf-8') as file:
      report = json.load(file)
    if 'refused' in report:
      raise ValueError(_readable(report['refused']))
    return read_safetensors(os.path.join(folder, 'arrays')), report['texts']


def _readable(reason: str) -> str:
  """Returns the reason why HDF5's library refuses a file; that for a short file in plain words."""
  found = re.search(r'truncated file: eof = (\d+).* stored_eof = (\d+)', reason)
  return (f'a file that is cut short: {int(found[1]):,} of {int(found[2]):,} bytes' if found
          else reason)


def _by_layer(arrays: Mapping[str, np.ndarray], texts: Texts,
              config: bytes | None) -> dict[str, np.ndarray]:
  """Names arrays after their layers, for every kind of file."""
  for root in ('model_weights', ''):
    if layers := _list(texts, root, 'layer_names'):
      return _of_lists(arrays, texts, root, layers=layers)
  return _of_numbers(arrays, texts, config)


def _list(texts: Texts, path: str, name: str) -> list[str]:
  """Returns a list of names; long lists are split into numbered parts."""
  attributes = texts.get(path, {})
  if name in attributes:
    return list(attributes[name])
  result: list[str] = []
  number = 0
  while (part := f'{name}{number}') in attributes:
    result += attributes[part]
    number += 1
  return result


def _of_lists(arrays: Mapping[str, np.ndarray], texts: Texts, root: str, *,
              layers: Sequence[str]) -> dict[str, np.ndarray]:
  """Names the arrays of an `.h5` file: attributes list the layers, and the variables of each."""
  result: dict[str, np.ndarray] = {}
  for layer in layers:
    group = f'{root}/{layer}' if root else layer
    names = _list(texts, group, 'weight_names')
    variables = [_variable(name) for name in names]
    is_model = len(set(variables)) < len(variables)
    for name, variable in zip(names, variables, strict=True):
      path = f'{group}/{name}'
      if path not in arrays:
        raise ValueError(f'no array {path!r:.80}, although it is listed as a variable')
      parent = name.rpartition('/')[0]
      inner = parent.rpartition('/')[2] if is_model and parent else layer
      _add(result, f'{inner}/{variable}', arrays[path], path=path)
  return result


def _variable(name: str) -> str:
  """Strips prefixes and suffixes from a variable's name, and converts those of Keras 1."""
  last = re.sub(r':\d+$', '', name.rpartition('/')[2])
  found = re.fullmatch(rf'.+_({"|".join(_KERAS_1)})(_\d+)?', last)
  return _KERAS_1[found[1]] if found and last not in _BATCH_NORM else last


def _of_numbers(arrays: Mapping[str, np.ndarray], texts: Texts,
                config: bytes | None) -> dict[str, np.ndarray]:
  """Names the arrays of `.weights.h5`: each layer is a group, whose `vars` are numbered."""
  names = {}
  if config is not None and not any('name' in attributes for attributes in texts.values()):
    names = dict(_configured(json.loads(config), ''))
  result: dict[str, np.ndarray] = {}
  nameless = []
  for path, array in arrays.items():
    owner, _, index = path.rpartition('/vars/')
    name = texts.get(f'{owner}/vars', {}).get('name', [names.get(owner)])[0]
    if not owner or not index.isdigit() or array.dtype.kind != 'f':
      continue
    if name is None:
      nameless.append(path)
      continue
    kind = re.sub(r'_\d+$', '', owner.rpartition('/')[2])
    count = sum(f'{owner}/vars/{i}' in arrays for i in range(len(_BATCH_NORM)))
    known = _BATCH_NORM[-count:] if kind == 'batch_normalization' else _VARIABLES.get(kind, ())
    number = int(index[:9])
    variable = known[number] if number < len(known) else index
    _add(result, f'{name}/{variable}', array, path=path)
  if nameless:
    raise ValueError(f'arrays without the name of their layer, such as {nameless[0]!r:.80}, as '
                     "Keras 2 saves them: save the model as '.keras' or '.h5'")
  if not result:
    raise ValueError('an HDF5 file without layers of Keras')
  return result


def _configured(config: Any, prefix: str) -> Iterator[tuple[str, str]]:
  """Yields (group, name) of the layers in a `config.json`.

  A group is named after the layer's class; from the second one on a number is appended.
  """
  counts: dict[str, int] = {}
  for layer in config['config']['layers']:
    kind = re.sub(r'([a-z])([A-Z])', r'\1_\2', re.sub(
      r'(.)([A-Z][a-z]+)', r'\1_\2', layer['class_name'])).lower()
    number = counts[kind] = counts.get(kind, -1) + 1
    group = f'{prefix}layers/{kind}' + (f'_{number}' if number else '')
    yield group, str(layer['config']['name'])
    if 'layers' in layer['config']:
      yield from _configured(layer, f'{group}/')


def _add(result: dict[str, np.ndarray], name: str, array: np.ndarray, *, path: str) -> None:
  """Adds a float array, under its path if the name is taken."""
  if array.dtype.kind == 'f':
    result[path if name in result else name] = array
