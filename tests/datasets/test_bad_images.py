from __future__ import annotations

import os

import pytest
import samples
import tensorflow as tf

from datasets import bad_images, dataset_factory


@pytest.fixture
def damaged(tmp_path):
  """A folder of which some files are cut short, no image, or empty; and the names of these."""
  samples.write_folder(tmp_path, {'a': 40, 'b': 40})
  whole = (tmp_path / 'a' / '003.png').read_bytes()
  damage = {'a/003.png': whole[:len(whole) // 2], 'b/000.png': b'<html>', 'b/039.png': b''}
  for name, content in damage.items():
    (tmp_path / name).write_bytes(content)
  return dataset_factory.get_dataset('folder', 'all', tmp_path), sorted(damage)


def test_finds_all_with_their_reasons(damaged):
  dataset, names = damaged
  found = dataset.find_bad_images(samples.decode)
  assert [image.name for image in found] == names
  assert all(image.reason for image in found)
  message = bad_images.describe(found, limit=2)
  assert message.startswith('3 images cannot be decoded:\n  a/003.png: ')
  assert message.endswith('and 1 more')


def test_file_that_cannot_be_read_is_bad(damaged):
  dataset, names = damaged
  os.unlink(dataset.examples.files[0])
  found = dataset.find_bad_images(samples.decode)
  assert [image.name for image in found] == ['a/000.png', *names]


def test_damaged_records_are_named(tmp_path):
  from datasets.converters import writer
  with tf.io.TFRecordWriter(str(tmp_path / 'my_train.tfrecord')) as records:
    for i, encoded in enumerate([samples.png(1), b'nothing', samples.png(2), b'']):
      records.write(writer.serialize(writer.Image(encoded, 'png', 4, 4, i % 2)))
  dataset = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  assert [image.name for image in dataset.find_bad_images(samples.decode)] == [
      'my_train.tfrecord:1', 'my_train.tfrecord:3']


def test_second_time_decodes_nothing(damaged):
  dataset, _ = damaged
  first = dataset.find_bad_images(samples.decode)

  def refuse(encoded):
    raise AssertionError('was decoded again')

  assert dataset.find_bad_images(refuse) == first


def test_changed_file_is_looked_at_again(damaged):
  dataset, names = damaged
  dataset.find_bad_images(samples.decode)
  with open(dataset.examples.files[3], 'wb') as file:
    file.write(samples.png(3, size=5))
  found = dataset.find_bad_images(samples.decode)
  assert [image.name for image in found] == names[1:]


def test_unusable_cache_does_no_harm(damaged, monkeypatch, tmp_path):
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


def test_other_failures_are_not_blamed_on_images(tmp_path):
  samples.write_folder(tmp_path, {'a': 3})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  error = tf.errors.InvalidArgumentError(None, None, 'shapes differ')
  assert bad_images.explain_failure(dataset, samples.decode, error) is None


@pytest.mark.parametrize('kind', ['ResourceExhaustedError', 'InternalError'])
def test_no_image_is_decoded_for_failures_of_the_machine(damaged, kind):
  # A GPU without memory for the batch must not cost a pass over all of ImageNet first.
  dataset, _ = damaged

  def refuse(encoded):
    raise AssertionError('was decoded')

  error = getattr(tf.errors, kind)(None, None, 'no memory')
  assert bad_images.explain_failure(dataset, refuse, error) is None
