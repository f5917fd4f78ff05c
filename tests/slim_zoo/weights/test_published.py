"""Weights by name from a server of the test's own, and checkpoints in archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pathlib
import socket
import tarfile
import threading
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from files.downloads import Resource
from slim_zoo.weights import published
from slim_zoo.weights.published_file import PublishedFile
from slim_zoo.weights.reader import Checkpoint

_VALUES = {'net/weights': np.arange(6000, dtype=np.float32).reshape(2, 3000),
           'net/biases': np.float32([1, 2, 3])}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """A cache of the test's own; the folder of the weights in it."""
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  return tmp_path / 'cache' / 'slim_zoo' / 'weights'


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
  """`saved[version]`: {file name: bytes} of a checkpoint of TensorFlow's first or second format."""
  files, v1 = {}, tf.compat.v1
  for version in (v1.train.SaverDef.V1, v1.train.SaverDef.V2):
    folder = tmp_path_factory.mktemp('saved')
    with tf.Graph().as_default(), v1.Session() as session:
      variables = [v1.get_variable(name, initializer=value) for name, value in _VALUES.items()]
      session.run([variable.initializer for variable in variables])
      v1.train.Saver(variables, write_version=version).save(
        session, str(folder / 'net.ckpt'), write_meta_graph=False, write_state=False)
    files[version] = {path.name: path.read_bytes() for path in folder.iterdir()}
  return {1: files[v1.train.SaverDef.V1], 2: files[v1.train.SaverDef.V2]}


def _tgz(files) -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode='w:gz') as archive:
    for name, content in files.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
  return buffer.getvalue()


@pytest.fixture
def publish(serve, monkeypatch):
  """Puts an entry into the list whose file a server has; returns the log of its requests."""
  def function(content, file='net.tgz', name='net_1.0', status=None, **known):
    address, asked = serve(content, status=status)
    entry = PublishedFile('lenet', f'{address}/models/{file}', **known)
    monkeypatch.setitem(published.PUBLISHED_FILES, name, entry)
    return asked
  return function


def _check(prefix):
  checkpoint = Checkpoint(prefix)
  assert set(checkpoint.shapes) == set(_VALUES)
  for name, value in _VALUES.items():
    np.testing.assert_array_equal(checkpoint.read(name), value)


@pytest.mark.parametrize('version', [1, 2])
@pytest.mark.parametrize('folder', ['', './', 'net_1.0/ema/'])
def test_checkpoint_by_name(publish, saved, cache, capsys, version, folder):
  beside = {'net_frozen.pb': b'graph', 'net.tflite': b'TFL3', 'net_info.txt': b'in, out',
            'net_eval.pbtxt': b'node', '._net.index': b'of a Mac', 'net.ckpt.meta': b'graph'}
  content = _tgz({folder + name: data for name, data in (saved[version] | beside).items()})
  asked = publish(content, classes=10, preprocessing='lenet', image_size=28)
  for _ in range(2):
    path, metadata = published.resolve('zoo:net_1.0')
    _check(path)
    assert metadata == {'model_name': 'lenet', 'classes': 10, 'preprocessing_name': 'lenet',
                        'image_size': 28}
  assert asked == [0]
  assert pathlib.Path(path).is_relative_to(cache / 'net_1.0' / 'unpacked')
  assert os.listdir(cache / 'net_1.0') == ['unpacked']
  assert capsys.readouterr().out.count('No digest of http') == 1


def test_file_by_name(publish, cache, capsys):
  digest = ('sha256-prefix', hashlib.sha256(b'weights').hexdigest()[:8])
  asked = publish(b'weights', 'net-12345678.pth', digest=digest, classes=None)
  for _ in range(2):
    path, metadata = published.resolve('zoo:net_1.0')
    assert path == str(cache / 'net_1.0' / 'net-12345678.pth')
    assert pathlib.Path(path).read_bytes() == b'weights'
    assert metadata == {'model_name': 'lenet'}
  assert asked == [0]
  assert capsys.readouterr().out == ''


def test_another_folder(publish, tmp_path):
  publish(b'\x89HDF\r\n\x1a\nweights', 'net.h5')
  path = published.fetch('net_1.0', tmp_path / 'here')
  assert path == str(tmp_path / 'here' / 'net_1.0' / 'net.h5')


def test_next_address(publish, serve, saved, cache, capsys):
  content = _tgz(saved[2])
  address, asked = serve(content)
  publish(content, status=403, mirrors=(f'{address}/copies/other.tgz',))
  for _ in range(2):
    _check(published.fetch('net_1.0'))
  assert asked == [0]
  assert os.listdir(cache / 'net_1.0') == ['unpacked']
  told = capsys.readouterr().out
  assert '403' in told
  assert f'{address}/copies/other.tgz' in told


def test_all_addresses_fail(publish, serve, cache):
  address, _ = serve(b'', status=404)
  publish(b'', 'net.pth', status=403, digest=('sha256-prefix', '12345678'),
          mirrors=(f'{address}/other.pth',))
  with pytest.raises(OSError, match=rf'net\.pth: .+403.+{address}/other.pth: .+404.+put it there: '
                     rf'{cache / "net_1.0" / "net.pth"} '):
    published.fetch('net_1.0')


def test_weights_in_another_form(publish, serve, cache, capsys):
  address, _ = serve(b'PK\x03\x04weights')
  publish(b'', 'net-12345678.pth', status=404, digest=('sha256-prefix', '12345678'),
          mirrors=(Resource(f'{address}/pytorch_model.bin', head=b'PK', name='net.bin'),))
  path, metadata = published.resolve('zoo:net_1.0')
  assert path == str(cache / 'net_1.0' / 'net.bin')
  assert published.resolve(path)[1] == metadata
  assert 'No digest of http' in capsys.readouterr().out
  assert published.resolve('zoo:net_1.0')[0] == path


_LOGIN = b'<html>sign in</html>'


@pytest.mark.parametrize(('file', 'known'), [
  ('net.tgz', {}), ('net.h5', {}), ('net.pth', {'digest': ('sha256-prefix', '12345678')}),
  ('net.h5', {'digest': ('md5', '0' * 32)}), ('net.tar.gz', {'size': 5})])
def test_something_else_is_refused_and_not_kept(publish, cache, file, known):
  publish(_LOGIN, file, **known)
  with pytest.raises(ValueError, match='http.+put it there: ') as e:
    published.fetch('net_1.0')
  assert '--source' not in str(e.value)
  assert os.listdir(cache / 'net_1.0') == []


def test_damaged_archive_is_not_kept(publish, saved, cache):
  content = _tgz(saved[2])
  publish(content[:-8] + bytes(8))  # Its checksum and length.
  with pytest.raises(ValueError, match='Expected .+ archive'):
    published.fetch('net_1.0')
  assert os.listdir(cache / 'net_1.0') == []
  publish(content)
  _check(published.fetch('net_1.0'))


def test_processes_at_once(publish, saved, cache):
  asked = publish(_tgz(saved[2]))
  found = []
  threads = [threading.Thread(target=lambda: found.append(published.fetch('net_1.0')))
             for _ in range(4)]  # Locks keep threads apart as they do processes.
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(found) == 4
  assert len(set(found)) == 1
  _check(found[0])
  assert asked == [0]
  assert os.listdir(cache / 'net_1.0') == ['unpacked']
  assert os.listdir(cache) == ['net_1.0']


@pytest.mark.parametrize('refused', [True, False])
def test_offline_says_where_to_put_the_file(monkeypatch, saved, cache, refused):
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    port = probe.getsockname()[1]
  host = f'127.0.0.1:{port}' if refused else 'no-such-host.invalid'
  monkeypatch.setenv('no_proxy', '*')
  monkeypatch.setitem(published.PUBLISHED_FILES, 'net_1.0',
                      PublishedFile('lenet', f'http://{host}/net.tgz'))
  place = cache / 'net_1.0' / 'net.tgz'
  with pytest.raises(OSError, match=rf'Could not download .+: {host} cannot be reached .+ put it '
                     rf'there: {place} \(the folder follows from XDG_CACHE_HOME\)') as error:
    published.resolve('zoo:net_1.0')
  assert '\n' not in str(error.value)
  place.write_bytes(_tgz(saved[1]))
  _check(published.resolve('zoo:net_1.0')[0])


@pytest.mark.parametrize('name', ['mobilenet_v1_1.0_225', 'torchvision_resnet', '', 'x' * 100])
def test_unknown_name(name):
  with pytest.raises(ValueError, match=rf"^Unknown published weights '{name}'\..+ These are 20 of "
                     r'\d+: ') as error:
    published.resolve(f'zoo:{name}')
  assert len(str(error.value)) < 1200
  if name == 'mobilenet_v1_1.0_225':
    assert 'Did you mean mobilenet_v1_1.0_224' in str(error.value)


@pytest.mark.parametrize('name', ['net.tar.gz', 'net.tgz', 'net.tar'])
def test_archive_of_the_user(tmp_path, saved, cache, name):
  source = tmp_path / name
  source.write_bytes(_tgz(saved[1]))
  if name == 'net.tar':
    source.write_bytes(gzip.decompress(source.read_bytes()))
  path, metadata = published.resolve(str(source))
  assert metadata == {}
  _check(path)
  digest = hashlib.sha256(source.read_bytes()).hexdigest()
  assert pathlib.Path(path).is_relative_to(cache / 'archives' / digest)
  before = os.stat(path).st_mtime_ns
  source.rename(tmp_path / f'other_{name}')  # It is known by what it holds.
  assert published.resolve(str(tmp_path / f'other_{name}')) == (path, {})
  assert os.stat(path).st_mtime_ns == before


def test_archive_that_is_called_as_a_published_one(tmp_path, saved):
  source = tmp_path / 'v3-large_224_1.0_float.tgz'
  source.write_bytes(_tgz({f'v3-large_224_1.0_float/{folder}/{name}': data
                           for folder in ('ema', 'pristine') for name, data in saved[2].items()}))
  path, metadata = published.resolve(str(source))
  assert path.endswith('/ema/net.ckpt')
  _check(path)
  assert metadata['model_name'] == 'mobilenet_v3_large'
  assert metadata['classes'] == 1001


@pytest.mark.parametrize('path', ['missing.tgz', 'net.pth.tar', 'net.ckpt', 'old.tar',
                                  'model.ckpt-5'])
def test_other_paths_stay_as_they_are(tmp_path, path):
  (tmp_path / 'net.pth.tar').write_bytes(_tgz({}))
  (tmp_path / 'old.tar').write_bytes(b'a pickle')
  assert published.resolve(str(tmp_path / path)) == (str(tmp_path / path), {})


def test_no_archive_of_the_user(tmp_path):
  (tmp_path / 'net.tgz').write_bytes(_LOGIN)
  with pytest.raises(ValueError, match='Expected a complete tar or zip archive. Received: .+net.tgz'
                     ):
    published.resolve(str(tmp_path / 'net.tgz'))


def _write(folder, files):
  for name, content in files.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
  return folder


def test_several_checkpoints(tmp_path, saved):
  def copies(*names):
    return {name.replace('*', suffix): data for name in names
            for suffix, data in ((key[len('net.ckpt'):], data) for key, data in saved[2].items())}

  several = _write(tmp_path / 'a', copies('one.ckpt*', 'deep/two.ckpt*'))
  with pytest.raises(ValueError, match=r'Received several: \S+/a/deep/two.ckpt, \S+/a/one.ckpt. '
                     'Give the path of one'):
    published.find_checkpoint(several)
  assert published.find_checkpoint(several, 'deep') == str(several / 'deep' / 'two.ckpt')
  # A folder of a run says itself which is the newest.
  run = _write(tmp_path / 'run', copies('model.ckpt-10*', 'model.ckpt-9*') | {
    'checkpoint': b'model_checkpoint_path: "/gone/model.ckpt-10"\n'
    b'all_model_checkpoint_paths: "/gone/model.ckpt-9"\n'})
  assert published.find_checkpoint(run) == str(run / 'model.ckpt-10')


def test_what_is_no_checkpoint(tmp_path):
  frozen = _write(tmp_path / 'frozen', {'net_frozen.pb': b'graph', 'labels.txt': b'a'})
  assert published.find_checkpoint(frozen) == str(frozen / 'net_frozen.pb')
  with pytest.raises(ValueError, match=r'Received several.+net.tflite, \S+net_frozen.pb'):
    published.find_checkpoint(_write(frozen, {'net.tflite': b'TFL3'}))
  nothing = _write(tmp_path / 'nothing', {'labels.txt': b'a'})
  with pytest.raises(ValueError, match='Expected weights in .+/nothing. Received: labels.txt'):
    published.find_checkpoint(nothing)


_TFJS = {'net/model.json': b'{"weightsManifest": []}', 'net/weights.bin': b'', 'net/labels.json':
         b'["a"]', '__MACOSX/net/._model.json': b'{"weightsManifest": []}'}
_FOLDERS = {
  'model of TensorFlow.js': (_TFJS, 'net/model.json'),
  'file of another format': ({'deep/er/net.h5': b'', 'readme.md': b''}, 'deep/er/net.h5'),
  'two formats': ({**_TFJS, 'net.h5': b''}, ('net.h5', 'net/model.json')),
  'model.json of another program': ({'model.json': b'{}', 'net.h5': b''}, 'net.h5'),
  'no weights': ({'readme.md': b'', 'model.json': b'{}'}, ('model.json', 'readme.md')),
}


def _zip(files) -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, 'w') as archive:
    for name, content in files.items():
      archive.writestr(name, content)
  return buffer.getvalue()


@pytest.mark.parametrize('name', _FOLDERS)
@pytest.mark.parametrize('kind', ['folder', 'zip', 'tgz', 'tar'])
def test_folders_and_archives_of_the_user(tmp_path, name, kind):
  files, expected = _FOLDERS[name]
  source = tmp_path / f'mine.{kind}'
  if kind == 'folder':
    source.mkdir()
    _write(source, files)
  else:
    data = _zip(files) if kind == 'zip' else _tgz(files)
    source.write_bytes(gzip.decompress(data) if kind == 'tar' else data)
  if isinstance(expected, str):
    path, metadata = published.resolve(str(source))
    assert path.endswith(expected) and metadata == {}
    return
  with pytest.raises(ValueError, match=f'mine.{kind}') as error:
    published.resolve(str(source))
  assert all(part in str(error.value) for part in expected)


def test_a_checkpoint_is_preferred_to_what_is_beside_it(tmp_path, saved):
  folder = _write(tmp_path / 'a', {**{f'net/{name}': data for name, data in saved[2].items()},
                                   'net/frozen.pb': b''})
  path = str(folder / 'net' / 'net.ckpt')
  assert published.find_checkpoint(folder) == path
  _write(folder, {'other/net.h5': b''})
  assert published.find_checkpoint(folder, archive='a.tgz') == path
  with pytest.raises(ValueError, match=r'net/net\.ckpt.+other/net\.h5') as error:
    published.find_checkpoint(folder)
  assert 'frozen.pb' not in str(error.value)


def test_folders_with_too_many_files(tmp_path, monkeypatch):
  monkeypatch.setattr(published, '_MOST_FILES', 3)
  folder = _write(tmp_path / 'photos', {f'{i}.jpg': b'' for i in range(4)})
  with pytest.raises(ValueError, match='at most 3 .+/photos'):
    published.find_checkpoint(folder)


def test_downloaded_weights_are_listed(cache):
  assert published.list_downloaded() == []
  for name in ('mobilenet_v1_1.0_224', 'vgg_16_2016_08_28'):
    (cache / name).mkdir(parents=True)
  (cache / 'mobilenet_v1_1.0_224' / 'unpacked').mkdir()
  (cache / 'vgg_16_2016_08_28' / 'vgg_16_2016_08_28.tar.gz.part').touch()  # Interrupted.
  keras = cache / 'keras_mobilenet_1.0_224'
  keras.mkdir()
  filename = published.PUBLISHED_FILES['keras_mobilenet_1.0_224'].resource.filename
  (keras / filename).touch()
  assert sorted(published.list_downloaded()) == [
    'keras_mobilenet_1.0_224', 'mobilenet_v1_1.0_224']
