from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import os
import re
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
import samples
import tensorflow as tf

from datasets import dataset_factory
from datasets.converters import archives, cifar10, converters_factory, download, flowers, mnist

_CONTENT = np.random.default_rng(0).bytes(300_000)


class _Handler(http.server.BaseHTTPRequestHandler):
  """Serves `_CONTENT`; what `behaviour` says happens first."""

  def __init__(self, behaviour: dict, *args):
    self.behaviour = behaviour
    super().__init__(*args)

  def do_GET(self):
    asked = int(self.headers.get('Range', 'bytes=0-')[len('bytes='):-1])
    self.behaviour['asked'].append(asked)
    if self.behaviour.get('status'):
      self.send_error(self.behaviour['status'])
      return
    start = 0 if self.behaviour.get('no_ranges') else asked
    content = self.behaviour.get('content', _CONTENT)[start:]
    self.send_response(200 if start == 0 and self.behaviour.get('no_ranges') else 206)
    self.send_header('Content-Length', str(len(content)))
    if not self.behaviour.get('no_ranges'):
      self.send_header('Content-Range', f'bytes {start}-{len(_CONTENT) - 1}/{len(_CONTENT)}')
    self.end_headers()
    cuts = self.behaviour.get('cuts', [])
    self.wfile.write(content[:cuts.pop(0)] if cuts else content)

  def log_message(self, *args):
    pass


@pytest.fixture
def serve():
  """A function that starts a server and returns the resource there and its log."""
  servers = []

  def start(**behaviour):
    behaviour['asked'] = []
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                             functools.partial(_Handler, behaviour))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    servers.append((server, thread))
    url = f'http://127.0.0.1:{server.server_port}/data.bin'
    digest = hashlib.sha256(_CONTENT).hexdigest()
    return download.Resource(url, len(_CONTENT), digest), behaviour['asked']

  yield start
  for server, thread in servers:
    server.shutdown()
    server.server_close()
    thread.join()


def _download(resource, folder, **kwargs):
  return download.download(resource, folder, pause_seconds=0, **kwargs)


def test_download(serve, tmp_path):
  resource, asked = serve()
  path = _download(resource, tmp_path)
  assert path.read_bytes() == _CONTENT
  assert os.listdir(tmp_path) == ['data.bin']
  _download(resource, tmp_path)
  assert asked == [0]


def test_broken_connection_goes_on_where_it_broke(serve, tmp_path):
  resource, asked = serve(cuts=[100_000, 50_000])
  assert _download(resource, tmp_path).read_bytes() == _CONTENT
  assert asked == [0, 100_000, 150_000]


def test_interrupted_download_resumes_in_another_run(serve, tmp_path):
  (tmp_path / 'data.bin.part').write_bytes(_CONTENT[:120_000])
  resource, asked = serve()
  assert _download(resource, tmp_path).read_bytes() == _CONTENT
  assert asked == [120_000]


def test_server_without_ranges_starts_again(serve, tmp_path):
  (tmp_path / 'data.bin.part').write_bytes(_CONTENT[:120_000])
  resource, _ = serve(no_ranges=True)
  assert _download(resource, tmp_path).read_bytes() == _CONTENT


@pytest.mark.parametrize('behaviour', [
  {'content': b'x' * len(_CONTENT)},
  {'content': _CONTENT + b'x'},
])
def test_something_else_is_refused(serve, tmp_path, behaviour):
  resource, _ = serve(**behaviour)
  with pytest.raises(ValueError, match=r'Expected 300000 bytes with sha256 .* Received'):
    _download(resource, tmp_path)
  assert os.listdir(tmp_path) == []


def test_what_arrived_is_kept_when_it_gives_up(serve, tmp_path):
  resource, asked = serve(cuts=[100_000, 0, 0, 0, 0, 0])
  with pytest.raises(OSError, match='100000 of 300000 bytes are kept'):
    _download(resource, tmp_path, attempts=3)
  assert len(asked) == 4
  assert (tmp_path / 'data.bin.part').read_bytes() == _CONTENT[:100_000]


def test_refusal_is_final(serve, tmp_path):
  resource, asked = serve(status=404)
  with pytest.raises(OSError, match=r'404.*--source'):
    _download(resource, tmp_path)
  assert asked == [0]


def test_damaged_copy_is_fetched_again(serve, tmp_path):
  (tmp_path / 'data.bin').write_bytes(b'x' * len(_CONTENT))
  resource, _ = serve()
  assert _download(resource, tmp_path).read_bytes() == _CONTENT


def _tar(path, members: dict[str, bytes], link: str | None = None):
  with tarfile.open(path, 'w:gz') as archive:
    for name, content in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      archive.addfile(member, io.BytesIO(content))
    if link:
      member = tarfile.TarInfo('link')
      member.type, member.linkname = tarfile.SYMTYPE, link
      archive.addfile(member)
  return path


def test_archives_unpack_and_vanish(tmp_path):
  tar = _tar(tmp_path / 'a.tgz', {'a/b.txt': b'1'})
  with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
    archive.writestr('a/b.txt', '1')
  for path in (tar, tmp_path / 'a.zip'):
    with archives.unpacked(path, tmp_path / 'scratch') as folder:
      assert (folder / 'a' / 'b.txt').read_bytes() == b'1'
    assert list((tmp_path / 'scratch').iterdir()) == []


@pytest.mark.parametrize(('members', 'link'), [
  ({'../evil': b'x'}, None), ({'a/../../evil': b'x'}, None), ({'/tmp/evil': b'x'}, None),
  ({'a': b'x'}, '/etc/passwd'), ({'a': b'x'}, 'a'),
])
def test_archives_write_nowhere_else(tmp_path, members, link):
  archive = _tar(tmp_path / 'a.tgz', members, link)
  with pytest.raises(ValueError, match='Received'), archives.unpacked(archive, tmp_path / 's'):
    pass
  assert not list(tmp_path.rglob('evil'))


def test_archive_cut_short(tmp_path):
  archive = _tar(tmp_path / 'a.tgz', {'a': _CONTENT})
  archive.write_bytes(archive.read_bytes()[:1000])
  with pytest.raises(ValueError, match='complete tar or zip'), archives.unpacked(
      archive, tmp_path / 's'):
    pass


def _names(dataset):
  return [hashlib.sha256(e['image'].numpy()).hexdigest() for e in dataset.epoch(0)]


@pytest.mark.parametrize('packed', [False, True])
def test_flowers_from_a_local_source(tmp_path, packed):
  samples.write_folder(tmp_path / 'flower_photos', {'daisy': 20, 'roses': 17})
  source = tmp_path / 'flower_photos'
  if packed:
    source = tmp_path / 'photos.tgz'
    with tarfile.open(source, 'w:gz') as archive:
      archive.add(tmp_path / 'flower_photos', 'flower_photos')
  for out in ('one', 'two'):
    assert converters_factory.convert('flowers', tmp_path / out, source=source, num_validation=7)
  assert sorted(os.listdir(tmp_path / 'one')) == sorted([*flowers.filenames(), 'labels.txt'])
  assert (tmp_path / 'one' / 'labels.txt').read_text() == '0:daisy\n1:roses\n'
  train, validation = (dataset_factory.get_dataset('flowers', split, tmp_path / 'one')
                       for split in ('train', 'validation'))
  assert (train.num_examples, validation.num_examples) == (30, 7)
  images = {hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (tmp_path / 'flower_photos').rglob('*.png')}
  assert set(_names(train) + _names(validation)) == images
  assert set(train.labels) == {0, 1}
  for name in flowers.filenames():
    assert (tmp_path / 'one' / name).read_bytes() == (tmp_path / 'two' / name).read_bytes()
  assert not converters_factory.convert('flowers', tmp_path / 'one', source=source)


def test_records_have_tf_slims_keys(tmp_path):
  samples.write_folder(tmp_path / 'photos', {'daisy': 6, 'roses': 6})
  converters_factory.convert('flowers', tmp_path, source=tmp_path / 'photos', num_validation=5)
  record = next(iter(tf.data.TFRecordDataset(str(tmp_path / flowers.filenames()[0]))))
  feature = tf.train.Example.FromString(record.numpy()).features.feature
  assert sorted(feature) == ['image/class/label', 'image/encoded', 'image/format', 'image/height',
                             'image/width']
  assert feature['image/format'].bytes_list.value[0] == b'png'
  assert feature['image/height'].int64_list.value[0] == 4


def test_damaged_image_leaves_nothing_behind(tmp_path):
  samples.write_folder(tmp_path / 'photos', {'daisy': 6, 'roses': 6})
  (tmp_path / 'photos' / 'roses' / '003.png').write_bytes(b'<html>')
  with pytest.raises(ValueError, match=r'roses/003.png, which cannot be decoded'):
    converters_factory.convert('flowers', tmp_path / 'out', source=tmp_path / 'photos',
                               num_validation=5)
  assert os.listdir(tmp_path / 'out') == []


@pytest.mark.parametrize('num_validation', [0, 12])
def test_too_many_validation_images(tmp_path, num_validation):
  samples.write_folder(tmp_path / 'photos', {'daisy': 6, 'roses': 6})
  with pytest.raises(ValueError, match='between 1 and 11'):
    converters_factory.convert('flowers', tmp_path / 'out', source=tmp_path / 'photos',
                               num_validation=num_validation)


def _write_cifar10(folder: Path) -> np.ndarray:
  """Writes the six files with four images each; returns the pixels of the test images."""
  folder.mkdir(parents=True)
  rng = np.random.default_rng(0)
  for name in [*(f'data_batch_{i}.bin' for i in range(1, 6)), 'test_batch.bin']:
    pixels = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    rows = [bytes([label]) + image.transpose(2, 0, 1).tobytes()
            for label, image in enumerate(pixels)]
    (folder / name).write_bytes(b''.join(rows))
  return pixels


def test_cifar10_from_a_local_source(tmp_path):
  pixels = _write_cifar10(tmp_path / 'source' / 'cifar-10-batches-bin')
  assert converters_factory.convert('cifar10', tmp_path / 'out', source=tmp_path / 'source')
  found = dataset_factory.get_dataset('cifar10', 'test', tmp_path / 'out')
  assert found.class_names[:2] == ('airplane', 'automobile')
  assert found.labels.tolist() == [0, 1, 2, 3]
  images = [samples.decode(example['image']).numpy() for example in found.epoch(0)]
  np.testing.assert_array_equal(images, pixels)
  train = dataset_factory.get_dataset('cifar10', 'train', tmp_path / 'out', validation_fraction=0)
  assert train.num_examples == 20


def _write_mnist(folder: Path) -> np.ndarray:
  """Writes the four files with ten images each; returns the pixels of the test images."""
  folder.mkdir()
  rng = np.random.default_rng(0)
  for prefix in ('train', 't10k'):
    pixels = rng.integers(0, 256, (10, 28, 28), np.uint8)
    (folder / f'{prefix}-images-idx3-ubyte.gz').write_bytes(
        gzip.compress(struct.pack('>4I', 0x803, 10, 28, 28) + pixels.tobytes()))
    (folder / f'{prefix}-labels-idx1-ubyte.gz').write_bytes(
        gzip.compress(struct.pack('>2I', 0x801, 10) + bytes(range(10))))
  return pixels


def test_mnist_from_a_local_source(tmp_path):
  pixels = _write_mnist(tmp_path / 'source')
  assert converters_factory.convert('mnist', tmp_path / 'out', source=tmp_path / 'source')
  found = dataset_factory.get_dataset('mnist', 'test', tmp_path / 'out')
  assert (found.channels, found.class_names[3]) == (1, 'three')
  assert found.labels.tolist() == list(range(10))
  images = [tf.io.decode_png(example['image']).numpy()[:, :, 0] for example in found.epoch(0)]
  np.testing.assert_array_equal(images, pixels)


def test_unknown_dataset(tmp_path):
  with pytest.raises(ValueError, match=r'dataset to convert .* Did you mean cifar10'):
    converters_factory.convert('cifr10', tmp_path)


@pytest.mark.parametrize(('name', 'write', 'file', 'content', 'message'), [
  ('cifar10', _write_cifar10, 'data_batch_3.bin', None, 'data_batch_3.bin'),
  ('cifar10', _write_cifar10, 'test_batch.bin', b'x' * 100, 'cut short'),
  ('cifar10', _write_cifar10, 'test_batch.bin', b'\x0a' * 3073, 'labels 0 to 9'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz', None, 't10k-labels'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz', b'x', 'complete gzip'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz', gzip.compress(b'x'), 'complete IDX'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz',
   gzip.compress(struct.pack('>2I', 0x801, 3) + bytes(3)), 'Received 3'),
])
def test_damaged_sources_are_explained(tmp_path, name, write, file, content, message):
  write(tmp_path / 'source')
  (tmp_path / 'source' / file).unlink()
  if content is not None:
    (tmp_path / 'source' / file).write_bytes(content)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    converters_factory.convert(name, tmp_path / 'out', source=tmp_path / 'source')
  assert not list(tmp_path.rglob('*.tfrecord'))


@pytest.mark.parametrize(('name', 'write'), [('mnist', _write_mnist), ('cifar10', _write_cifar10)])
def test_download_is_converted_and_removed(tmp_path, monkeypatch, name, write):
  # The network's place is taken by a local folder of what it would bring.
  write(tmp_path / 'source')
  if name == 'cifar10':
    with tarfile.open(tmp_path / 'cifar-10-binary.tar.gz', 'w:gz') as archive:
      archive.add(tmp_path / 'source', 'cifar-10-batches-bin')

  def fetch(resource, folder):
    folder.mkdir(exist_ok=True)
    parent = tmp_path / 'source' if name == 'mnist' else tmp_path
    path = folder / resource.filename
    path.write_bytes((parent / resource.filename).read_bytes())
    return path

  monkeypatch.setattr(download, 'download', fetch)
  assert converters_factory.convert(name, tmp_path / 'out')
  module = {'mnist': mnist, 'cifar10': cifar10}[name]
  assert sorted(os.listdir(tmp_path / 'out')) == sorted([*module.filenames(), 'labels.txt'])


# Slow because each program imports TensorFlow.
@pytest.mark.slow
@pytest.mark.parametrize(('arguments', 'code', 'output'), [
  (['--dataset_name=cifar10', '--source=source'], 0, 'Wrote cifar10'),
  (['--dataset_name=cifar10', '--num_validation=3'], 1, r'^Error: Expected --num_validation with'),
])
def test_script(tmp_path, arguments, code, output):
  _write_cifar10(tmp_path / 'source')
  script = Path(__file__).parents[2] / 'download_and_convert_data.py'
  done = subprocess.run([sys.executable, script, '--dataset_dir=out', *arguments], cwd=tmp_path,
                        capture_output=True, text=True, check=False)
  assert done.returncode == code
  assert re.search(output, done.stdout + done.stderr, re.MULTILINE)
  assert 'Traceback' not in done.stderr
