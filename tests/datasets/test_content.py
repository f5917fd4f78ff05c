"""Digests of what a split's images are."""

from __future__ import annotations

import hashlib
import os

import pytest

from datasets import content, dataset_factory


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


def test_it_is_the_content_that_counts(photos, tmp_path):
  one = _digest(photos)
  digests = b''.join(hashlib.sha256(path.read_bytes()).digest()
                     for path in sorted(photos.rglob('*.png')))
  assert one == hashlib.sha256(digests).hexdigest()
  os.utime(photos / 'a' / '0.png', ns=(1, 1))
  assert _digest(photos) == one
  photos.rename(tmp_path / 'moved')
  photos = tmp_path / 'moved'
  assert _digest(photos) == one

  path = photos / 'b' / '2.png'
  status, kept = path.stat(), path.read_bytes()
  path.write_bytes(b'2 of c')  # As large as before, and as old, as far as that can be set.
  os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
  assert path.stat().st_size == status.st_size
  assert _digest(photos) != one
  path.write_bytes(kept)
  assert _digest(photos) == one


def test_files_are_read_once(photos, monkeypatch):
  one = _digest(photos)
  monkeypatch.setattr(content, '_digests', lambda paths: pytest.fail('read again'))
  assert _digest(photos) == one


def test_images_in_memory():
  digits = dataset_factory.get_dataset('digits', 'train')
  one = content.digest(digits)
  assert one == content.digest(digits)
  assert one != content.digest(dataset_factory.get_dataset('digits', 'validation'))
