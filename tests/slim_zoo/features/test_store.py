"""Features computed once: storage, choice of place, and kills."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory
from nets import cut
from preprocessing.preprocessing_factory import get_recipe
from slim_zoo.features import store as features
from slim_zoo.features.inputs import FeatureInputs
from slim_zoo.training.inputs import Inputs

_BOUNDARY = (cut.Boundary('a:0', (3,), tf.float32), cut.Boundary('b:0', (2, 2), tf.bfloat16))


def _batch(start, count):
  rows = np.arange(start, start + count, dtype=np.float32)
  return [np.tile(rows[:, None], [1, 3]), np.tile(-rows[:, None, None], [1, 2, 2])]


@pytest.mark.parametrize('place', ['memory', 'disk'])
def test_rows_are_stored_in_order(tmp_path, place):
  def check(store):
    store.write(_batch(0, 4))
    store.write(_batch(4, 4))  # The last batch is padded beyond the end.
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


def test_unflushed_rows_do_not_count(tmp_path):
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    store.write(_batch(0, 2))
    store.flush()
    store.write(_batch(100, 2))  # Simulates a kill here.
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    assert store.done == 2
    store.write(_batch(2, 4))
    store.flush()
    np.testing.assert_array_equal(store.arrays[0], _batch(0, 6)[0])


def test_kill_at_any_point_loses_at_most_the_last_batch(tmp_path, killed):
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


def _cut_short(folder):
  os.truncate(folder / '1.npy', (folder / '1.npy').stat().st_size - 4)


@pytest.mark.parametrize('damage', [
  _cut_short,
  lambda folder: (folder / '0.npy').unlink(),
  lambda folder: (folder / '0.npy').write_bytes(b'no array'),
  lambda folder: np.save(folder / '0.npy', np.ones([6, 4], np.float32)),
  lambda folder: np.save(folder / '0.npy', np.ones([6, 3], np.float64)),
  lambda folder: (folder / 'rows.json').write_text('{"rows": 6'),
  lambda folder: (folder / 'rows.json').write_text('{"rows": 7}'),
  lambda folder: (folder / 'rows.json').write_text('[6]')],
  ids=['cut short', 'no array', 'not an array', 'another shape', 'another type', 'half a count',
       'too large a count', 'no count'])
def test_damaged_store_is_filled_again(tmp_path, capsys, damage):
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    store.write(_batch(0, 6))
    store.flush()
  damage(tmp_path / 'store')
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    assert store.done == 0
    assert str(tmp_path / 'store') in capsys.readouterr().out
    store.write(_batch(0, 6))
    store.flush()
  with features.on_disk(tmp_path / 'store', _BOUNDARY, 6) as store:
    assert store.done == 6
    np.testing.assert_array_equal(store.arrays[1], _batch(0, 6)[1])


def test_full_disk(tmp_path, monkeypatch):
  def refuse(descriptor, offset, length):
    raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

  monkeypatch.setattr(os, 'posix_fallocate', refuse)
  with pytest.raises(OSError, match='0.0 MiB .*XDG_CACHE_HOME'), \
      features.on_disk(tmp_path / 'store', _BOUNDARY, 6):
    pass
  assert not list((tmp_path / 'store').glob('*.npy'))


def test_key_depends_on_everything():
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
def test_choice_of_place(tmp_path, monkeypatch, disk, memory, place):
  monkeypatch.setattr(features, '_free_disk', lambda folder: disk)
  monkeypatch.setattr(features.memory, 'available', lambda: memory)
  found, why = features.choose(_BOUNDARY, [900, 100], tmp_path / 'none')
  assert found == place
  assert '1,000 × 28 bytes, 0.0 MiB' in why


@pytest.mark.parametrize('hindrance', ['a file', 'nothing may be written'])
def test_choice_if_the_disk_is_not_writable(tmp_path, monkeypatch, hindrance):
  if hindrance == 'a file':
    (tmp_path / 'cache').write_text('')
  else:  # As on a read-only disk, which applies even to the superuser.
    monkeypatch.setattr(features.os, 'access', lambda path, mode: not mode & os.W_OK)
  folder = tmp_path / 'cache' / 'features'
  place, why = features.choose(_BOUNDARY, [900, 100], folder)
  assert place == 'memory'
  assert str(folder) in why
  if hindrance == 'a file':
    with pytest.raises(OSError, match='--cache_features=memory'), \
        features.on_disk(folder / 'x', _BOUNDARY, 10):
      pass


def test_space_used_by_an_earlier_run_counts(tmp_path, monkeypatch):
  """Otherwise a run that filled most of a disk would not find its own features again."""
  size = features.size_of(_BOUNDARY, 1000)
  monkeypatch.setattr(features.memory, 'available', lambda: 0)
  monkeypatch.setattr(features, '_free_disk', lambda folder: 2 * size)
  assert features.choose(_BOUNDARY, [900, 100], tmp_path)[0] == 'disk'
  for rows in (900, 100):
    with features.on_disk(tmp_path / str(rows), _BOUNDARY, rows):
      pass
  monkeypatch.setattr(features, '_free_disk', lambda folder: size)
  assert features.choose(_BOUNDARY, [900, 100], tmp_path)[0] == 'disk'
  assert features.choose(_BOUNDARY, [901, 99], tmp_path)[0] == 'off'


@pytest.fixture(scope='module')
def inputs():
  data = dataset_factory.get_dataset('digits', 'validation')
  return Inputs(data, list(range(10)), (data.examples.names[3],), preprocessing_name='cifarnet',
                transform=get_recipe('cifarnet').transform,
                image_size=24, channels=1, num_parallel_calls=2, num_views=2)


def _gather(inputs, trunk, *, is_training):
  store = features.in_memory([cut.Boundary('x:0', (24, 24, 1), tf.float32)],
                             inputs.dataset.num_examples * (inputs.num_views if is_training else 1))
  features.fill(store, lambda start: inputs.view_batches(
    batch_size=50, seed=7, start=start, is_training=is_training), trunk,
    show=lambda batches, total: batches)
  assert store.done == store.num_rows
  return FeatureInputs(inputs.dataset, inputs.label_map, inputs.bad_images, arrays=store.arrays,
                       num_views=inputs.num_views if is_training else 1)


def test_cached_batches_equal_batches_of_images(inputs):
  """With an identity trunk, both streams are bit-identical."""
  cached = _gather(inputs, lambda images: [images], is_training=True)
  arguments = {'batch_size': 60, 'seed': 7, 'start_step': 1}  # Spans three epochs.
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


def test_filling_continues_where_it_stopped(inputs):
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
