"""Other people's keys in TFRecords."""

from __future__ import annotations

import gzip
import os
import zlib

import numpy as np
import pytest
import samples
import tensorflow as tf

from datasets import dataset_factory, record_keys
from datasets.record_keys import Keys


def _write(path, records):
  def feature(value):
    if isinstance(value, bytes):
      return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=value))

  with tf.io.TFRecordWriter(os.fsencode(path)) as writer:
    for record in records:
      writer.write(tf.train.Example(features=tf.train.Features(feature={
        key: feature(value) for key, value in record.items()})).SerializeToString())
  return str(path)


@pytest.mark.parametrize(('record', 'expected'), [
  ({'image/encoded': b'x', 'image/class/label': [1], 'image': b'y', 'label': [2]}, Keys()),
  ({'image': b'x', 'class': [1], 'id': b'y'}, Keys('image', 'class')),
  ({'image_raw': b'x', 'label': [1], 'height': [4]}, Keys('image_raw', 'label')),
  ({'image': b'x', 'label': [1, 2]}, Keys('image')),  # Several labels.
  ({'image': b'x', 'label': b'cat', 'class': [1]}, Keys('image', 'class')),
  ({'image': b'x', 'label': b'cat'}, Keys('image', 'label', True)),
  ({'other': b'x'}, Keys())])
def test_keys_of_the_first_record(tmp_path, record, expected):
  assert record_keys.find(_write(tmp_path / 'x', [record])) == expected


@pytest.mark.parametrize('content', [b'', b'no record', bytes(40)])
def test_files_that_cannot_be_read_have_the_usual_keys(tmp_path, content):
  (tmp_path / 'x').write_bytes(content)
  assert record_keys.find(str(tmp_path / 'x')) == Keys()


def test_dataset_with_other_keys(tmp_path):
  _write(tmp_path / 'x_train.tfrecord', [
    {'image': samples.png(i), 'class': [i % 2], 'id': b'a'} for i in range(6)])
  found = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  assert found.labels.tolist() == [0, 1] * 3
  assert [example['image'] for example in found.epoch(0).as_numpy_iterator()] == [
    samples.png(i) for i in range(6)]
  note, = found.notes
  assert "'image'" in note and "'class'" in note


_SIZE = {'height': [4], 'width': [5]}


@pytest.mark.parametrize('channels', [1, 3])
@pytest.mark.parametrize('names', [('height', 'width'), ('rows', 'cols')])
def test_images_that_are_not_encoded(tmp_path, channels, names):
  sizes = [(4, 5), (6, 3), (2, 2)]
  images = [np.random.default_rng(i).integers(0, 256, [*size, channels], np.uint8)
            for i, size in enumerate(sizes)]
  records = [{'image_raw': image.tobytes(), 'label': [i], 'depth': [channels],
              names[0]: [image.shape[0]], names[1]: [image.shape[1]]}
             for i, image in enumerate(images)]
  records.append(records[0] | {'image_raw': b'x'})
  _write(tmp_path / 'x_train.tfrecord', records)
  found = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  read = [example['image'] for example in found.epoch(0).as_numpy_iterator()]
  for image, png in zip(images, read, strict=False):
    np.testing.assert_array_equal(tf.io.decode_png(png), image)
  assert read[3] == b''  # A bad image.
  assert names[0] in found.notes[0] and f'{channels}]' in found.notes[0]


@pytest.mark.parametrize(('content', 'size', 'is_refused'), [
  (np.zeros([4, 5, 3], np.float32).tobytes(), _SIZE, True),
  (bytes(4 * 5 * 4), _SIZE, True),
  (b'damaged', _SIZE, False),
  (samples.png(1), _SIZE, False),
  (b'damaged', {}, False),
  (b'damaged', {'height': [0], 'width': [0]}, False),
  (b'', _SIZE, False)])
def test_images_of_another_size(tmp_path, content, size, is_refused):
  path = _write(tmp_path / 'x', [{'image_raw': content, 'label': [1], **size}])
  if is_refused:
    with pytest.raises(ValueError, match=f'{path}.* {len(content)} bytes.*image_raw'):
      record_keys.find(path)
  else:
    assert record_keys.find(path) == Keys('image_raw', 'label')


def _in_two_members(raw):
  half = len(raw) // 2
  return gzip.compress(raw[:half]) + gzip.compress(raw[half:])


@pytest.mark.parametrize(('compress', 'kind'), [(gzip.compress, 'GZIP'), (zlib.compress, 'ZLIB'),
                                               (_in_two_members, 'GZIP')])
@pytest.mark.parametrize('skip', [0, 3])
def test_compressed_files(tmp_path, compress, kind, skip):
  for part in range(2):
    path = tmp_path / f'x_train_{part}.tfrecord'
    samples.write_records(path, [0, 1, 1, 0], start=4 * part)
    if part:
      path.write_bytes(compress(path.read_bytes()))
  found = dataset_factory.get_dataset('tfrecord', 'train', tmp_path, validation_fraction=0)
  assert found.labels.tolist() == [0, 1, 1, 0] * 2
  assert f'{kind}: 1 of 2' in found.notes[0]
  for shuffle in (False, True):
    seen = [(example['image'], int(example['label'])) for example in
            found.epoch(0, seed=1, shuffle=shuffle).as_numpy_iterator()]
    left = [(example['image'], int(example['label'])) for example in
            found.epoch(0, seed=1, shuffle=shuffle, skip=skip).as_numpy_iterator()]
    assert left == seen[skip:]
    assert sorted(seen) == sorted((samples.png(i), [0, 1, 1, 0][i % 4]) for i in range(8))


def test_readers_of_compressed_files_are_told_to_unpack_them(tmp_path, monkeypatch):
  """Unpacked files of the same names are the same dataset."""
  for folder in ('packed', 'unpacked'):
    (tmp_path / folder).mkdir()
    samples.write_records(tmp_path / folder / 'x_train.tfrecord', [0, 1, 1, 0])
  path = tmp_path / 'packed' / 'x_train.tfrecord'
  path.write_bytes(gzip.compress(path.read_bytes()))
  packed, unpacked = ([
    (found.notes, list(found.epoch(0, seed=1, shuffle=True).as_numpy_iterator()))
    for found in samples.Readers(2, monkeypatch).call(
      lambda reader, folder=folder: dataset_factory.get_dataset(
        'tfrecord', 'train', tmp_path / folder, validation_fraction=0, readers=reader))]
    for folder in ('packed', 'unpacked'))
  assert packed[0] == packed[1]
  assert 'gunzip' in packed[0][0][1] and not unpacked[0][0]
  assert [example['id'] for example in packed[0][1]] == [
    example['id'] for example in unpacked[0][1]]
  assert [example['image'] for example in packed[0][1]] == [
    example['image'] for example in unpacked[0][1]]


def _cut_where_a_record_begins(raw):
  """The compressed bytes of one record less than all, all of which can be unpacked."""
  packer = zlib.compressobj(wbits=31)
  half = len(raw) // 2  # The records are alike.
  return packer.compress(raw[:half]) + packer.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize('damage', [
  lambda raw: gzip.compress(raw)[:-200],
  lambda raw: gzip.compress(raw)[:-8],
  lambda raw: zlib.compress(raw)[:-1],
  lambda raw: zlib.compress(raw)[:-1] + b'\0',
  lambda raw: gzip.compress(raw) + _cut_where_a_record_begins(raw),
  _cut_where_a_record_begins])
def test_damaged_compressed_file(tmp_path, damage):
  path = tmp_path / 'x_train.tfrecord'
  samples.write_records(path, [0, 0])
  path.write_bytes(path.read_bytes() * 50)
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match='x_train.*records') as caught:
    dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  assert 'function_node' not in str(caught.value)


@pytest.mark.parametrize(('texts', 'names', 'labels'), [
  ((b'cat', b'dog', b'cat'), ('cat', 'dog'), [0, 1, 0]),
  ((b'0', b'2', b'1'), ('0', '1', '2'), [0, 2, 1]),
  (('Bär'.encode(), b'\xe9', b'ant'), ('Bär', 'ant', '\udce9'), [0, 2, 1])])
def test_labels_that_are_texts(tmp_path, texts, names, labels):
  _write(tmp_path / 'x_train.tfrecord', [
    {'image': samples.png(i), 'label': text} for i, text in enumerate(texts)])
  found = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  assert found.class_names == names and found.labels.tolist() == labels
  assert found.open_ended_labels == names[0].isdecimal()
  assert "'label'" in found.notes[0]


def test_texts_in_the_order_of_a_labels_file(tmp_path):
  _write(tmp_path / 'x_train.tfrecord', [
    {'image/encoded': samples.png(i), 'image/class/text': text}
    for i, text in enumerate((b'cat', b'dog'))])
  (tmp_path / 'labels.txt').write_text('dog\ncat\n')
  found = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  assert found.class_names == ('dog', 'cat') and found.labels.tolist() == [1, 0]
  (tmp_path / 'labels.txt').write_text('dog\nbird\n')
  with pytest.raises(ValueError, match=r"'cat' in record 0 of .*x_train.*dog, bird"):
    dataset_factory.get_dataset('tfrecord', 'all', tmp_path)


def test_chosen_keys(tmp_path):
  path = _write(tmp_path / 'x_train.tfrecord', [
    {'image': b'thumbnail', 'photo': samples.png(i), 'label': [0], 'kind': [i]} for i in range(3)])
  found = dataset_factory.get_dataset('tfrecord', 'all', path, record_keys=('photo', 'kind'))
  assert found.labels.tolist() == [0, 1, 2]
  assert [example['image'] for example in found.epoch(0).as_numpy_iterator()] == [
    samples.png(i) for i in range(3)]
  with pytest.raises(ValueError, match=r"--record_keys=photo,species.*'species'.*image, kind"):
    dataset_factory.get_dataset('tfrecord', 'all', path, record_keys=('photo', 'species'))


@pytest.mark.parametrize(('files', 'counts'), [
  (('train/00-16.tfrec', 'val/00-16.tfrec'), {'train': 2, 'validation': 2}),
  (('flowers00-230.tfrec', 'flowers01-230.tfrec'), {'train': 4}),
  (('x_train.tfrec', 'x_test.tfrec'), {'train': 2, 'test': 2}),
  (('pets_train.record-00000-of-00001', 'pets_val.record-00000-of-00001'),
   {'train': 2, 'validation': 2}),
  (('train-00000-of-00001', 'validation-00000-of-00001'), {'train': 2, 'validation': 2})])
def test_usual_names_of_files(tmp_path, files, counts):
  for file in files:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    samples.write_records(tmp_path / file, [0, 1])
  assert {split: dataset_factory.get_dataset('tfrecord', split, tmp_path,
                                             validation_fraction=0).num_examples
          for split in counts} == counts
