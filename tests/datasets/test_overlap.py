from __future__ import annotations

import os

import pytest
import samples

from datasets import cache, content, dataset_factory, overlap


@pytest.fixture
def root(tmp_path):
  samples.write_folder(tmp_path, {'train/a': 4, 'train/b': 4, 'val/a': 2, 'val/b': 2})
  return tmp_path


def _find(root, **kwargs):
  train, validation = (dataset_factory.get_dataset('folder', split, root, **kwargs)
                       for split in ('train', 'validation'))
  return overlap.find(train, validation), train, validation


def test_other_images_of_equal_size_are_no_overlap(root):
  assert _find(root)[0] == []


@pytest.mark.parametrize('make', [
  lambda source, target: target.write_bytes(source.read_bytes()),
  lambda source, target: target.symlink_to(source),
  lambda source, target: os.link(source, target),
], ids=['copy', 'symbolic link', 'hard link'])
def test_the_same_image_under_another_name(root, make):
  make(root / 'train' / 'a' / '002.png', root / 'val' / 'b' / 'other.png')
  found, train, validation = _find(root)
  assert found == [('train/a/002.png', 'val/b/other.png')]
  message = overlap.describe(found, train, validation)
  assert '1 image of' in message and 'val/b/other.png' in message and 'train/a/002.png' in message


def test_copies_in_a_folder_that_is_split_here(tmp_path):
  samples.write_folder(tmp_path, {'a': 30, 'b': 30})
  for path in sorted((tmp_path / 'a').iterdir()):
    path.with_name(f'copy of {path.name}').write_bytes(path.read_bytes())
  found, train, validation = _find(tmp_path)
  for pair in found:
    assert {pair.first, pair.second} & {*train.examples.names}
    assert os.path.basename(pair.first).removeprefix('copy of ') == os.path.basename(
        pair.second).removeprefix('copy of ')
  held = {name.replace('copy of ', '') for name in validation.examples.names if name[0] == 'a'}
  seen = {name.replace('copy of ', '') for name in train.examples.names}
  assert {pair.second.replace('copy of ', '') for pair in found} == held & seen
  assert found


def test_files_are_read_once(root, monkeypatch):
  (root / 'val' / 'b' / 'x.png').write_bytes((root / 'train' / 'b' / '001.png').read_bytes())
  first = _find(root)[0]
  monkeypatch.setattr(content, 'digest_of_file', None)
  assert _find(root)[0] == first != []
  os.utime(root / 'val' / 'b' / 'x.png', ns=(1, 1))
  with pytest.raises(TypeError):
    _find(root)


def test_files_that_cannot_be_read_are_not_equal(root, monkeypatch):
  monkeypatch.setattr(cache, 'load', lambda key: None)
  (root / 'train' / 'a' / '000.png').unlink()
  (root / 'train' / 'a' / '000.png').symlink_to(root / 'nothing')
  assert _find(root)[0] == []
