from __future__ import annotations

import dataclasses
import pickle
import re

import numpy as np
import pytest
import samples
import sklearn.datasets
import tensorflow as tf

from datasets import dataset as dataset_lib
from datasets import dataset_factory


@pytest.fixture(params=['folder', 'csv', 'memory', 'pickled', 'tfrecord', 'tfrecord made split'])
def train(request, tmp_path):
  """A training split of each kind of storage."""
  kind = request.param
  if kind == 'memory':
    digits = dataset_factory.get_dataset('digits', 'train')
    return dataclasses.replace(
        digits, examples=digits.examples.select(np.arange(digits.num_examples) < 30))
  if kind == 'folder':
    samples.write_folder(tmp_path, {'a': 13, 'b': 10})
    return dataset_factory.get_dataset('folder', 'train', tmp_path)
  if kind == 'pickled':
    content = {'features': np.zeros([20, 4, 4, 3], np.uint8), 'labels': np.arange(20) % 3}
    (tmp_path / 'train.p').write_bytes(pickle.dumps(content))
    return dataset_factory.get_dataset('pickled', 'train', tmp_path, validation_fraction=0.2)
  if kind == 'csv':
    samples.write_folder(tmp_path, {'images': 20})
    lines = [f'images/{i:03d}.png,{i % 2}\n' for i in range(20)]
    (tmp_path / 'train.csv').write_text(''.join(lines))
    return dataset_factory.get_dataset('csv', 'train', tmp_path, validation_fraction=0)
  for shard in range(3):
    samples.write_records(tmp_path / f'my_train_{shard}.tfrecord', [0, 1, 1, 0, 2, 2, 1],
                          start=7 * shard)
  return dataset_factory.get_dataset('tfrecord', 'train', tmp_path,
                                     validation_fraction=0.2 if 'made' in kind else 0)


def _names(batches) -> list[str]:
  return [example['name'].numpy().decode() for example in batches]


def test_epoch_contains_every_example_once(train):
  plain = _names(train.epoch(0))
  assert plain == list(train.examples.names)
  assert len(set(plain)) == train.num_examples
  assert sorted(_names(train.epoch(0, seed=1, shuffle=True))) == sorted(plain)


def test_order_is_a_function_of_seed_and_epoch(train):
  def order(seed, epoch):
    return _names(train.epoch(epoch, seed=seed, shuffle=True))

  assert order(1, 0) == order(1, 0)
  assert order(1, 0) == order(1, tf.constant(0, tf.int64))
  assert len({tuple(order(*of)) for of in ((1, 0), (1, 1), (2, 0), (2, 1))}) == 4


def test_skip_omits_the_first_examples(train):
  for shuffle in (False, True):
    whole = _names(train.epoch(3, seed=1, shuffle=shuffle))
    assert _names(train.epoch(3, seed=1, shuffle=shuffle, skip=5)) == whole[5:]


def test_elements_have_their_own_label_and_id(train):
  labels = dict(zip(train.examples.names, train.labels.tolist(), strict=True))
  for example in train.epoch(0, seed=1, shuffle=True):
    name = example['name'].numpy().decode()
    assert example['label'].numpy() == labels[name]
    assert example['id'].numpy() == dataset_lib.ids([name])[0] >= 0
  assert len(set(dataset_lib.ids(train.examples.names))) == train.num_examples


def test_ids_never_change():
  # Augmentation depends on them; otherwise runs could not be repeated.
  assert dataset_lib.ids(['digit-00042', 'roses/a.jpg', 'ü']).tolist() == [
      4927333874953315606, 8195977226093505963, 3883267778305733891]


def test_digits_are_those_of_scikit_learn():
  digits = sklearn.datasets.load_digits()
  found = dataset_factory.get_dataset('digits', 'all')
  assert (found.num_examples, found.channels, found.num_classes) == (1797, 1, 10)
  pixels = [tf.io.decode_png(example['image']).numpy()[:, :, 0] for example in found.epoch(0)]
  np.testing.assert_allclose(np.array(pixels) * (16 / 255), digits.images, atol=0.04)
  np.testing.assert_array_equal(found.labels, digits.target)


def test_fingerprint_depends_on_names_labels_and_classes(tmp_path):
  def fingerprint(classes, prefix=''):
    root = tmp_path / str(len(list(tmp_path.iterdir())))
    samples.write_folder(root, classes, prefix)
    return dataset_factory.get_dataset('folder', 'all', root).fingerprint

  assert fingerprint({'a': 2, 'b': 2}) == fingerprint({'a': 2, 'b': 2})
  others = [({'a': 2, 'c': 2},), ({'a': 3, 'b': 2},), ({'a': 2, 'b': 2}, 'x')]
  found = {fingerprint(*other) for other in [({'a': 2, 'b': 2},), *others]}
  assert len(found) == 4


@pytest.mark.parametrize(('name', 'folder', 'message'), [
  ('digts', None, "'digts'.*digits"),
  ('folder', None, '--dataset_dir.*folder'),
  ('folder', 'nowhere', '--dataset_dir.*nowhere'),
  ('csv', 'nowhere', '--dataset_dir.*nowhere'),
  ('pickled', 'nowhere', '--dataset_dir.*nowhere'),
  ('flowers', 'nowhere', '--dataset_dir.*nowhere'),
])
def test_unknown_names_are_explained(name, folder, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    dataset_factory.get_dataset(name, 'train', folder)


def test_summary_has_first_and_last_classes_with_counts(tmp_path):
  samples.write_folder(tmp_path, {'ant': 2, 'bee': 1})
  found = dataset_factory.get_dataset('folder', 'all', tmp_path).summary()
  assert re.fullmatch(r".*'all'.*\b3 .*\b2 .* ant \(2\), bee \(1\)\.", found)
  samples.write_folder(tmp_path / 'more', {f'{i:02d}': 1 for i in range(30)})
  found = dataset_factory.get_dataset('folder', 'all', tmp_path / 'more').summary()
  assert '00 (1)' in found and '29 (1)' in found and '15' not in found


def test_summary_warns_of_class_names_that_differ_in_case(tmp_path):
  samples.write_folder(tmp_path, {'Shoe': 1, 'boot': 1, 'shoe': 1})
  found = dataset_factory.get_dataset('folder', 'all', tmp_path).summary()
  warning = found.splitlines()[1]
  assert warning.startswith('Warning') and re.search(r'\bShoe\b.*\bshoe\b', warning)
  assert 'boot' not in warning
