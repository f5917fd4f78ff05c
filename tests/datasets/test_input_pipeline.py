from __future__ import annotations

import dataclasses
import functools
import itertools
import pathlib

import numpy as np
import pytest
import samples
import tensorflow as tf

from datasets import dataset as dataset_lib
from datasets import dataset_factory, input_pipeline


@pytest.fixture(params=['folder', 'tfrecord'])
def dataset(request, tmp_path):
  """22 examples in two classes."""
  if request.param == 'folder':
    samples.write_folder(tmp_path, {'a': 13, 'b': 9})
    return dataset_factory.get_dataset('folder', 'all', tmp_path)
  samples.write_records(tmp_path / 'my_train_0.tfrecord', [0, 1] * 7)
  samples.write_records(tmp_path / 'my_train_1.tfrecord', [1, 0] * 4, start=14)
  return dataset_factory.get_dataset('tfrecord', 'all', tmp_path)


def _training(dataset, *, steps, batch_size=4, seed=1, **kwargs):
  batches = input_pipeline.training_batches(dataset, samples.preprocess, batch_size=batch_size,
                                            seed=seed, **kwargs)
  return list(batches.take(steps).as_numpy_iterator())


def _evaluation(dataset, *, batch_size=4, **kwargs):
  batches = input_pipeline.evaluation_batches(dataset, samples.preprocess, batch_size=batch_size,
                                              **kwargs)
  return list(batches.as_numpy_iterator())


def _assert_equal(batches, others):
  assert len(batches) == len(others)
  for batch, other in zip(batches, others, strict=True):
    assert batch.keys() == other.keys()
    for key in batch:
      np.testing.assert_array_equal(batch[key], other[key])


def _joined(batches, key):
  return np.concatenate([batch[key] for batch in batches])


def test_elements(dataset):
  batches = input_pipeline.training_batches(dataset, samples.preprocess, batch_size=4, seed=1)
  assert batches.element_spec == {
      'image': tf.TensorSpec([4, 2, 2, 1], tf.float32), 'label': tf.TensorSpec([4], tf.int32),
      'weight': tf.TensorSpec([4], tf.float32), 'id': tf.TensorSpec([4], tf.int64)}
  assert batches.element_spec == input_pipeline.evaluation_batches(
      dataset, samples.preprocess, batch_size=4).element_spec


def test_stream_concatenates_epochs(dataset):
  ids = _joined(_training(dataset, steps=11), 'id')
  expected = [example['id'].numpy() for epoch in range(2)
              for example in dataset.epoch(epoch, seed=1, shuffle=True)]
  assert ids.tolist() == expected


def test_labels_belong_to_their_images(dataset):
  by_id = {example['id'].numpy(): example for example in dataset.epoch(0)}
  for batch in _training(dataset, steps=6):
    for image, label, example_id in zip(batch['image'], batch['label'], batch['id'], strict=True):
      example = by_id[example_id]
      assert label == example['label'].numpy()
      assert image[0, 0, 0] == samples.decode(example['image']).numpy()[0, 0, 0]


@pytest.mark.parametrize('start_step', [1, 5, 6, 11, 40])
def test_resumed_stream_equals_uninterrupted_one(dataset, start_step):
  whole = _training(dataset, steps=start_step + 8)
  _assert_equal(_training(dataset, steps=8, start_step=start_step), whole[start_step:])


def test_skipped_examples_are_not_read(tmp_path):
  samples.write_folder(tmp_path, {'a': 20})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  names = [example['name'].numpy().decode() for example in dataset.epoch(0, seed=1, shuffle=True)]
  for name in names[:16]:
    (tmp_path / name).unlink()
  assert _joined(_training(dataset, steps=1, start_step=4), 'weight').tolist() == [1] * 4


def test_augmentation_is_a_function_of_seed_epoch_and_example(dataset):
  def random(seed):
    batches = _training(dataset, steps=11, seed=seed)
    numbers = _joined(batches, 'image')[:, 0, 1, 0].tolist()
    ids = _joined(batches, 'id').tolist()
    return {(position // 22, example_id): number
            for position, (example_id, number) in enumerate(zip(ids, numbers, strict=True))}

  first, again, other = random(1), random(1), random(2)
  assert first == again
  assert len({*first.values(), *other.values()}) == 88


def test_result_does_not_depend_on_parallel_decoding(dataset):
  _assert_equal(_training(dataset, steps=9, num_parallel_calls=1),
                _training(dataset, steps=9, num_parallel_calls=8))


@pytest.mark.parametrize('make', [_training, _evaluation])
@pytest.mark.parametrize(('num_replicas', 'num_workers'), [(2, 1), (4, 1), (2, 2), (4, 2)])
def test_replicas_share_the_same_global_batches(dataset, make, num_replicas, num_workers):
  steps = {'steps': 7} if make is _training else {}
  whole = make(dataset, batch_size=8, **steps)
  local = num_replicas // num_workers
  if steps:
    steps = {'steps': 7 * local}
  workers = [make(dataset, batch_size=8, num_replicas=num_replicas, num_workers=num_workers,
                  worker_index=i, **steps) for i in range(num_workers)]
  parts = [worker[step * local + replica] for step in range(len(whole))
           for worker in workers for replica in range(local)]
  joined = [{key: np.concatenate([part[key] for part in group]) for key in group[0]}
            for group in zip(*[iter(parts)] * num_replicas, strict=True)]
  _assert_equal(joined, whole)


@pytest.mark.parametrize('make', [_training, _evaluation])
def test_worker_reads_only_its_own_records(tmp_path, make):
  """Those of the other worker are damaged, which reading them would notice."""
  paths = [tmp_path / f'my_train_{number}.tfrecord' for number in range(3)]
  for number, path in enumerate(paths):
    samples.write_records(path, [0, 1] * 4, start=8 * number)
  dataset = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  steps = {'steps': 6} if make is _training else {}  # One epoch.
  of_worker = functools.partial(make, dataset, num_replicas=2, num_workers=2, **steps)
  whole = of_worker(worker_index=0)
  names = dict(zip(dataset_lib.ids(dataset.examples.names).tolist(), dataset.examples.names,
                   strict=True))
  for example_id in _joined(of_worker(worker_index=1), 'id').tolist():
    name, _, number = names[example_id].rpartition(':')
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 8 * int(number) + 20] ^= 1  # All records have the same length.
    (tmp_path / name).write_bytes(content)
  _assert_equal(of_worker(worker_index=0), whole)
  with pytest.raises(tf.errors.DataLossError):
    of_worker(worker_index=1)


def test_mirrored_strategy_gives_each_replica_its_rows(dataset):
  whole = _training(dataset, steps=3)
  batches = input_pipeline.training_batches(dataset, samples.preprocess, batch_size=4, seed=1,
                                            num_replicas=2)
  strategy = tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])
  distributed = strategy.distribute_datasets_from_function(lambda context: batches)
  for batch, expected in zip(itertools.islice(distributed, 3), whole, strict=True):
    ids = [value.numpy() for value in strategy.experimental_local_results(batch['id'])]
    np.testing.assert_array_equal(ids, expected['id'].reshape(2, 2))


@pytest.mark.parametrize('batch_size', [1, 4, 11, 22, 50])
def test_evaluation_counts_every_example_once(dataset, batch_size):
  batches = _evaluation(dataset, batch_size=batch_size)
  assert len(batches) == -(-22 // batch_size)
  weights, ids = _joined(batches, 'weight'), _joined(batches, 'id')
  assert weights.tolist() == [1] * 22 + [0] * (-22 % batch_size)
  assert ids[:22].tolist() == [example['id'].numpy() for example in dataset.epoch(0)]
  assert (ids[22:] == -1).all()
  assert (_joined(batches, 'image')[22:] == 0).all()
  assert _joined(batches, 'label')[:22].tolist() == dataset.labels.tolist()


@pytest.mark.parametrize('make', [_training, _evaluation])
def test_bad_image_keeps_its_slot(tmp_path, make):
  samples.write_folder(tmp_path, {'a': 6, 'b': 6})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  steps = {'steps': 3} if make is _training else {}
  whole = make(dataset, **steps)
  (tmp_path / 'b' / '002.png').write_bytes(b'no image')
  (tmp_path / 'a' / '004.png').unlink()
  bad = dataset.find_bad_images(samples.decode)
  found = make(dataset, bad_images=bad, **steps)
  assert len(bad) == 2
  np.testing.assert_array_equal(_joined(found, 'id'), _joined(whole, 'id'))
  weights = _joined(found, 'weight')
  assert sorted(weights) == [0, 0] + [1] * 10
  images = _joined(found, 'image')
  assert (images[weights == 0] == 0).all()
  np.testing.assert_array_equal(images[weights == 1], _joined(whole, 'image')[weights == 1])


def test_label_map(dataset):
  plain = _joined(_evaluation(dataset), 'label')[:22]
  mapped = _joined(_evaluation(dataset, label_map=[7, 3]), 'label')[:22]
  assert mapped.tolist() == [[7, 3][label] for label in plain]


@pytest.mark.parametrize(('arguments', 'message'), [
  ({'label_map': [0, -1]}, "'all'.* 1 class.*--labels_offset"),
  ({'label_map': [0]}, r'2 classes.* 1\b'),
  ({'bad_images': ['nothing.png']}, r"'all'.*nothing\.png"),
  ({'num_replicas': 3}, '4, 3 replicas.*--batch_size'),
  ({'num_replicas': 2, 'num_workers': 4}, '2 replicas, 4 workers'),
])
def test_mistakes_are_explained(dataset, arguments, message):
  with pytest.raises(ValueError, match=message):
    _evaluation(dataset, **arguments)


def test_class_without_images_needs_no_output(tmp_path):
  samples.write_records(tmp_path / 'my_train.tfrecord', [1, 2, 1])
  dataset = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  labels = _joined(_evaluation(dataset, label_map=[-1, 0, 1]), 'label')
  assert labels[:3].tolist() == [0, 1, 0]


def test_preprocessing_without_a_static_shape(dataset):
  with pytest.raises(ValueError, match=r'static.*\(None, None, 3\)'):
    input_pipeline.evaluation_batches(
        dataset, lambda image, seed: tf.cast(samples.decode(image), tf.float32), batch_size=2)


@pytest.fixture
def uneven(tmp_path):
  """22 examples in three classes, and a fourth one without any."""
  samples.write_folder(tmp_path / 'train', {'a': 15, 'b': 1, 'c': 6, 'd': 1})
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  assert dataset.class_names == ('a', 'b', 'c', 'd')
  return dataclasses.replace(dataset, examples=dataset.examples.select(dataset.labels < 3))


def _balanced(dataset, **kwargs):
  return _training(dataset, sampling='balanced', **kwargs)


def test_balanced_epochs_have_equal_class_counts(uneven):
  labels = _joined(_balanced(uneven, steps=12, batch_size=22), 'label').reshape(12, 22)
  counts = np.array([np.bincount(row, minlength=4) for row in labels])
  # 22 = 3 · 7 + 1: the remaining slot goes to each class in turn.
  assert counts.tolist() == [[8, 7, 7, 0], [7, 8, 7, 0], [7, 7, 8, 0]] * 4
  assert len({tuple(row) for row in labels}) == 12  # Each epoch is shuffled independently.
  assert (labels[:, :8] != labels[:, :1]).any(axis=1).all()


def test_balanced_examples_of_a_class_are_drawn_equally_often(uneven):
  ids = _joined(_balanced(uneven, steps=9, batch_size=22), 'id')
  of_class = [np.flatnonzero(uneven.labels == label) for label in range(3)]
  positions = {number: i for i, number in enumerate(dataset_lib.ids(uneven.examples.names))}
  counts = np.zeros(22, int)
  for epoch in ids.reshape(9, 22):
    np.add.at(counts, [positions[number] for number in epoch], 1)
    assert all(np.ptp(counts[members]) <= 1 for members in of_class)
  assert counts.sum() == 9 * 22
  assert [counts[members].sum() for members in of_class] == [66, 66, 66]


@pytest.mark.parametrize('start_step', [1, 11, 40])
def test_resumed_balanced_stream_equals_uninterrupted_one(uneven, start_step):
  whole = _balanced(uneven, steps=start_step + 8)
  _assert_equal(_balanced(uneven, steps=8, start_step=start_step), whole[start_step:])


def test_balanced_depends_on_the_seed(uneven):
  first, again, other = (_joined(_balanced(uneven, steps=6, seed=seed), 'id').tolist()
                         for seed in (1, 1, 2))
  assert first == again
  assert first != other


@pytest.mark.parametrize('num_views', [None, 2])
def test_repeated_examples_in_a_balanced_epoch_are_augmented_differently(uneven, num_views):
  batches = _balanced(uneven, steps=3, batch_size=22, num_views=num_views)
  only = dataset_lib.ids(uneven.examples.names)[uneven.labels == 1]
  augmented = _joined(batches, 'image')[_joined(batches, 'id') == only, 0, 1, 0].tolist()
  assert len(augmented) == 22
  assert len(set(augmented)) == (num_views or 22)
  if num_views:  # Views are used in turn, equally often in every epoch.
    assert sorted(augmented.count(value) for value in set(augmented)) == [11, 11]


def test_no_image_is_read_for_precomputed_features(dataset):
  known = [_joined(_training(dataset, steps=9, start_step=3), 'id'),
           _joined(_evaluation(dataset), 'id')]
  for path in dataset.examples.files:
    pathlib.Path(path).unlink()
  arguments = {'batch_size': 4, 'gather': lambda ids, views: ids}
  batches = [
    input_pipeline.training_batches(dataset, None, seed=1, start_step=3, **arguments).take(9),
    input_pipeline.evaluation_batches(dataset, None, **arguments)]
  for ids, found in zip(known, batches, strict=True):
    assert _joined(found.as_numpy_iterator(), 'id').tolist() == ids.tolist()


def test_balanced_views_are_gathered(uneven):
  seen = _joined(_balanced(uneven, steps=3, batch_size=22, num_views=2), 'id')
  batches = input_pipeline.training_batches(
      uneven, None, batch_size=22, seed=1, num_views=2, sampling='balanced',
      gather=lambda ids, views: tf.stack([ids, views], axis=1))
  gathered = np.concatenate([b['image'] for b in batches.take(3).as_numpy_iterator()])
  assert gathered[:, 0].tolist() == seen.tolist()
  assert set(gathered[:, 1]) == {0, 1}


def test_bad_image_keeps_its_slots_when_balanced(uneven):
  name = uneven.examples.names[-1]
  whole = _balanced(uneven, steps=6, batch_size=22)
  found = _balanced(uneven, steps=6, batch_size=22, bad_images=[name])
  np.testing.assert_array_equal(_joined(found, 'id'), _joined(whole, 'id'))
  bad = _joined(found, 'id') == dataset_lib.ids([name])
  assert 7 <= bad.sum() <= 8  # Of 44 slots of a class of 6.
  np.testing.assert_array_equal(_joined(found, 'weight') == 0, bad)


def test_balanced_workers_share_the_same_global_batches(uneven):
  whole = _balanced(uneven, steps=6)
  workers = [_balanced(uneven, steps=6, num_replicas=2, num_workers=2, worker_index=i)
             for i in range(2)]
  _assert_equal([{key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
                 for parts in zip(*workers, strict=True)], whole)


def test_records_cannot_be_balanced(tmp_path):
  samples.write_records(tmp_path / 'my_train.tfrecord', [0, 1, 1])
  dataset = dataset_factory.get_dataset('tfrecord', 'all', tmp_path)
  with pytest.raises(ValueError, match='--sampling=balanced.*tfrecord.*--class_weights=balanced'):
    _balanced(dataset, steps=1)
  with pytest.raises(ValueError, match="'balance'.*balanced"):
    _training(dataset, steps=1, sampling='balance')


@pytest.mark.parametrize('repeats', [2, 3])
def test_repeated_examples_are_augmented_differently(dataset, repeats):
  batches = list(input_pipeline.training_batches(
    dataset, samples.preprocess, batch_size=1, seed=1, repeats=repeats).take(44))
  ids = [int(batch['id'][0]) for batch in batches]
  for start in (0, 22):
    epoch = ids[start:start + 22]
    groups = [epoch[i:i + repeats] for i in range(0, 22, repeats)]
    assert all(len(set(group)) == 1 for group in groups)
    assert len({group[0] for group in groups}) == len(groups)
  assert ids[:22] != ids[22:]
  images = [batch['image'].numpy().tobytes() for batch in batches]
  assert len(set(images)) == 44


@pytest.mark.parametrize('start_step', [1, 2, 5, 6, 9])
def test_resumed_repeated_stream_equals_uninterrupted_one(dataset, start_step):
  _assert_equal(_training(dataset, steps=14, repeats=3)[start_step:],
                _training(dataset, steps=14 - start_step, repeats=3, start_step=start_step))
