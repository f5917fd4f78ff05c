"""Digests of a split's image data."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from datasets import content, dataset_factory, pieces


@pytest.fixture
def photos(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  for name in ('a', 'b'):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    for number in range(3):
      (tmp_path / 'photos' / name / f'{number}.png').write_bytes(b'%d of %s' % (
        number, name.encode()))
  return tmp_path / 'photos'


def _digest(folder):
  return content.digest(dataset_factory.get_dataset('folder', 'train', folder,
                                                    validation_fraction=0))


def test_digest_depends_only_on_content_and_order(photos, tmp_path):
  one = _digest(photos)
  os.utime(photos / 'a' / '0.png', ns=(1, 1))
  assert _digest(photos) == one
  photos.rename(tmp_path / 'moved')
  photos = tmp_path / 'moved'
  assert _digest(photos) == one

  path = photos / 'b' / '2.png'
  status, kept = path.stat(), path.read_bytes()
  path.write_bytes(b'2 of c')  # The same size and modification time.
  os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
  assert path.stat().st_size == status.st_size
  assert _digest(photos) != one
  path.write_bytes(kept)
  assert _digest(photos) == one


def test_files_are_read_once(photos, monkeypatch):
  one = _digest(photos)
  monkeypatch.setattr(content, 'digest_of_file', lambda path: pytest.fail('read again'))
  assert _digest(photos) == one


def test_only_pieces_with_changed_files_are_read(photos, monkeypatch):
  read, of_file = [], content.digest_of_file
  monkeypatch.setattr(pieces, 'LEAST', 2)
  monkeypatch.setattr(content, 'digest_of_file', lambda path: read.append(path) or of_file(path))
  one = _digest(photos)
  assert sorted(read) == sorted(map(str, photos.rglob('*.png')))
  read.clear()
  (photos / 'a' / '1.png').write_bytes(b'another')
  assert _digest(photos) != one
  assert str(photos / 'a' / '1.png') in read
  assert len(read) < 6


def test_unreadable_file_does_not_stop_the_digest(photos):
  one = _digest(photos)
  (photos / 'a' / '1.png').unlink()
  (photos / 'a' / '1.png').symlink_to(photos / 'nowhere')
  other = _digest(photos)
  assert other != one
  assert _digest(photos) == other


def test_digest_of_many_examples_in_one_file(tmp_path, monkeypatch):
  monkeypatch.setattr(pieces, 'LEAST', 2)
  path = tmp_path / 'train.p'
  features = np.arange(8 * 4 * 4 * 3, dtype=np.uint8).reshape(8, 4, 4, 3)
  path.write_bytes(pickle.dumps({'features': features, 'labels': np.arange(8) % 2}))

  def digest():
    return content.digest(dataset_factory.get_dataset('pickled', 'train', tmp_path,
                                                      validation_fraction=0))

  one = digest()
  path.write_bytes(pickle.dumps({'features': features[::-1], 'labels': np.arange(8) % 2}))
  assert digest() != one


def test_digest_of_images_in_memory():
  digits = dataset_factory.get_dataset('digits', 'train')
  one = content.digest(digits)
  assert one == content.digest(digits)
  assert one != content.digest(dataset_factory.get_dataset('digits', 'validation'))
