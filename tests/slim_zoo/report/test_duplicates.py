"""Near-duplicates: what is the same to the eye is found, other images are not."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from datasets import dataset_factory
from slim_zoo.report import duplicates


def _photo(seed) -> PIL.Image.Image:
  rng = np.random.default_rng(seed)
  coarse = PIL.Image.fromarray(rng.integers(0, 256, [8, 10, 3], np.uint8))
  return coarse.resize((200, 160), PIL.Image.Resampling.BICUBIC)


def _file(image, kind='JPEG', **options) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def test_changed_images_are_found():
  photos = [_photo(seed) for seed in range(30)]
  originals = {number: duplicates.hash_of(_file(photo, quality=95))
               for number, photo in enumerate(photos)}
  changed = {
    100: _file(photos[3].resize((120, 96))), 101: _file(photos[7], quality=30),
    102: _file(photos[11].point(lambda value: value * 0.9 + 10), 'PNG'),
    103: _file(_photo(99)), 104: _file(photos[20], quality=95)}
  found = duplicates.find({number: duplicates.hash_of(file) for number, file in changed.items()},
                          originals)
  assert {pair.position: pair.other for pair in found} == {100: 3, 101: 7, 102: 11, 104: 20}
  assert [pair.bits for pair in found] == sorted(pair.bits for pair in found)
  assert found[0] == (104, 20, 0) or found[0].bits == 0


@pytest.mark.parametrize('content', [b'', b'no image', b'\xff\xd8\xff', _file(_photo(0))[:300]])
def test_what_cannot_be_decoded_has_no_hash(content):
  assert duplicates.hash_of(content) is None


def test_all_pairs_within_the_distance_are_found():
  """Against a comparison of all pairs."""
  rng = np.random.default_rng(1)
  other = dict(enumerate(rng.integers(0, 2**64, 200, np.uint64).tolist()))
  one = {}
  for number in range(100):
    flipped = rng.choice(64, number % 7, replace=False).tolist()
    one[number] = other[number] ^ sum(1 << bit for bit in flipped)
  found = duplicates.find(one, other)
  expected = {number: min((hashed ^ theirs).bit_count() for theirs in other.values())
              for number, hashed in one.items()}
  assert {pair.position: pair.bits for pair in found} == {
    number: bits for number, bits in expected.items() if bits <= duplicates.MOST_BITS}
  assert duplicates.find(one, {}) == []


def test_hashes_of_a_split_are_kept(tmp_path, monkeypatch):
  for number in range(3):
    (tmp_path / f'{number}').mkdir()
    (tmp_path / f'{number}' / 'a.png').write_bytes(_file(_photo(number), 'PNG'))
  (tmp_path / '1' / 'b.png').write_bytes(b'\x89PNG')
  dataset = dataset_factory.get_dataset('folder', 'all', tmp_path)
  found = duplicates.hashes_of(dataset)
  assert found == {0: duplicates.hash_of(_file(_photo(0), 'PNG')),
                   1: duplicates.hash_of(_file(_photo(1), 'PNG')),
                   3: duplicates.hash_of(_file(_photo(2), 'PNG'))}
  with monkeypatch.context() as patch:
    patch.setattr(duplicates, 'hash_of', None)
    assert duplicates.hashes_of(dataset) == found
