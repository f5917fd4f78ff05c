"""Real photos; skipped without ZOO_ASSETS."""

from __future__ import annotations

import pytest
import tensorflow as tf

from datasets import dataset_factory


def _get(split, root, **kwargs):
  return dataset_factory.get_dataset('folder', split, root / 'flowers', **kwargs)


def test_flowers_split(zoo_assets):
  train, validation = _get('train', zoo_assets), _get('validation', zoo_assets)
  assert train.num_examples + validation.num_examples == 3670
  assert 330 < validation.num_examples < 400
  assert train.class_names == ('daisy', 'dandelion', 'roses', 'sunflowers', 'tulips')
  assert not train.empty_classes
  assert not validation.empty_classes


@pytest.mark.slow
def test_all_flowers_decode(zoo_assets):
  found = _get('validation', zoo_assets).find_bad_images(
      lambda encoded: tf.io.decode_jpeg(encoded, channels=3))
  assert found == ()


def test_imagenet_sample_as_a_list(zoo_assets, tmp_path):
  images = sorted((zoo_assets / 'imagenet_sample').glob('*.jpg'))
  lines = [f'{path},{int(path.name.split("_")[0])}\n' for path in images]
  (tmp_path / 'test.csv').write_text(''.join(lines))
  found = dataset_factory.get_dataset('csv', 'test', tmp_path)
  assert (found.num_examples, found.num_classes) == (1000, 1000)
  assert sorted(found.labels) == list(range(1000))
