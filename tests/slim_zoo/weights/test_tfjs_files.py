"""Layers models of TensorFlow.js: what they hold, and damaged and hostile ones."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from scripts.oracles import keras_models
from slim_zoo.weights import formats, restore, sources, tfjs_files

_ARRAYS = {
  'conv1/kernel': np.random.default_rng(0).normal(size=(3, 3, 3, 4)).astype(np.float32),
  'conv1/bias': np.float32([1, -2, 3, 0.5]),
  'fc/kernel': np.full((4, 2), -0.25, np.float32)}


def _model(arrays, dtype='float32', layers=('conv1', 'fc'), shards=('weights.bin',)):
  """Returns a model's description and the bytes of its weights."""
  weights, data = [], b''
  for name, array in arrays.items():
    weights.append({'name': name, 'shape': list(array.shape), 'dtype': 'float32'})
    if dtype != 'float32':
      array, weights[-1]['quantization'] = keras_models.quantized(array, dtype)
    data += array.tobytes()
  config = {'name': 'net', 'layers': [{'class_name': 'Layer', 'config': {'name': name}}
                                      for name in layers]}
  return {'format': 'layers-model', 'modelTopology': {'model_config': {
    'class_name': 'Functional', 'config': config}}, 'weightsManifest': [
      {'paths': list(shards), 'weights': weights}]}, data


def _write(folder, model, data=None):
  """Writes a model to a new folder; `data` is what its shards hold, in as many equal parts."""
  folder.mkdir(exist_ok=True)
  (folder / 'model.json').write_text(json.dumps(model))
  shards = model['weightsManifest'][0]['paths'] if data else []
  size = -(-len(data or b'') // max(len(shards), 1))
  for i, name in enumerate(shards):
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data[i * size:(i + 1) * size])
  return folder / 'model.json'


@pytest.mark.parametrize('shards', [('weights.bin',), ('a.bin', 'deep/b.bin', 'c.bin')])
@pytest.mark.parametrize(('dtype', 'difference'), [
  ('float32', 0), ('float16', 2e-3), ('uint16', 1e-4), ('uint8', 0.012)])
def test_arrays(tmp_path, shards, dtype, difference):
  path = _write(tmp_path / 'x', *_model(_ARRAYS, dtype, shards=shards))
  assert formats.recognize(str(path)).read is tfjs_files.read_tfjs
  found = tfjs_files.read_tfjs(path)
  assert [*found] == [*_ARRAYS]
  for name, array in _ARRAYS.items():
    assert found[name].dtype == np.float32
    np.testing.assert_allclose(found[name], array, rtol=0, atol=difference)


def test_quantized_numbers_are_scaled_as_tensorflow_js_does(tmp_path):
  model, _ = _model({'a/kernel': np.zeros(3, np.float32)}, 'uint8')
  model['weightsManifest'][0]['weights'][0]['quantization'].update(scale=0.1, min=-3)
  found = tfjs_files.read_tfjs(_write(tmp_path / 'x', model, bytes([0, 7, 255])))
  np.testing.assert_array_equal(found['a/kernel'], np.float32([-3, 7 * 0.1 - 3, 255 * 0.1 - 3]))


def test_order_is_that_of_the_layers_and_other_numbers_are_left_out(tmp_path):
  arrays = {'z/kernel': np.ones((), np.float32), 'b/kernel': np.ones((0, 3), np.float32),
            'unknown/x': np.ones(1, np.float32), 'a/kernel': np.ones(2, np.float32)}
  model, data = _model(arrays, layers=('z', 'a', 'b'))
  model['weightsManifest'][0]['weights'] += [
    {'name': 'seed/state', 'shape': [2], 'dtype': 'int32'}]
  found = tfjs_files.read_tfjs(_write(tmp_path / 'x', model, data + bytes(8)))
  assert [*found] == ['z/kernel', 'a/kernel', 'b/kernel', 'unknown/x']


_NESTED = {'class_name': 'Sequential', 'config': [
  {'class_name': 'Functional', 'name': 'mobilenetv2_1.00_224', 'config': {'layers': [
    {'class_name': 'Conv2D', 'config': {'name': 'Conv1'}},
    {'class_name': 'Layer', 'config': {'name': 'expanded_conv/squeeze_excite/Conv'}}]}},
  {'class_name': 'Dense', 'config': {'name': 'top'}}]}


@pytest.mark.parametrize('topology', [_NESTED, {'model_config': _NESTED}])
@pytest.mark.parametrize('prefix', ['', 'mobilenetv2_1.00_224/', 'outer/mobilenetv2_1.00_224/'])
def test_nested_models(tmp_path, topology, prefix):
  arrays = {f'{prefix}{name}': np.ones(1, np.float32) for name in (
    'Conv1/kernel', 'expanded_conv/squeeze_excite/Conv/bias')} | {
      'top/kernel': np.ones(1, np.float32)}
  model, data = _model(arrays)
  model['modelTopology'] = topology
  assert [*tfjs_files.read_tfjs(_write(tmp_path / 'x', model, data))] == [
    'Conv1/kernel', 'expanded_conv/squeeze_excite/Conv/bias', 'top/kernel']


@pytest.mark.parametrize('topology', [None, 'missing'])
def test_weights_without_a_topology_keep_their_names(tmp_path, topology):
  model, data = _model(_ARRAYS)
  model['modelTopology'] = topology
  if topology:
    del model['modelTopology']
  assert [*tfjs_files.read_tfjs(_write(tmp_path / 'x', model, data))] == [*_ARRAYS]


@pytest.mark.parametrize(('name', 'content', 'is_model'), [
  ('model.json', '{}', True), ('mine.json', '{"weightsManifest": []}', True),
  ('mine.json', '{"weights": []}', False), ('model.bin', '{"weightsManifest": []}', True),
  ('model.bin', '[]', False)])
def test_recognized(tmp_path, name, content, is_model):
  (tmp_path / name).write_text(content)
  found = formats.recognize(str(tmp_path / name))
  assert (found is not None and found.read is tfjs_files.read_tfjs) == is_model
  if name.endswith('.json'):
    (tmp_path / name).with_suffix('.index').write_bytes(b'')  # It is metadata of a checkpoint.
    assert formats.recognize(str(tmp_path / name)) is None


@pytest.mark.parametrize(('metadata', 'expected'), [
  ('{"labels": ["cat", "dog"], "imageSize": 224}', ['cat', 'dog']), (None, None), ('{', None),
  ('[]', None), ('{"labels": []}', None), ('{"labels": [1]}', None), ('{"labels": "ab"}', None),
  ('[' * 10 ** 5, None), (' ' * 2 ** 20 + '{"labels": ["a"]}', None)])
def test_class_names_of_teachable_machine(tmp_path, metadata, expected):
  path = _write(tmp_path / 'x', *_model(_ARRAYS))
  if metadata is not None:
    (tmp_path / 'x' / 'metadata.json').write_text(metadata)
  assert sources.open_weights(str(path)).metadata.get('class_names') == expected


def test_infinite_numbers_are_refused_where_they_are_used(tmp_path):
  model, _ = _model({'a/kernel': np.zeros(1, np.float32)}, 'uint8')
  model['weightsManifest'][0]['weights'][0]['quantization'].update(scale=1e300, min=0)
  weights = sources.open_weights(str(_write(tmp_path / 'x', model, b'\x01')))
  row = restore.plan(weights.source, {'a/kernel': (1,)}).rows[0]
  with pytest.raises(ValueError, match='a/kernel'):
    restore.value(row, weights.source)


# Hostile models: what is changed, and what the message names.

def _entry(**fields):
  return lambda model: model['weightsManifest'][0]['weights'][1].update(fields)


def _paths(*names):
  return lambda model: model['weightsManifest'][0].update(paths=list(names))


def _top(**fields):
  return lambda model: model.update(fields)


def _deep(model):
  config = {'layers': []}
  for _ in range(100):
    config = {'layers': [{'class_name': 'Functional', 'config': config}]}
  model['modelTopology'] = {'config': {'layers': [{'config': config}] * 3}}
  model['weightsManifest'][0]['weights'][0]['shape'] = [1]


_HOSTILE = {
  'shape beyond the shard': (_entry(shape=[2 ** 30]), '4,294,967,'),
  'shape of no numbers': (_entry(shape=[2 ** 47, 0, 2 ** 47]), 'conv1/bias'),
  'huge shape': (_entry(shape=[2 ** 60]), 'conv1/bias'),
  'negative shape': (_entry(shape=[-4, -1]), 'conv1/bias'),
  'shape of text': (_entry(shape='4'), 'conv1/bias'),
  'shape of truth': (_entry(shape=[True, 4]), 'conv1/bias'),
  'shape of fractions': (_entry(shape=[4.0]), 'conv1/bias'),
  'dimensions': (_entry(shape=[1] * 33 + [4]), 'conv1/bias'),
  'too few': (_entry(shape=[3]), 'bytes'),
  'unknown type': (_entry(dtype='complex64'), 'complex64'),
  'text': (_entry(dtype='string'), 'string'),
  'type of a list': (_entry(dtype=['float32']), 'TypeError'),
  'name twice': (_entry(name='conv1/kernel'), 'conv1/kernel'),
  'name of a number': (_entry(name=3), 'name of a weight'),
  'name without a layer': (_entry(name='bias'), 'bias'),
  'quantized in another type': (_entry(quantization={'dtype': 'int32', 'scale': 1, 'min': 0}),
                                'int32'),
  'quantized without a scale': (_entry(quantization={'dtype': 'uint8'}), 'scale'),
  'quantized by text': (_entry(shape=[16], quantization={
    'dtype': 'uint8', 'scale': '1', 'min': 0}), 'scale'),
  'quantized by infinity': (_entry(shape=[16], quantization={
    'dtype': 'uint8', 'scale': float('inf'), 'min': 0}), 'inf'),
  'quantized by a huge number': (_entry(shape=[16], quantization={
    'dtype': 'uint8', 'scale': 10 ** 400, 'min': 0}), ''),
  'absolute path': (_paths('/etc/passwd'), '/etc/passwd'),
  'path above': (_paths('../outside.bin'), '../outside.bin'),
  'path above, later': (_paths('deep/../../outside.bin'), 'outside.bin'),
  'path of Windows': (_paths('..\\outside.bin'), 'outside.bin'),
  'link': (_paths('link.bin'), 'link.bin'),
  'linked folder': (_paths('linked/outside.bin'), 'linked'),
  'missing shard': (_paths('weights.bin', 'gone.bin'), 'gone.bin'),
  'address': (_paths('https://example.org/weights.bin'), 'https://example.org'),
  'folder': (_paths('deep'), 'deep'), 'pipe': (_paths('pipe'), 'pipe'),
  'no name': (_paths(''), 'path of a shard'), 'no text': (_paths(7), 'path of a shard'),
  'zero byte': (_paths('a\0b'), 'path of a shard'),
  'shard twice': (_paths('weights.bin', 'weights.bin'), 'twice'),
  'shard twice by other names': (_paths('weights.bin', './weights.bin'), 'twice'),
  'paths of text': (lambda model: model['weightsManifest'][0].update(paths='ab'), "'a'"),
  'no paths': (lambda model: model['weightsManifest'][0].pop('paths'), 'paths'),
  'no weights': (lambda model: model['weightsManifest'][0].pop('weights'), 'weights'),
  'no groups': (_top(weightsManifest=[]), 'without weights'),
  'manifest of text': (_top(weightsManifest='x'), 'weightsManifest'),
  'no manifest': (lambda model: model.pop('weightsManifest'), 'weightsManifest'),
  'graph model': (_top(format='graph-model'), 'tfjs_layers_model'),
  'older graph model': (_top(modelTopology={'node': [], 'library': {}}), 'tfjs_layers_model'),
  'topology of text': (_top(modelTopology='x'), 'damaged'),
  'topology of another form': (_top(modelTopology={'config': {'layers': [1]}}), 'damaged'),
  'deep topology': (_deep, ''),
}
_TEXTS = {
  'empty': '', 'list': '[]', 'cut': '{"weightsManifest": [{', 'nested': '[' * 10 ** 5,
  'no UTF-8': b'\xff\xfe{}', 'key twice': '{"weightsManifest": [], "weightsManifest": []}',
  'large': ' ' * (2 ** 24) + '{"weightsManifest": []}', 'digits': '{"a": ' + '1' * 5000 + '}'}


def test_hostile_models_are_refused(tmp_path):
  """In a process that notes what each model makes it do and how much memory it takes."""
  whole, data = _model(_ARRAYS)
  folder = tmp_path / 'models'
  (tmp_path / 'outside.bin').write_bytes(data)
  _write(folder, whole, data)
  (folder / 'deep').mkdir()
  os.mkfifo(folder / 'pipe')
  os.symlink(tmp_path / 'outside.bin', folder / 'link.bin')
  os.symlink(tmp_path, folder / 'linked')
  for i, (change, _) in enumerate(_HOSTILE.values()):
    model = copy.deepcopy(whole)
    change(model)
    (folder / f'{i}.json').write_text(json.dumps(model))
  done = subprocess.run(
    [sys.executable, pathlib.Path(__file__).with_name('guarded_reader.py'),
     'slim_zoo.weights.tfjs_files', 'read_tfjs', folder], capture_output=True, text=True,
    timeout=300, env={**os.environ, 'PYTHONPATH': str(pathlib.Path(__file__).parents[3])})
  assert done.returncode == 0, done.stderr[-2000:]
  outcomes = json.loads(done.stdout)
  assert outcomes['model.json'][0] == 'loaded ModelArrays' and outcomes['model.json'][2] == []
  for i, (name, (_, message)) in enumerate(_HOSTILE.items()):
    outcome, memory, events = outcomes[f'{i}.json']
    assert outcome.startswith(f'refused {folder}') and message in outcome, (name, outcome)
    assert 'Expected: ' in outcome and outcome.isprintable() and len(outcome) < 1000, name
    assert memory < 2 ** 20 and events == [], (name, memory, events)


@pytest.mark.parametrize('name', _TEXTS)
def test_damaged_json_is_one_error(tmp_path, name):
  path, text = tmp_path / 'model.json', _TEXTS[name]
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  with pytest.raises(ValueError, match='model.json') as error:
    sources.open_weights(str(path))
  assert type(error.value) is ValueError and '\n' not in str(error.value)


@pytest.mark.parametrize('size', [-1, 1])
def test_shards_must_have_the_size_that_the_manifest_says(tmp_path, size):
  path = _write(tmp_path / 'x', *_model(_ARRAYS))
  data = (tmp_path / 'x' / 'weights.bin').read_bytes() + b'x'
  (tmp_path / 'x' / 'weights.bin').write_bytes(data[:len(data) - 1 + size])
  with pytest.raises(ValueError, match='weights.bin'):
    tfjs_files.read_tfjs(path)


def test_a_link_to_the_model_itself_is_followed(tmp_path):
  _write(tmp_path / 'x', *_model(_ARRAYS))
  os.symlink(tmp_path / 'x', tmp_path / 'link')
  assert [*tfjs_files.read_tfjs(tmp_path / 'link' / 'model.json')] == [*_ARRAYS]
  with pytest.raises(FileNotFoundError):
    tfjs_files.read_tfjs(tmp_path / 'gone' / 'model.json')


def test_damaged_models_load_or_are_refused(tmp_path, attacks):
  path = _write(tmp_path / 'x', *_model(_ARRAYS))
  outcomes = set()
  for damaged in attacks.mutations(path.read_bytes(), 300, 'tfjs'):
    path.write_bytes(damaged)
    try:
      tfjs_files.read_tfjs(path)
      outcomes.add('loaded')
    except ValueError:
      outcomes.add('refused')
  assert outcomes == {'loaded', 'refused'}
