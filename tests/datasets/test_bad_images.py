from __future__ import annotations

import os
import re

import pytest
import samples
import tensorflow as tf

from datasets import bad_images, dataset_factory, pieces
from files import cache
from preprocessing.decoding import decode_image


@pytest.fixture
def damaged(tmp_path):
  """A folder with some files that are truncated, empty or not images; and their names."""
  samples.write_folder(tmp_path, {'a': 40, 'b': 40})
  whole = (tmp_path / 'a' / '003.png').read_bytes()
  damage = {'a/003.png': whole[:len(whole) // 2], 'b/000.png': b'<html>', 'b/039.png': b''}
  for name, content in damage.items():
    (tmp_path / name).write_bytes(content)
  return dataset_factory.get_dataset('folder', 'all', tmp_path), sorted(damage)


def test_finds_all_bad_images_with_reasons(damaged):
  dataset, names = damaged
  found = dataset.find_bad_images(samples.decode)
  assert [image.name for image in found] == names
  assert all(image.reason for image in found)
  title, first, second, more = bad_images.describe(found, limit=2).splitlines()
  assert '3 images' in title and '1' in more
  assert first.strip().startswith('a/003.png: ') and second.strip().startswith('b/000.png: ')


@pytest.mark.parametrize(('content', 'reason'), [
  (b'hi', 'JPEG, PNG, GIF, BMP'), (b'\x89PNG', 'PNG'), (b'GIF89a', 'GIF'),
  (b'\xff\xd8\xff', 'JPEG')])
def test_reason_excludes_names_of_the_graph(tmp_path, content, reason):
  samples.write_folder(tmp_path, {'a': 2, 'b': 2})
  (tmp_path / 'a' / '000.png').write_bytes(content)
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  found, = dataset.find_bad_images(decode_image)
  assert reason in found.reason
  assert '\n' not in found.reason and '{{' not in found.reason
  with pytest.raises(tf.errors.InvalidArgumentError) as caught:
    next(iter(tf.data.Dataset.from_tensors(content).map(decode_image)))
  assert bad_images.short_reason(caught.value).endswith(found.reason)


def test_unreadable_file_is_bad(damaged):
  dataset, names = damaged
  os.unlink(dataset.examples.files[0])
  found = dataset.find_bad_images(samples.decode)
  assert [image.name for image in found] == ['a/000.png', *names]


def test_damaged_records_are_listed(tmp_path):
  from datasets.converters import writer
  with tf.io.TFRecordWriter(str(tmp_path / 'my_train.tfrecord')) as records:
    for i, encoded in enumerate([samples.png(1), b'nothing', samples.png(2), b'']):
      records.write(writer.serialize(writer.Image(encoded, 'png', 4, 4, i % 2)))
  dataset = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  assert [image.name for image in dataset.find_bad_images(samples.decode)] == [
      'my_train.tfrecord:1', 'my_train.tfrecord:3']


class _Counting:
  """Decodes like `samples.decode`, and counts the calls."""

  def __init__(self):
    self._seen = []

  @property
  def count(self) -> int:
    return len(self._seen)

  def __call__(self, encoded):
    def note(encoded):
      self._seen.append(encoded)
      return encoded

    noted = tf.numpy_function(note, [encoded], tf.string)
    return samples.decode(tf.ensure_shape(noted, []))


@pytest.fixture
def small_pieces(monkeypatch):
  monkeypatch.setattr(pieces, 'LEAST', 8)


def test_pieces_find_what_one_pass_finds(damaged, small_pieces, capsys):
  dataset, names = damaged
  assert len(dataset.examples.pieces()) == 8
  decode = _Counting()
  found = dataset.find_bad_images(decode)
  assert decode.count == 83  # The bad ones a second time, for the reason.
  assert [image.name for image in found] == names  # In the order of the source.
  assert re.search(r'\b80 images .*\ball\b', capsys.readouterr().out)


def test_kill_loses_only_the_current_piece(damaged, small_pieces, monkeypatch):
  dataset, names = damaged
  stored, store = [], cache.store

  def store_three(key, value):
    if len(stored) == 3:
      raise KeyboardInterrupt
    stored.append(key)
    store(key, value)

  with monkeypatch.context() as patch:
    patch.setattr(cache, 'store', store_three)
    with pytest.raises(KeyboardInterrupt):
      dataset.find_bad_images(samples.decode)
  sizes = [len(piece.positions) for piece in dataset.examples.pieces()]
  decode = _Counting()
  assert [image.name for image in dataset.find_bad_images(decode)] == names
  assert sum(sizes[3:]) <= decode.count <= sum(sizes[3:]) + len(names)


def test_new_image_is_checked_with_its_piece(damaged, small_pieces, tmp_path, capsys):
  dataset, names = damaged
  dataset.find_bad_images(samples.decode)
  (tmp_path / 'a' / 'new.png').write_bytes(b'nothing')
  larger = dataset_factory.get_dataset('folder', 'all', tmp_path)
  decode = _Counting()
  assert [image.name for image in larger.find_bad_images(decode)] == sorted([*names, 'a/new.png'])
  piece, = (piece for piece in larger.examples.pieces()
            if 'a/new.png' in [larger.examples.names[i] for i in piece.positions])
  assert len(piece.positions) < decode.count <= len(piece.positions) + 4
  assert re.search(rf'\b{len(piece.positions)} of 81\b', capsys.readouterr().out)


def test_only_a_new_shard_is_checked(tmp_path):
  samples.write_records(tmp_path / 'a_train_0.tfrecord', [0, 1] * 10)
  samples.write_records(tmp_path / 'a_train_1.tfrecord', [0, 1] * 10)
  for split in ('train', 'validation'):
    assert dataset_factory.get_dataset('tfrecord', split, tmp_path).find_bad_images(
      samples.decode) == ()
  samples.write_records(tmp_path / 'a_train_2.tfrecord', [0, 1] * 4)
  counts = []
  for split in ('train', 'validation'):
    dataset, decode = dataset_factory.get_dataset('tfrecord', split, tmp_path), _Counting()
    assert dataset.find_bad_images(decode) == ()
    assert decode.count < 9
    counts.append(decode.count)
  assert sum(counts) == 8


def test_second_time_decodes_nothing(damaged):
  dataset, _ = damaged
  first = dataset.find_bad_images(samples.decode)

  def refuse(encoded):
    raise AssertionError('was decoded again')

  assert dataset.find_bad_images(refuse) == first


def test_changed_file_is_checked_again(damaged):
  dataset, names = damaged
  dataset.find_bad_images(samples.decode)
  with open(dataset.examples.files[3], 'wb') as file:
    file.write(samples.png(3, size=5))
  found = dataset.find_bad_images(samples.decode)
  assert [image.name for image in found] == names[1:]


def test_unusable_cache_is_ignored(damaged, monkeypatch, tmp_path):
  dataset, names = damaged
  (tmp_path / 'a file').write_text('')
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'a file'))
  assert [image.name for image in dataset.find_bad_images(samples.decode)] == names


def test_failure_of_a_run_is_explained(damaged):
  dataset, names = damaged
  with pytest.raises(tf.errors.InvalidArgumentError) as caught:
    list(dataset.epoch(0).map(lambda example: samples.decode(example['image'])))
  message = bad_images.explain_failure(dataset, samples.decode, caught.value)
  assert all(name in message for name in names)
  assert bad_images.explain_failure(dataset, samples.decode, KeyError('x')) is None


def test_failed_run_decodes_only_changed_images(damaged, small_pieces):
  dataset, names = damaged
  dataset.find_bad_images(samples.decode)
  error = tf.errors.InvalidArgumentError(None, None, 'shapes differ')
  # Images known to be bad were skipped, so they are not the cause.
  decode = _Counting()
  assert bad_images.explain_failure(dataset, decode, error, left_out=names) is None
  assert decode.count == 0
  with open(dataset.examples.files[5], 'wb') as file:
    file.write(b'changed')
  message = bad_images.explain_failure(dataset, decode, error, left_out=names)
  title, line = message.splitlines()
  assert '1 image' in title and line.strip().startswith('a/005.png: ')
  assert 0 < decode.count < 30  # One piece of eight.


def test_other_failures_are_not_blamed_on_images(tmp_path):
  samples.write_folder(tmp_path, {'a': 3})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  error = tf.errors.InvalidArgumentError(None, None, 'shapes differ')
  assert bad_images.explain_failure(dataset, samples.decode, error) is None


@pytest.mark.parametrize('kind', ['ResourceExhaustedError', 'InternalError'])
def test_machine_failures_decode_no_image(damaged, kind):
  # A GPU out of memory must not cause a pass over all of ImageNet.
  dataset, _ = damaged

  def refuse(encoded):
    raise AssertionError('was decoded')

  error = getattr(tf.errors, kind)(None, None, 'no memory')
  assert bad_images.explain_failure(dataset, refuse, error) is None


@pytest.mark.parametrize(('bad', 'needs_all', 'expected'), [
  ([], True, ''),
  (['a/000.png'], True, ''),
  (['b/000.png'], False, "Warning: .*'all'.* b"),
])
def test_usable_split_without_bad_images(tmp_path, bad, needs_all, expected):
  samples.write_folder(tmp_path, {'a': 3, 'b': 1})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  found = bad_images.check_rest(dataset, bad, needs_all_classes=needs_all)
  assert re.match(expected, found) and bool(found) == bool(expected)


@pytest.mark.parametrize(('bad', 'needs_all', 'message'), [
  (['b/000.png'], True, r"'all'.* b\b"),
  (['a/000.png', 'a/001.png', 'b/000.png'], False, "'all'.* 3 "),
])
def test_unusable_split_without_bad_images(tmp_path, bad, needs_all, message):
  samples.write_folder(tmp_path, {'a': 2, 'b': 1})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  with pytest.raises(ValueError, match=message):
    bad_images.check_rest(dataset, bad, needs_all_classes=needs_all)


def test_several_readers_share_the_images(damaged, small_pieces, monkeypatch):
  """Each checks its part; all know what one of them has in its cache."""
  dataset, names = damaged
  readers = samples.Readers(3, monkeypatch)
  for lost in (range(3), [1]):  # At first nothing is known; then a machine is replaced.
    for index in lost:
      readers.kept[index].clear()
    for found in readers.call(lambda reader: dataset.find_bad_images(samples.decode, reader)):
      assert [image.name for image in found] == names
    checked = [key for found in readers.kept for key in found]
    assert len(checked) == len(set(checked)) == len(dataset.examples.pieces())
  assert all(readers.kept)
