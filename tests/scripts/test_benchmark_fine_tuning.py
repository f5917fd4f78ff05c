"""The benchmark of fine-tuning: its splits, its table, and the crops of its PyTorch contender."""

from __future__ import annotations

import csv
import types

import numpy as np
import PIL.Image
import pytest
from scipy import stats

from datasets import dataset_factory


@pytest.fixture
def benchmark(program, monkeypatch):
  module = program('benchmark_fine_tuning')
  monkeypatch.setattr(module, 'FLAGS', types.SimpleNamespace(
    dataset_dir='photos', splits=[0, 1], validation_fraction=0.25, class_sizes=[]))
  return module


def test_splits(benchmark, tmp_path):
  for name, count in (('a', 8), ('b', 16)):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    for i in range(count):
      PIL.Image.new('RGB', (4, 4), (i, 0, 0)).save(tmp_path / 'photos' / name / f'{i}.png')
  benchmark.FLAGS.dataset_dir = tmp_path / 'photos'
  splits = [benchmark.split_photos(number, tmp_path) for number in (0, 1, 0)]
  assert splits[0] == splits[2] and splits[0].validation != splits[1].validation
  assert not {*splits[0].train} & {*splits[0].validation}
  assert [label for _, label in splits[0].validation] == [0] * 2 + [1] * 4
  splits[0].write()
  read = [dataset_factory.get_dataset('csv', name, splits[0].list_file)
          for name in ('train', 'validation')]
  assert [(one.num_examples, one.class_names) for one in read] == [(18, ('a', 'b')),
                                                                  (6, ('a', 'b'))]
  for sizes, counts in ((['3'], (3, 3)), (['2', '5'], (2, 5)), (['7', '100'], (6, 12))):
    benchmark.FLAGS.class_sizes = sizes
    labels = [label for _, label in benchmark.split_photos(0, tmp_path).train]
    assert labels == [0] * counts[0] + [1] * counts[1]
  benchmark.FLAGS.class_sizes = ['1', '2', '3']
  with pytest.raises(ValueError, match='--class_sizes'):
    benchmark.split_photos(0, tmp_path)


def test_table(benchmark):
  rng = np.random.default_rng(0)
  right = {name: [rng.random(500) < share for _ in range(2)]
           for name, share in (('head', 0.8), ('recipe', 0.9))}
  lines = benchmark.describe(right, {'head': [60, 120], 'recipe': [600, 600]}).splitlines()
  head, recipe = (next(csv.reader([line], delimiter='|')) for line in lines[2:])
  assert float(head[2]) == round(right['head'][0].mean(), 4) and recipe[5].strip() == ''
  mean, margin = map(float, head[5].split('±'))
  paired = np.concatenate(right['recipe']).astype(int) - np.concatenate(right['head'])
  low, high = stats.ttest_1samp(paired, 0).confidence_interval()
  np.testing.assert_allclose([mean - margin, mean + margin], [low, high], atol=2e-4)
  assert float(head[6]) == 1.5 and float(recipe[6]) == 10


def test_crops_of_pytorch(program, tmp_path):
  module = program('benchmark_fine_tuning_torch')
  PIL.Image.new('RGB', (60, 40), (255, 0, 0)).save(tmp_path / 'x.png')
  settings = module.Settings('mobilenet_v1', '', '', 1, 0, '', image_size=8)
  photos = module.TrainingPhotos([[str(tmp_path / 'x.png'), 3]], settings)
  image, label = photos[0]
  assert image.shape == (3, 8, 8) and label == 3 and image.min() >= -1 and image.max() <= 1
  boxes = np.array([photos._box((300, 200)) for _ in range(300)])
  left, top, right, bottom = boxes.T
  share = (right - left) * (bottom - top) / 60_000
  assert (left >= 0).all() and (right <= 300).all() and (top >= 0).all() and (bottom <= 200).all()
  assert 0.34 < share.min() < 0.4 and share.max() <= 1
