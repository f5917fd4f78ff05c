"""Features that are computed once: what is kept, where, and what a kill leaves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory
from nets import cut
from training import features
from training.inputs import Inputs

_BOUNDARY = (cut.Boundary('a:0', (3,), tf.float32), cut.Boundary('b:0', (2, 2), tf.bfloat16))


def _batch(start, count):
  rows = np.arange(start, start + count, dtype=np.float32)
  return [np.tile(rows[:, None], [1, 3]), np.tile(-rows[:, None, None], [1, 2, 2])]


@pytest.mark.parametrize('place', ['memory', 'disk'])
def test_rows_in_their_order(tmp_path, place):
  def check(store):
    store.write(_batch(0, 4))
    store.write(_batch(4, 4))  # The last batch is filled up beyond the end.
    assert store.done == 6
    store.flush()
    np.testing.assert_array_equal(store.arrays[0], _batch(0, 6)[0])
    np.testing.assert_array_equal(store.arrays[1], _batch(0, 6)[1])

  if place == 'memory':
    check(features.in_memory(_BOUNDARY, 6))
  else:
    with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
      check(store)
    with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
      assert store.done == 6
      np.testing.assert_array_equal(store.arrays[1], _batch(0, 6)[1])


def test_what_was_not_flushed_is_not_believed(tmp_path):
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    store.write(_batch(0, 2))
    store.flush()
    store.write(_batch(100, 2))  # A kill comes here.
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    assert store.done == 2
    store.write(_batch(2, 4))
    store.flush()
    np.testing.assert_array_equal(store.arrays[0], _batch(0, 6)[0])


def test_a_kill_at_any_point_loses_the_last_batch_at_most(tmp_path, killed):
  def fill(folder, rows):
    with features.on_disk(folder, _BOUNDARY, 6) as store:
      found = store.done
      while store.done < rows:
        store.write(_batch(store.done, 2))
        store.flush()
        flushed.append(store.done)
      for array, expected in zip(store.arrays, _batch(0, rows), strict=True):
        np.testing.assert_array_equal(array[:rows], expected)
    return found

  for number in range(1, 100):
    flushed = [0]
    with killed(number) as outcome:
      fill(tmp_path / str(number), 6)
    if not outcome.reached:
      break
    last = flushed[-1]
    assert last <= fill(tmp_path / str(number), 6) <= last + 2
  assert 10 < number < 99


def test_a_folder_with_other_features(tmp_path):
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    store.write(_batch(0, 6))
    store.flush()
  with pytest.raises(ValueError, match='expected features .7, 3.* Remove the folder'), \
      features.on_disk(tmp_path / 'store', _BOUNDARY, 7):
    pass


def test_the_key_changes_with_all_that_it_is_made_of():
  variables = {'a': tf.Variable([1.0, 2.0]), 'b': tf.Variable([3.0])}
  keys = [features.key_of({'net': 'x'}, variables), features.key_of({'net': 'y'}, variables),
          features.key_of({'net': 'x'}, {'a': variables['a']})]
  variables['a'].assign([1.0, 2.0000002])
  keys.append(features.key_of({'net': 'x'}, variables))
  assert len(set(keys)) == 4
  variables['a'].assign([1.0, 2.0])
  assert features.key_of({'net': 'x'}, variables) == keys[0]


@pytest.mark.parametrize(('disk', 'memory', 'place'), [
  (10 ** 9, 10 ** 9, 'disk'), (1000, 10 ** 9, 'memory'), (1000, 1000, 'off')])
def test_where_they_are_kept(tmp_path, monkeypatch, disk, memory, place):
  monkeypatch.setattr(features, '_free_disk', lambda folder: disk)
  monkeypatch.setattr(features, '_memory', lambda: memory)
  found, why = features.choose(_BOUNDARY, 1000, tmp_path / 'none')
  assert found == place
  assert '1,000 × 28 bytes, 0.0 MiB' in why


@pytest.fixture(scope='module')
def inputs():
  data = dataset_factory.get_dataset('digits', 'validation')
  return Inputs(data, list(range(10)), (data.examples.names[3],), preprocessing_name='cifarnet',
                image_size=24, channels=1, num_parallel_calls=2, num_views=2)


def _gather(inputs, trunk, *, is_training):
  store = features.in_memory([cut.Boundary('x:0', (24, 24, 1), tf.float32)],
                             inputs.dataset.num_examples * (inputs.num_views if is_training else 1))
  features.fill(store, lambda start: inputs.view_batches(
    batch_size=50, seed=7, start=start, is_training=is_training), trunk,
    show=lambda batches, total: batches)
  assert store.done == store.num_rows
  return dataclasses.replace(inputs, gather=store.gather(
    inputs.dataset, views=inputs.num_views if is_training else 1))


def test_cached_batches_are_those_of_images(inputs):
  """With a trunk that gives the images themselves, both streams are the same, bit for bit."""
  cached = _gather(inputs, lambda images: [images], is_training=True)
  arguments = {'batch_size': 60, 'seed': 7, 'start_step': 1}  # Over three epochs.
  pairs = zip(inputs.training_batches(**arguments).take(9),
              cached.training_batches(**arguments).take(9), strict=True)
  seen = []
  for whole, kept in pairs:
    np.testing.assert_array_equal(kept['image'][0], whole['image'])
    for key in ('label', 'weight', 'id'):
      np.testing.assert_array_equal(kept[key], whole[key])
    seen.append(whole['image'].numpy())
  assert len(np.unique(np.concatenate(seen)[:, :9, :9].sum((1, 2, 3)))) > 200  # Two views of 164.

  cached = _gather(inputs, lambda images: [images], is_training=False)
  pairs = zip(inputs.evaluation_batches(batch_size=60), cached.evaluation_batches(batch_size=60),
              strict=True)
  for whole, kept in pairs:
    rows = whole['weight'] > 0
    np.testing.assert_array_equal(kept['image'][0][rows], whole['image'][rows])
    for key in ('label', 'weight', 'id'):
      np.testing.assert_array_equal(kept[key], whole[key])


def test_filling_goes_on_where_it_was(inputs):
  batches = []

  def trunk(images):
    return [tf.reduce_sum(images[:, :9, :9], [1, 2, 3])]

  boundary = [cut.Boundary('x:0', (), tf.float32)]
  rows = 2 * inputs.dataset.num_examples

  def stream(start):
    batches.append(start)
    return inputs.view_batches(batch_size=50, seed=7, start=start, is_training=True)

  whole, half = (features.in_memory(boundary, rows) for _ in range(2))
  features.fill(whole, stream, trunk, show=lambda items, total: items)
  half.write([whole.arrays[0][:237]])
  features.fill(half, stream, trunk, show=lambda items, total: items)
  assert batches == [0, 237]
  np.testing.assert_allclose(half.arrays[0], whole.arrays[0], rtol=1e-5)
  assert len(np.unique(whole.arrays[0])) > 300
