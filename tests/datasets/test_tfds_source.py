from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory

tfds = pytest.importorskip('tensorflow_datasets')


def _pixels(i: int, channels: int) -> np.ndarray:
  return np.full((4, 4, channels), i, np.uint8)


class TinyImages(tfds.core.GeneratorBasedBuilder):
  """A dataset with 3 channels and train and test splits."""

  VERSION = tfds.core.Version('1.0.0')
  CHANNELS = 3
  SPLITS = {'train': 30, 'test': 5}  # noqa: RUF012

  def _info(self):
    features = tfds.features.FeaturesDict({
        'image': tfds.features.Image(shape=(4, 4, self.CHANNELS)),
        'label': tfds.features.ClassLabel(names=['cat', 'dog']),
        'size': np.int64})
    return tfds.core.DatasetInfo(builder=self, features=features,
                                 supervised_keys=('image', 'label'))

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples(count) for name, count in self.SPLITS.items()}

  def _generate_examples(self, count=0):
    for i in range(count):
      yield i, {'image': _pixels(i, self.CHANNELS), 'label': i % 2, 'size': i}


class TinyGrey(TinyImages):
  """A grey dataset with its own validation split."""

  CHANNELS = 1
  SPLITS = {'train': 10, 'validation': 4}  # noqa: RUF012


class TinyIds(TinyImages):
  """A dataset whose labels are sparse ids."""

  def _info(self):
    features = tfds.features.FeaturesDict({
        'image': tfds.features.Image(shape=(4, 4, 3)),
        'label': tfds.features.ClassLabel(num_classes=10**12)})
    return tfds.core.DatasetInfo(builder=self, features=features,
                                 supervised_keys=('image', 'label'))

  def _generate_examples(self, count=0):
    for i in range(count):
      yield i, {'image': _pixels(i, 3), 'label': (5, 2017, 10**11)[i % (2 if count > 5 else 3)]}


class TinyUnlabelled(tfds.core.GeneratorBasedBuilder):
  """A dataset without labels."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    return tfds.core.DatasetInfo(
        builder=self, features=tfds.features.FeaturesDict({'size': np.int64}))

  def _split_generators(self, dl_manager):
    return {'train': self._generate_examples()}

  def _generate_examples(self):
    yield 0, {'size': 1}


def _prepare(builder_class, root, **kwargs):
  builder_class(data_dir=root, **kwargs).download_and_prepare()


def _get(name, split, root, **kwargs):
  return dataset_factory.get_dataset(f'tfds/{name}', split, root, **kwargs)


def test_reads_the_same_examples_as_tfds(tmp_path):
  _prepare(TinyImages, tmp_path)
  found = _get('tiny_images', 'train', tmp_path, validation_fraction=0)
  assert (found.class_names, found.channels, found.num_examples) == (('cat', 'dog'), 3, 30)
  theirs = TinyImages(data_dir=tmp_path).as_dataset(split='train', shuffle_files=False)
  for example, expected in zip(found.epoch(0), tfds.as_numpy(theirs), strict=True):

    np.testing.assert_array_equal(tf.io.decode_png(example['image']), expected['image'])
    assert example['label'].numpy() == expected['label']


def test_splits(tmp_path):
  _prepare(TinyImages, tmp_path)
  train, validation, test = (_get('tiny_images', split, tmp_path)
                             for split in ('train', 'validation', 'test'))
  assert (train.made_split, validation.made_split, test.made_split) == (True, True, False)
  assert train.num_examples + validation.num_examples == 30
  assert test.num_examples == 5


def test_grey_and_own_validation(tmp_path):
  _prepare(TinyGrey, tmp_path)
  found = _get('tiny_grey:1.0.0', 'validation', tmp_path)
  assert (found.channels, found.num_examples, found.made_split) == (1, 4, False)


def test_ids_are_classes_of_all_splits(tmp_path):
  _prepare(TinyIds, tmp_path)
  found = _get('tiny_ids', 'train', tmp_path, validation_fraction=0)
  assert found.class_names == ('5', '2017', str(10**11))
  assert set(found.labels.tolist()) == {0, 1}
  assert found.notes == (f'labels 5, 2017, {10**11} → classes 0, 1, 2',)


@pytest.mark.parametrize('content', [b'', b'{}', b'\xff', b'[' * 10**5])
def test_damaged_dataset_is_named(tmp_path, content):
  _prepare(TinyImages, tmp_path)
  (tmp_path / 'tiny_images' / '1.0.0' / 'dataset_info.json').write_bytes(content)
  with pytest.raises(ValueError, match=f"'tiny_images'.*{tmp_path}"):
    _get('tiny_images', 'train', tmp_path)


def test_unknown_dataset(tmp_path):
  with pytest.raises(ValueError, match=f"'no_such_set'.*{tmp_path}"):
    _get('no_such_set', 'train', tmp_path)


def test_unlabelled_dataset(tmp_path):
  _prepare(TinyUnlabelled, tmp_path)
  with pytest.raises(ValueError, match='tiny_unlabelled.*image.*label'):
    _get('tiny_unlabelled', 'train', tmp_path)


def test_dataset_that_cannot_be_downloaded(tmp_path, monkeypatch):
  def refuse(*args, **kwargs):
    raise ConnectionError('no route to host')

  monkeypatch.setattr(tfds.core.DatasetBuilder, 'download_and_prepare', refuse)
  with pytest.raises(OSError, match=rf"'tiny_images'.*{tmp_path}.*no route to host"):
    _get('tiny_images', 'train', tmp_path)
