"""Classes in the names of images."""

from __future__ import annotations

import itertools

import pytest
import samples

from datasets import dataset_factory, flat_names, splits


@pytest.mark.parametrize(('names', 'expected'), [
  (['dog.1.jpg', 'cat.0.jpg', 'cat.1.jpg', 'dog.0.jpg'], ['cat', 'dog']),
  (['great_pyrenees_1.jpg', 'great_pyrenees_12.jpg', 'Bombay_1.jpg', 'Bombay_2.jpg'],
   ['Bombay', 'great_pyrenees']),
  (['daisy0.png', 'daisy1.png', 'tulips-1.png', 'tulips (2).png'], ['daisy', 'tulips']),
  (['a1b_1.jpg', 'a1b_2.jpg', 'a2b_1.jpg', 'a2b_2.jpg'], ['a1b', 'a2b']),
  (['IMG_0001.jpg', 'IMG_0002.jpg', 'DSC_1.jpg', 'DSC_2.jpg'], None),
  (['1.jpg', '2.jpg', '3.jpg', '4.jpg'], None),
  (['cat.0.jpg', 'cat.1.jpg'], None),
  (['cat.0.jpg', 'cat.1.jpg', 'dog.0.jpg'], None),
  (['cat.0.jpg', 'cat.1.jpg', 'dog.0.jpg', 'dog.1.jpg', 'holiday.jpg'], None),
  ([], None)])
def test_classes(names, expected):
  found = flat_names.find(names)
  assert (found and [*found]) == expected
  if found:
    assert sorted(itertools.chain(*found.values())) == sorted(names)


def _write(folder, names):
  folder.mkdir(parents=True)
  for number, name in enumerate(names):
    (folder / name).write_bytes(samples.png(number))


def test_flat_folder(tmp_path):
  _write(tmp_path / 'photos', [f'{name}.{i}.png' for name in ('cat', 'dog') for i in range(6)])
  found = dataset_factory.get_dataset('folder', 'all', tmp_path / 'photos')
  assert found.class_names == ('cat', 'dog') and found.class_counts.tolist() == [6, 6]
  assert 'cat (6), dog (6)' in found.notes[0]


def test_flat_splits(tmp_path):
  names = [f'{name}.{i}.png' for name in ('cat', 'dog') for i in range(6)]
  _write(tmp_path / 'train', names)
  _write(tmp_path / 'val', names[::2])
  _write(tmp_path / 'test1', [f'{i}.png' for i in range(4)])
  counts = [dataset_factory.get_dataset('folder', split, tmp_path).num_examples
            for split in ('train', 'validation')]
  assert counts == [12, 6]
  notes = dataset_factory.get_dataset('folder', 'train', tmp_path).notes
  assert any('test1' in note and '4 images' in note for note in notes)
  with pytest.raises(splits.UnlabelledSplitError, match='test1'):
    dataset_factory.get_dataset('folder', 'test', tmp_path)
