from __future__ import annotations

import os

import pytest
import samples

from datasets import content, dataset_factory, overlap


@pytest.fixture
def root(tmp_path):
  samples.write_folder(tmp_path, {'train/a': 4, 'train/b': 4, 'val/a': 2, 'val/b': 2})
  return tmp_path


def _find(root, **kwargs):
  """Returns the names of the same images, and the warnings."""
  datasets = [dataset_factory.get_dataset('folder', split, root, **kwargs)
              for split in ('train', 'validation')]
  found = overlap.find(datasets)
  return ([[datasets[split].examples.names[position] for split, position in group]
           for group in found], overlap.describe(found, datasets))


def test_different_images_of_equal_size_do_not_match(root):
  assert len({path.stat().st_size for path in root.rglob('*.png')}) < 12
  assert _find(root) == ([], [])


@pytest.mark.parametrize('make', [
  lambda source, target: target.write_bytes(source.read_bytes()),
  lambda source, target: target.symlink_to(source),
  lambda source, target: os.link(source, target),
], ids=['copy', 'symbolic link', 'hard link'])
def test_same_image_under_another_name_is_found(root, make):
  make(root / 'train' / 'a' / '002.png', root / 'val' / 'b' / 'other.png')
  found, (warning,) = _find(root)
  assert found == [['train/a/002.png', 'val/b/other.png']]
  assert all(part in warning for part in (
    '1 image ', "'validation'", "'train'", 'val/b/other.png', 'train/a/002.png'))


def test_image_with_two_labels_is_found(root):
  (root / 'train' / 'b' / 'x.png').write_bytes((root / 'train' / 'a' / '001.png').read_bytes())
  (root / 'train' / 'b' / 'y.png').write_bytes((root / 'train' / 'b' / '003.png').read_bytes())
  found, (warning,) = _find(root)
  assert sorted(found) == [['train/a/001.png', 'train/b/x.png'],
                           ['train/b/003.png', 'train/b/y.png']]
  assert all(part in warning for part in ('1 image ', "'train'", 'train/b/x.png',
                                          'train/a/001.png'))
  assert 'validation' not in warning and 'train/b/y.png' not in warning


def test_copies_across_a_made_split_are_found(tmp_path):
  samples.write_folder(tmp_path, {'a': 30, 'b': 30})
  for path in sorted((tmp_path / 'a').iterdir()):
    path.with_name(f'copy of {path.name}').write_bytes(path.read_bytes())
  found, _ = _find(tmp_path)
  assert len(found) == 30
  assert all(one.replace('copy of ', '') == other.replace('copy of ', '') for one, other in found)


def test_result_is_cached(root, monkeypatch):
  (root / 'val' / 'b' / 'x.png').write_bytes((root / 'train' / 'b' / '001.png').read_bytes())
  first = _find(root)
  monkeypatch.setattr(content, 'digest_of_file', None)
  assert _find(root) == first
  os.utime(root / 'val' / 'b' / 'x.png', ns=(1, 1))
  with pytest.raises(TypeError):
    _find(root)


def test_unreadable_files_do_not_match(root):
  for name in ('000.png', '001.png'):
    (root / 'train' / 'a' / name).unlink()
    (root / 'train' / 'a' / name).symlink_to(root / 'nothing')
  assert _find(root) == ([], [])
