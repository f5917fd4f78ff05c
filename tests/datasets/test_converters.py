from __future__ import annotations

import gzip
import hashlib
import os
import re
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import samples
import tensorflow as tf

from datasets import dataset_factory
from datasets.converters import cifar10, converters_factory, flowers, mnist
from files import downloads


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
  with pytest.raises(ValueError, match=r'roses/003\.png'):
    converters_factory.convert('flowers', tmp_path / 'out', source=tmp_path / 'photos',
                               num_validation=5)
  assert os.listdir(tmp_path / 'out') == []


@pytest.mark.parametrize('num_validation', [0, 12])
def test_too_many_validation_images(tmp_path, num_validation):
  samples.write_folder(tmp_path / 'photos', {'daisy': 6, 'roses': 6})
  with pytest.raises(ValueError, match=rf'--num_validation.* 1 .*\b11\b.*\b{num_validation}\b'):
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
  with pytest.raises(ValueError, match=r"'cifr10'.*cifar10"):
    converters_factory.convert('cifr10', tmp_path)


@pytest.mark.parametrize(('name', 'write', 'file', 'content', 'message'), [
  ('cifar10', _write_cifar10, 'data_batch_3.bin', None, 'data_batch_3.bin'),
  ('cifar10', _write_cifar10, 'test_batch.bin', b'x' * 100, r'3073 .*test_batch\.bin.* 100 '),
  ('cifar10', _write_cifar10, 'test_batch.bin', b'\x0a' * 3073, r'test_batch\.bin.* 10\b'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz', None, 't10k-labels'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz', b'x', 'gzip.*t10k-labels'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz', gzip.compress(b'x', mtime=0),
   'IDX.*t10k-labels'),
  ('mnist', _write_mnist, 't10k-labels-idx1-ubyte.gz',
   gzip.compress(struct.pack('>2I', 0x801, 3) + bytes(3), mtime=0), r't10k.*\b3\b'),
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
  # A local folder replaces the network.
  write(tmp_path / 'source')
  if name == 'cifar10':
    with tarfile.open(tmp_path / 'cifar-10-binary.tar.gz', 'w:gz') as archive:
      archive.add(tmp_path / 'source', 'cifar-10-batches-bin')

  def fetch(resource, folder, **advice):
    folder.mkdir(exist_ok=True)
    parent = tmp_path / 'source' if name == 'mnist' else tmp_path
    path = folder / resource.filename
    path.write_bytes((parent / resource.filename).read_bytes())
    assert '--source' in advice['advice']
    return path

  monkeypatch.setattr(downloads, 'download', fetch)
  assert converters_factory.convert(name, tmp_path / 'out')
  module = {'mnist': mnist, 'cifar10': cifar10}[name]
  assert sorted(os.listdir(tmp_path / 'out')) == sorted([*module.filenames(), 'labels.txt'])


# Slow because each program imports TensorFlow.
@pytest.mark.slow
@pytest.mark.parametrize(('arguments', 'code', 'output'), [
  (['--dataset_name=cifar10', '--source=source'], 0, 'cifar10'),
  (['--dataset_name=cifar10', '--num_validation=3'], 1, r'^Error: .*--num_validation'),
])
def test_script(tmp_path, arguments, code, output):
  _write_cifar10(tmp_path / 'source')
  script = Path(__file__).parents[2] / 'download_and_convert_data.py'
  done = subprocess.run([sys.executable, script, '--dataset_dir=out', *arguments], cwd=tmp_path,
                        capture_output=True, text=True, check=False)
  assert done.returncode == code
  assert re.search(output, done.stdout + done.stderr, re.MULTILINE)
  assert 'Traceback' not in done.stderr
