from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable

import numpy as np
import PIL.Image
import pytest
import samples
import tensorflow as tf
from tf_slim import tfexample_decoder

from datasets import dataset_factory, record_files, records, tfrecord
from datasets.converters import writer


def _get(root, split='all', name='tfrecord', **kwargs):
  return dataset_factory.get_dataset(name, split, root, **kwargs)


def _feature(value):
  if isinstance(value, bytes):
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
  return tf.train.Feature(int64_list=tf.train.Int64List(value=value))


def _write_raw(path, examples):
  with tf.io.TFRecordWriter(str(path)) as file:
    for example in examples:
      features = tf.train.Features(feature={k: _feature(v) for k, v in example.items()})
      file.write(tf.train.Example(features=features).SerializeToString())


@pytest.mark.parametrize(('name', 'files', 'channels', 'num_classes'), [
  ('flowers', ['flowers_train_00000-of-00002.tfrecord', 'flowers_train_00001-of-00002.tfrecord'],
   3, 3),
  ('cifar10', ['cifar10_train.tfrecord'], 3, 3),
  ('mnist', ['mnist_train.tfrecord'], 1, 3),
  ('imagenet', ['train-00000-of-00002', 'train-00001-of-00002'], 3, 1001),
  ('visualwakewords', ['train.record-00000-of-00001'], 3, 3),
])
def test_tf_slims_datasets(tmp_path, name, files, channels, num_classes):
  for i, file in enumerate(files):
    samples.write_records(tmp_path / file, [0, 2, 1], start=3 * i)
  found = _get(tmp_path, 'train', name, validation_fraction=0)
  assert found.num_examples == 3 * len(files)
  assert (found.channels, found.num_classes) == (channels, num_classes)
  assert found.examples.names[-1] == f'{files[-1]}:2'
  assert [samples.decode(e['image']).numpy()[0, 0, 0] for e in found.epoch(0)] == list(
      range(3 * len(files)))


def test_a_missing_file_of_a_split_is_named(tmp_path):
  for number in (0, 1, 3):
    samples.write_records(tmp_path / f'train-{number:05d}-of-00004', [0, 2, 1])
  with pytest.raises(ValueError, match=r'4 files .* 3; missing: train-00002-of-00004\. .*pattern'):
    _get(tmp_path, 'train', 'imagenet')
  assert _get(tmp_path, 'train', 'imagenet', file_pattern='%s-0000[01]*',
              validation_fraction=0).num_examples == 6
  assert _get(tmp_path / 'train-00001-of-00004', 'train', 'imagenet',
              validation_fraction=0).num_examples == 3


def test_sets_of_files_may_be_numbered_from_1(tmp_path):
  for number in (1, 2):
    samples.write_records(tmp_path / f'train-{number:05d}-of-00002', [0, 2, 1])
  assert _get(tmp_path, 'train', 'imagenet', validation_fraction=0).num_examples == 6
  (tmp_path / 'train-00001-of-00002').unlink()
  with pytest.raises(ValueError, match='missing: train-00001-of-00002'):
    _get(tmp_path, 'train', 'imagenet')


@pytest.mark.parametrize('by', [-1, 1])
def test_a_file_that_changes_while_it_is_read(tmp_path, monkeypatch, by):
  for name in 'ab':
    samples.write_records(tmp_path / f'train-{name}.tfrecord', [0, 1, 1])
  find = record_files.find_records

  def find_then_change(path):
    found = find(path)
    if path.endswith('train-a.tfrecord'):
      samples.write_records(path, [0, 1, 1, 0][:3 + by])
    return found

  monkeypatch.setattr(record_files, 'find_records', find_then_change)
  with pytest.raises(ValueError, match=r'train-a\.tfrecord.*another program'):
    _get(tmp_path, 'train', 'tfrecord')

def test_existing_validation_split_is_kept(tmp_path):
  samples.write_records(tmp_path / 'flowers_train_0.tfrecord', [0, 1] * 10)
  samples.write_records(tmp_path / 'flowers_validation_0.tfrecord', [1, 0])
  (tmp_path / 'labels.txt').write_text('0:daisy\n1:roses\n')
  found = _get(tmp_path, 'validation', 'flowers')
  assert (found.num_examples, found.made_split) == (2, False)
  assert found.class_names == ('daisy', 'roses')
  assert not found.open_ended_labels
  assert _get(tmp_path, 'train', 'flowers').num_examples == 20


def test_validation_split_is_made(tmp_path):
  samples.write_records(tmp_path / 'cifar10_train.tfrecord', [0, 1] * 30)
  samples.write_records(tmp_path / 'cifar10_test.tfrecord', [0, 1])
  train, validation, test = (_get(tmp_path, split, 'cifar10')
                             for split in ('train', 'validation', 'test'))
  assert train.made_split
  assert validation.made_split
  assert (test.num_examples, test.made_split) == (2, False)
  names = [{e['name'].numpy().decode() for e in split.epoch(0)} for split in (train, validation)]
  assert not names[0] & names[1]
  assert names[0] | names[1] == {f'cifar10_train.tfrecord:{i}' for i in range(60)}
  assert set(validation.labels) == {0, 1}


def test_any_folder_with_a_pattern(tmp_path):
  samples.write_records(tmp_path / 'birds-train.rec', [1, 0])
  samples.write_records(tmp_path / 'birds-val.rec', [1, 1, 1])
  found = _get(tmp_path, 'validation', file_pattern='birds-%s.*')
  assert found.num_examples == 3
  assert found.open_ended_labels
  assert found.class_names == ('0', '1')
  assert _get(tmp_path, 'all', file_pattern='birds-*.rec').num_examples == 5


def test_bboxes_and_other_keys_are_ignored(tmp_path):
  _write_raw(tmp_path / 'a_train.tfrecord', [{
      'image/encoded': samples.png(5), 'image/class/label': [1], 'image/class/text': b'x',
      'image/object/bbox/label': [1, 1]}])
  assert _get(tmp_path).labels.tolist() == [1]


def test_slims_own_reader_and_ours_agree(tmp_path):
  # TF-Slim's class for parsing records; its decoding of images no longer runs, so Pillow does it.
  pixels = [np.random.default_rng(i).integers(0, 256, (5, 4, 3), np.uint8) for i in range(3)]
  path = tmp_path / 'a_train.tfrecord'
  with tf.io.TFRecordWriter(str(path)) as file:
    for i, image in enumerate(pixels):
      file.write(writer.serialize(writer.encode_png(image, 2 - i)))
  decoder = tfexample_decoder.TFExampleDecoder(
      {'image/encoded': tf.io.FixedLenFeature((), tf.string, ''),
       'image/class/label': tf.io.FixedLenFeature([], tf.int64, 0)},
      {'image': tfexample_decoder.Tensor('image/encoded'),
       'label': tfexample_decoder.Tensor('image/class/label')})
  slims = [decoder.decode(record, ['image', 'label'])
           for record in tf.data.TFRecordDataset(str(path))]
  for (image, label), example, expected in zip(slims, _get(tmp_path).epoch(0), pixels,
                                               strict=True):
    np.testing.assert_array_equal(PIL.Image.open(io.BytesIO(image.numpy())), expected)
    assert image.numpy() == example['image'].numpy()
    assert label.numpy() == example['label'].numpy()


@pytest.mark.parametrize('cut', [1, 4, 20, 60])
def test_truncated_file_is_named(tmp_path, cut):
  path = tmp_path / 'a_train.tfrecord'
  samples.write_records(path, [0, 1, 2])
  path.write_bytes(path.read_bytes()[:-cut])
  with pytest.raises(ValueError, match=r'a_train\.tfrecord.* record 2\b'):
    _get(tmp_path)


@pytest.mark.parametrize(('records_', 'message'), [
  ([{'image/class/label': [0]}, {'image/encoded': b'', 'label': [1, 2]}],
   r"record 1\b.*'image/encoded' .1 × bytes.*'label' .2 × int64"),
  ([{f'key{i:02}': [0] for i in range(30)}], r"record 0\b.*'key19' .*\b10 more"),
  ([{'image/class/label': [0, 1]}],
   r"record 0\b.*'image/class/label' .*2 × int64.* 1 × int64"),
  ([{'image/class/label': [0]}, {'image/class/label': b'cat'}],
   r"record 1\b.*'image/class/label' .*1 × bytes"),
  ([{'image/class/label': [0]}, {'image/class/label': [3]}],
   r'\[0, 2\).* 3 .*record 1\b.*a_train\.tfrecord'),
  ([{'image/class/label': [-1]}], r' -1 .*record 0\b.*a_train\.tfrecord'),
])
def test_wrong_labels_are_named(tmp_path, records_, message):
  _write_raw(tmp_path / 'a_train.tfrecord', records_)
  (tmp_path / 'labels.txt').write_text('0:a\n1:b\n')
  with pytest.raises(ValueError, match=message):
    _get(tmp_path)


def test_sparse_labels_are_classes_of_all_splits(tmp_path):
  samples.write_records(tmp_path / 'a_train_0.tfrecord', [203092, 10**12] * 10)
  samples.write_records(tmp_path / 'a_train_1.tfrecord', [2017], start=20)
  samples.write_records(tmp_path / 'a_test.tfrecord', [10**12, 5])
  train, test = (_get(tmp_path, split, validation_fraction=0) for split in ('train', 'test'))
  assert train.class_names == test.class_names == ('5', '2017', '203092', str(10**12))
  assert train.labels.tolist() == [2, 3] * 10 + [1]
  assert [example['label'].numpy() for example in test.epoch(0)] == [3, 0]
  assert train.open_ended_labels
  assert train.notes == (f'labels 5, 2017, 203092, {10**12} → classes 0, 1, 2, 3',)


def test_dense_labels_are_unchanged(tmp_path):
  samples.write_records(tmp_path / 'a_train.tfrecord', [1, 1000])
  found = _get(tmp_path)
  assert (found.num_classes, found.labels.tolist(), found.notes) == (1001, [1, 1000], ())


def test_negative_labels_are_named(tmp_path):
  _write_raw(tmp_path / 'a_train.tfrecord', [{'image/class/label': [2]},
                                             {'image/class/label': [-1]}])
  with pytest.raises(ValueError, match=r' -1 .*record 1\b.*a_train\.tfrecord.*\b1\b'):
    _get(tmp_path)


def test_damaged_record_is_named(tmp_path):
  path = tmp_path / 'a_train.tfrecord'
  samples.write_records(path, [0, 1, 2])
  content = bytearray(path.read_bytes())
  content[-30] ^= 255
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'record 2\b.*checksum'):
    _get(tmp_path)


@pytest.mark.parametrize(('content', 'message'), [
  (b'some text', r'record 1\b.*tf\.train\.Example.* 9 bytes'),
  (b'', r'record 1\b.*tf\.train\.Example.* 0 bytes')])
def test_records_of_another_format_are_named(tmp_path, content, message):
  path = tmp_path / 'a_train.tfrecord'
  with tf.io.TFRecordWriter(str(path)) as file:
    file.write(writer.serialize(writer.Image(samples.png(1), 'png', 4, 4, 0)))
    file.write(content)
  with pytest.raises(ValueError, match=message):
    _get(tmp_path)


@pytest.mark.parametrize('name', ['run[1]', 'a\\b', 'a*b', 'a?b', '100%s', os.fsdecode(b'caf\xe9')])
def test_folders_of_any_name(tmp_path, name):
  (tmp_path / name).mkdir()
  samples.write_records(os.fsencode(tmp_path / name / 'a_train.tfrecord'), [0, 1, 1])
  found = _get(tmp_path / name)
  assert found.labels.tolist() == [0, 1, 1]
  assert len(list(found.epoch(0))) == 3


def test_files_of_another_format_are_named(tmp_path):
  (tmp_path / 'a_train.tfrecord').write_text('this is a text file, and not a short one')
  with pytest.raises(ValueError, match=r'TFRecord.*a_train\.tfrecord.* record 0\b'):
    _get(tmp_path)


def test_missing_files_are_explained(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'flowers_%s_.*download_and_convert_data.py'):
    _get(tmp_path, 'train', 'flowers')


def test_labels_are_read_once_and_again_when_a_file_changes(tmp_path, monkeypatch):
  path = tmp_path / 'a_train.tfrecord'
  samples.write_records(path, [0, 1])
  assert _get(tmp_path).num_examples == 2
  with monkeypatch.context() as patch:
    patch.setattr(record_files, 'find_records', None)
    assert _get(tmp_path).labels.tolist() == [0, 1]
  samples.write_records(path, [0, 1, 1])
  assert _get(tmp_path).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize('multi_label', [False, True])
def test_several_readers_share_the_labels(tmp_path, monkeypatch, multi_label):
  roots = [tmp_path / f'machine_{index}' for index in range(3)]
  for root in roots:
    root.mkdir()
    for number in range(5):
      samples.write_records(root / f'a_train_{number:05}-of-00005.tfrecord', [number, 0, 1])
      os.utime(root / f'a_train_{number:05}-of-00005.tfrecord', ns=(1, number))
  expected = _get(roots[0], multi_label=multi_label)
  readers, find_records, read = samples.Readers(3, monkeypatch), record_files.find_records, []

  def counted(path):
    read.append((readers.index, os.path.basename(path)))
    return find_records(path)

  monkeypatch.setattr(record_files, 'find_records', counted)

  def check(*counts):
    """Opens the dataset in all readers; compares how many files each has read."""
    read.clear()
    for found in readers.call(lambda reader: _get(
        roots[reader.index], multi_label=multi_label, readers=reader)):
      assert found.fingerprint == expected.fingerprint
      np.testing.assert_array_equal(found.labels, expected.labels)
    assert [len([one for one, _ in read if one == index]) for index in range(3)] == list(counts)

  check(2, 2, 1)
  assert len({name for _, name in read}) == 5
  readers.kept[1].clear()  # A machine was replaced.
  check(0, 0, 0)
  for found in readers.kept:
    found.clear()
  os.utime(roots[2] / 'a_train_00003-of-00005.tfrecord', ns=(1, 7))  # May be another file.
  check(5, 5, 5)


def test_readers_that_parse_otherwise_share_nothing(tmp_path, monkeypatch):
  """Else the labels of one key would be kept as those of the other."""
  _write_raw(tmp_path / 'a_train.tfrecord', [
    {'image/encoded': samples.png(0), 'fine': [value], 'coarse': [value // 2]}
    for value in range(4)])
  keys = [('image/encoded', 'fine'), ('image/encoded', 'coarse')]
  readers = samples.Readers(2, monkeypatch)
  for _ in range(2):  # At first nothing is known, then everything.
    found = readers.call(lambda reader: _get(
        tmp_path, record_keys=keys[reader.index], readers=reader).labels.tolist())
    assert found == [[0, 1, 2, 3], [0, 0, 1, 1]]


def test_file_that_one_reader_finds_damaged(tmp_path, monkeypatch):
  """The others only learn of it from what tells failures, see `slim_zoo.training.workers`."""
  samples.write_records(tmp_path / 'a_train_00000-of-00002.tfrecord', [0, 1])
  (tmp_path / 'a_train_00001-of-00002.tfrecord').write_bytes(b'0' * 20)
  reached = []

  def get(reader):
    try:
      _get(tmp_path, readers=reader)
    except ValueError as error:
      reader.barrier.abort()
      return str(error)
    except threading.BrokenBarrierError:
      reached.append(reader.index)
    return ''

  assert 'a_train_00001' in samples.Readers(2, monkeypatch).call(get)[1] and reached == [0]


@pytest.fixture
def four_files(tmp_path, monkeypatch):
  """Files of 25 records each, shuffled through a buffer of 8; their images are all different."""
  monkeypatch.setattr(records, '_BUFFER_RECORDS', 8)
  monkeypatch.setattr(records, '_BUFFER_BYTES', 1)
  monkeypatch.setattr(records, '_FILES_AT_A_TIME', 2)
  monkeypatch.setattr(records, '_BATCH', 16)
  for shard in range(4):
    samples.write_records(tmp_path / f'a_train_{shard}.tfrecord', [0] * 25, start=25 * shard)
  return tmp_path


def _destroy(record_file: record_files.RecordFile, records: Iterable[int]) -> None:
  """Overwrites some records' data; their lengths stay as they are."""
  with open(record_file.path, 'r+b') as file:
    for number in records:
      file.seek(record_file.offsets[number] + 12)
      file.write(b'destroyed')


@pytest.mark.parametrize('validation_fraction', [0, 0.3])
@pytest.mark.parametrize('shuffle', [True, False])
def test_skipping_does_not_change_the_rest(four_files, shuffle, validation_fraction):
  found = _get(four_files, 'train', validation_fraction=validation_fraction)

  def of(**skip):
    return list(found.epoch(2, seed=1, shuffle=shuffle, **skip).as_numpy_iterator())

  whole = of()
  for skip in (1, 24, 25, 26, 60, found.num_examples - 1, found.num_examples):
    assert of(skip=skip) == whole[skip:]
  names = [example['name'] for example in whole]
  batches = found.examples.order(2, seed=1, shuffle=shuffle, with_images=False).batch(100)
  unread = next(iter(batches))
  assert found.examples.facts(unread)['name'].numpy().tolist() == names
  assert 'record' not in unread


def test_skipped_records_are_not_read(four_files):
  found = _get(four_files)
  files = found.examples._record_files
  _destroy(files[0], range(25))
  _destroy(files[1], range(10))
  assert len(list(found.epoch(0, skip=35))) == 65
  with pytest.raises(tf.errors.DataLossError):
    list(found.epoch(0, skip=34))


def test_shuffled_files_are_read_from_their_first_unskipped_record(four_files):
  found = _get(four_files)
  files = found.examples._record_files
  names = [example['name'].numpy() for example in found.epoch(0, seed=1, shuffle=True)]
  left = [name.decode().split(':') for name in names[60:]]
  firsts = [min((int(number) for name, number in left if file.path.endswith(name)), default=25)
            for file in files]
  assert sum(firsts) > 40
  for file, first in zip(files, firsts, strict=True):
    _destroy(file, range(first))
  assert len(list(found.epoch(0, seed=1, shuffle=True, skip=60))) == 40


def test_buffer_shuffles_across_files(four_files, monkeypatch):
  monkeypatch.setattr(records, '_FILES_AT_A_TIME', 16)
  found = _get(four_files)
  order = [int(e['name'].numpy().split(b'_')[2][:1]) for e in found.epoch(0, seed=1, shuffle=True)]
  # Every shard's records are spread over the whole epoch.
  for shard in range(4):
    places = np.flatnonzero(np.array(order) == shard)
    assert places[0] < 20
    assert places[-1] > 80


@pytest.mark.parametrize(('size', 'expected'), [
  (1_000, 268_435), (100_000, 2_684), (200_000, 2_048), (2**19, 2_048), (2**20, 1_024),
  (5_000_000, 214), (2**31, 1)])
def test_buffer_has_many_records_or_a_bounded_size(size, expected):
  count = 300_000
  offsets = np.arange(count + 1) * (size + 16)
  files = [record_files.RecordFile('a', offsets, np.zeros(count, np.int64))]
  assert records.RecordExamples(files, None)._buffer_size() == expected


def test_sources_equal_tf_slims():
  assert {name: source.file_pattern for name, source in tfrecord.SOURCES.items()
          if name != 'tfrecord'} == {
      'cifar10': 'cifar10_%s.tfrecord', 'flowers': 'flowers_%s_*.tfrecord', 'imagenet': '%s-*',
      'mnist': 'mnist_%s.tfrecord', 'visualwakewords': '%s.record-*'}


@pytest.mark.parametrize(('name', 'split'), [
  ('dev-0.tfrecord', 'validation'), ('Valid-0.tfrecord', 'validation'),
  ('eval-0.tfrecord', 'validation'), ('Testing-0.tfrecord', 'test'),
])
def test_other_spellings_of_split_names_are_recognized(tmp_path, name, split):
  samples.write_records(tmp_path / 'train-0.tfrecord', [0, 1] * 9)
  samples.write_records(tmp_path / name, [1, 0, 1])
  found = dataset_factory.get_dataset('tfrecord', split, tmp_path)
  assert found.num_examples == 3 and not found.made_split


@pytest.mark.parametrize(('images', 'is_named'), [({'a': 1, 'b': 1}, True), ({}, False)])
def test_folder_of_images_instead_of_records(tmp_path, images, is_named):
  samples.write_folder(tmp_path, images)
  with pytest.raises(FileNotFoundError, match='TFRecord') as caught:
    dataset_factory.get_dataset('imagenet', 'train', tmp_path)
  assert ('--dataset_name=folder' in str(caught.value)) == is_named


@pytest.mark.parametrize('name', ['folder', 'csv', 'tfrecord', 'imagenet'])
@pytest.mark.parametrize('archive', ['train.zip', 'Train.TAR.GZ'])
def test_archives_are_refused(tmp_path, name, archive):
  (tmp_path / archive).write_bytes(b'PK')
  with pytest.raises(ValueError, match=f'--dataset_dir.*{archive}.*Unpack'):
    dataset_factory.get_dataset(name, 'train', tmp_path / archive)
