"""Keras' HDF5 files, also damaged and hostile ones, read by a child process with limits."""

from __future__ import annotations

import io
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from scripts.oracles import keras_models
from slim_zoo.weights import hdf5_files

_ROOT = pathlib.Path(__file__).parents[3]
_KERNEL = np.arange(12, dtype=np.float32).reshape(3, 4)


def _model():
  return keras.Sequential([
    keras.Input((8, 8, 3)), keras.layers.SeparableConv2D(4, 3, use_bias=False, name='first'),
    keras.layers.BatchNormalization(scale=False, name='second'),
    keras.layers.Conv2D(2, 1, name='third'), keras.layers.Dropout(0.5),
    keras.layers.DepthwiseConv2D(3, name='fourth'), keras.layers.Dense(3, name='fifth')])


def _expected(model):
  return {f'{layer.name}/{variable.name.split("/")[-1]}': variable.numpy()
          for layer in model.layers for variable in layer.variables if 'seed' not in variable.name}


def _assert_same(found, expected):
  assert sorted(found) == sorted(expected)
  for name, array in expected.items():
    np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """A model with an optimizer, and the paths of its files."""
  folder = tmp_path_factory.mktemp('saved')
  model = _model()
  model.compile('adam', 'mse')
  model.optimizer.build(model.trainable_variables)  # Its variables are saved too.
  keras_models.save(model, folder)
  return model, folder


@pytest.mark.parametrize('name', ['model.h5', 'model.weights.h5', 'model.keras'])
def test_files_of_keras(saved, name, tmp_path, monkeypatch):
  model, folder = saved
  monkeypatch.chdir(tmp_path)  # The child is found from anywhere.
  read = hdf5_files.read_keras if name.endswith('.keras') else hdf5_files.read_hdf5
  _assert_same(read(folder / name), _expected(model))
  with pytest.raises(FileNotFoundError):
    read(tmp_path / 'missing')


def _without_names(data):
  """Removes the layers' names, as in files from Keras 2."""
  file = io.BytesIO(data)
  with h5py.File(file, 'r+') as opened:
    opened.visititems(lambda path, item: item.attrs.pop('name', None) and None)
  return file.getvalue()


def test_names_from_the_configuration(saved, tmp_path):
  model, folder = saved
  path = tmp_path / 'x.weights.h5'
  path.write_bytes(_without_names((folder / 'model.weights.h5').read_bytes()))
  with pytest.raises(ValueError, match=r"save the model as '\.keras' or '\.h5'"):
    hdf5_files.read_hdf5(path)
  with zipfile.ZipFile(folder / 'model.keras') as source, zipfile.ZipFile(
      tmp_path / 'x.keras', 'w', zipfile.ZIP_DEFLATED) as archive:
    for name in source.namelist():
      data = source.read(name)
      archive.writestr(name, _without_names(data) if name.endswith('.h5') else data)
  _assert_same(hdf5_files.read_keras(tmp_path / 'x.keras'), _expected(model))


def _legacy(path, layers, root='', parts=1):
  """Writes a file of lists: `{layer: [name of a variable, …]}`, the list of layers in parts."""
  with h5py.File(path, 'w') as file:
    top = file.create_group(root) if root else file
    for layer, variables in layers.items():
      group = top.create_group(layer)
      group.attrs['weight_names'] = [
        name.encode() for name in variables]
      for i, variable in enumerate(variables):
        group[variable] = np.full((2, 2), i, np.float32)
    names = [name.encode() for name in layers]
    if parts == 1:
      top.attrs['layer_names'] = names
    for i in range(parts if parts > 1 else 0):
      top.attrs[f'layer_names{i}'] = names[i::parts]


@pytest.mark.parametrize(('layers', 'expected'), [
  ({'conv1': ['conv1/conv1_1/kernel:0', 'conv1/conv1_1/bias:0'], 'relu': []},
   ['conv1/kernel', 'conv1/bias']),
  ({'a': ['a_W_1:0', 'a_b_1:0'], 'bn': [
    'bn_gamma:0', 'bn_beta:0', 'bn_running_mean:0', 'bn_running_std:0']},
   ['a/kernel', 'a/bias', 'bn/gamma', 'bn/beta', 'bn/moving_mean', 'bn/moving_variance']),
  ({'model': ['one/kernel:0', 'two/kernel:0', 'two/bias:0'], 'Conv/BatchNorm': [
    'Conv/BatchNorm/gamma:0']},
   ['one/kernel', 'two/kernel', 'two/bias', 'Conv/BatchNorm/gamma'])])
@pytest.mark.parametrize(('root', 'parts'), [('', 1), ('model_weights', 2)])
def test_names_of_older_files(tmp_path, layers, expected, root, parts):
  _legacy(tmp_path / 'x.h5', layers, root, parts)
  found = hdf5_files.read_hdf5(tmp_path / 'x.h5')
  assert sorted(found) == sorted(expected)
  assert found[expected[1]].max() == 1


# Hostile files.

def _hostile(write):
  file = io.BytesIO()
  with h5py.File(file, 'w') as opened:
    group = opened.create_group('layers/dense/vars')
    group.attrs['name'] = 'dense'
    write(opened, group)
  return file.getvalue()


def _create(group, shape, dtype=np.float32, **arguments):
  properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
  for name, values in arguments.items():
    getattr(properties, name)(*values)
  kind = dtype if isinstance(dtype, h5py.h5t.TypeID) else h5py.h5t.py_create(np.dtype(dtype))
  space = h5py.h5s.create(h5py.h5s.NULL) if shape is None else h5py.h5s.create_simple(
    shape, tuple(h5py.h5s.UNLIMITED for _ in shape) if 'set_chunk' in arguments else shape)
  h5py.h5d.create(group.id, b'0', kind, space, properties)


def _virtual(file, group):
  layout = h5py.VirtualLayout((3, 4), np.float32)
  layout[:] = h5py.VirtualSource('/etc/passwd', 'x', (3, 4))
  group.create_virtual_dataset('0', layout)


def _cycle(file, group):
  group['again'] = file['layers']


def _deep(file, group):
  for _ in range(100):
    group = group.create_group('x')


def _links(file, group):
  group['0'] = h5py.ExternalLink('/etc/passwd', '/x')


_HOSTILE = {
  '2^40 elements': (lambda f, g: _create(g, (2 ** 40,), set_chunk=[(1024,)]), 'more than the file'),
  '2^62 elements': (lambda f, g: _create(g, (2 ** 62,), set_chunk=[(1024,)]), 'more than the file'),
  'a large chunk': (lambda f, g: _create(g, (4,), set_chunk=[(2 ** 29,)]), 'more than the file'),
  'many arrays': (lambda f, g: [_create(g.create_group(str(i)), (2 ** 22,)) for i in range(9)],
                  'more than the file'),
  'external storage': (lambda f, g: _create(g, (3,), set_external=[b'/etc/passwd', 0, 12]),
                       'in another file'),
  'external link': (_links, 'a link to somewhere else'),
  'soft link': (lambda f, g: g.__setitem__('0', h5py.SoftLink('/etc')), 'a link to somewhere else'),
  'virtual': (_virtual, 'a view of others'),
  'compound': (lambda f, g: _create(g, (3,), [('a', 'f4')]), 'plain numbers'),
  'of variable length': (lambda f, g: _create(g, (3,), h5py.h5t.vlen_create(h5py.h5t.IEEE_F32LE)),
                         'plain numbers'),
  'references': (lambda f, g: _create(g, (3,), h5py.h5t.STD_REF_OBJ), 'plain numbers'),
  'truth': (lambda f, g: _create(g, (3,), bool), 'plain numbers'),
  'text': (lambda f, g: _create(g, (3,), 'S4'), 'plain numbers'),
  'opaque': (lambda f, g: _create(g, (3,), 'V4'), 'plain numbers'),
  'no shape': (lambda f, g: _create(g, None), 'without a shape'),
  'unknown compression': (lambda f, g: _create(g, (4,), set_chunk=[(2,)], set_filter=[
    400, h5py.h5z.FLAG_OPTIONAL]), 'unknown compression'),
  'a cycle': (_cycle, 'two names'),
  'deep': (_deep, 'deeply nested'),
  'names of numbers': (lambda f, g: f.attrs.__setitem__('layer_names', [1, 2]), 'than text'),
  'a name that is missing': (lambda f, g: (f.attrs.__setitem__('layer_names', ['layers']), f[
    'layers'].attrs.__setitem__('weight_names', ['x'])), 'no array'),
  'no layers': (lambda f, g: None, 'without layers of Keras'),
}


def _zip(**members):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, data in members.items():
      archive.writestr({'config': 'config.json', 'weights': 'model.weights.h5'}[name], data)
  return file.getvalue()


def _hostile_zips():
  weights = _hostile(lambda f, g: g.__setitem__('0', _KERNEL))
  nameless = _without_names(weights)
  return {
    'zip without weights': (_zip(config='{}'), 'damaged'),
    'zip without config': (_zip(weights=weights), 'damaged'),
    'zip of text': (_zip(config='{}', weights=b'text'), 'damaged'),
    'zip bomb': (_zip(config='{}', weights=bytes(2 ** 27)), 'larger than such a file'),
    'zip with nested config': (_zip(config='[' * 10 ** 5, weights=nameless), 'damaged'),
    'zip with another config': (_zip(config='[]', weights=nameless), 'damaged'),
    'cut zip': (_zip(config='{}', weights=weights)[:-30], 'damaged|not a zip'),
  }


def _read_all(folder, files, seconds=2):
  """Reads files with limits; returns `{name: outcome}`; fails on errors except one ValueError."""
  folder.mkdir()
  names = {f'{i:05}{".keras" if data[:2] == b"PK" else ""}': name
           for i, (name, data) in enumerate(files.items())}
  for number, name in names.items():
    (folder / number).write_bytes(files[name])
  temporary = folder.with_name(f'{folder.name} temporary')
  temporary.mkdir()
  script = pathlib.Path(__file__).with_name('hdf5_batch.py')
  done = subprocess.run([sys.executable, script, folder, str(seconds)], capture_output=True,
                        text=True, timeout=500, cwd=temporary,
                        env={**os.environ, 'PYTHONPATH': str(_ROOT), 'TMPDIR': str(temporary)})
  assert done.returncode == 0, done.stderr[-2000:]
  assert sorted(os.listdir(folder)) == sorted(names) and os.listdir(temporary) == []
  outcomes = {}
  for number, outcome in json.loads(done.stdout).items():
    name = names[number]
    assert outcome.startswith(('loaded', 'refused')), (name, outcome)
    if outcome.startswith('refused'):
      assert number in outcome and 'Expected: ' in outcome and 'Received: ' in outcome
      assert outcome.isprintable() and len(outcome) < 1000, (name, outcome)
    outcomes[name] = outcome
  return outcomes


def test_hostile_files_are_rejected(tmp_path):
  cases = {name: (_hostile(write), message) for name, (write, message) in _HOSTILE.items()}
  cases |= _hostile_zips()
  whole = _hostile(lambda f, g: g.__setitem__('0', _KERNEL))
  outcomes = _read_all(tmp_path / 'files', {'whole': whole, **{
    name: data for name, (data, _) in cases.items()}})
  assert outcomes.pop('whole') == 'loaded 1'
  for name, (_, message) in cases.items():
    assert outcomes[name].startswith('refused'), (name, outcomes[name])
    assert any(part in outcomes[name] for part in message.split('|')), (name, outcomes[name])


@pytest.mark.parametrize('name', [
  'model.keras', *(pytest.param(name, marks=pytest.mark.slow)
                   for name in ('model.h5', 'model.weights.h5'))])
def test_damaged_files_load_or_are_rejected(saved, tmp_path, attacks, name):
  data = (saved[1] / name).read_bytes()
  files = {str(i): damaged for i, damaged in enumerate(attacks.mutations(data, 200, name))}
  outcomes = _read_all(tmp_path / 'files', {'whole': data, **files})
  refused = sum(outcome.startswith('refused') for outcome in outcomes.values())
  assert outcomes['whole'] == 'loaded 11' and 50 < refused < 201  # Both happen.


def _run(code, seconds=None, cpu=None):
  """A replacement for the program that runs `code` first or instead."""
  def run(arguments, most):
    arguments = [*arguments[:2], cpu or arguments[2], *arguments[3:]]
    return subprocess.run([sys.executable, '-c', f'import sys\n{code}', *arguments], cwd=_ROOT,
                          timeout=seconds or most, check=False).returncode
  return run


_INSTEAD = ('from slim_zoo.weights import hdf5_child as c\n'
            'c.collect = lambda *_: {}\nc.main(*sys.argv[1:])')


@pytest.mark.parametrize(('run', 'message'), [
  (_run('import time; time.sleep(60)', seconds=0.5), 'within 0 seconds'),
  (_run(_INSTEAD.format('[0 for _ in iter(int, 1)]'), cpu='1'), 'within'),
  (_run('import os; os.kill(os.getpid(), 9)'), 'within'),
  (_run('import os; os.abort()'), 'stopped with SIGABRT'),
  (_run('import os; os.kill(os.getpid(), 11)'), 'stopped with SIGSEGV'),
  (_run('sys.exit(3)'), 'stopped with exit code 3'),
  (_run(_INSTEAD.format('bytearray(2 ** 40)')), 'MemoryError'),
  (_run('sys.exit(0)'), 'FileNotFoundError'),
  (_run('open(sys.argv[2] + "/report.json", "w").write("{}")'), 'KeyError|FileNotFoundError')])
def test_child_that_hangs_or_crashes_gives_one_error(saved, run, message):
  path = saved[1] / 'model.weights.h5'
  with pytest.raises(ValueError, match=message) as caught:
    hdf5_files.read_hdf5(path, run=run)
  assert type(caught.value) is ValueError and str(path) in str(caught.value)
