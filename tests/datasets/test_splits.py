from __future__ import annotations

import hashlib

import numpy as np
import pytest

from datasets import indexed, splits


def _examples(names, labels):
  return indexed.IndexedExamples(names, labels, encoded=[b''] * len(names))


def _validation(examples, fraction=0.1, classes=3):
  keep, other = (splits.part_of(examples, [str(i) for i in range(classes)], part,
                                validation_fraction=fraction) for part in ('validation', 'train'))
  np.testing.assert_array_equal(keep, ~other)
  return {name for name, kept in zip(examples.names, keep, strict=True) if kept}


@pytest.mark.parametrize(('split', 'native', 'fraction', 'expected'), [
  ('train', ['train'], 0.1, ('train', 'train')),
  ('validation', ['train'], 0.1, ('train', 'validation')),
  ('val', ['train'], 0.1, ('train', 'validation')),
  ('train', ['train'], 0, ('train', None)),
  ('all', ['train'], 0.1, ('train', None)),
  ('train', ['train', 'test'], 0.1, ('train', 'train')),
  ('validation', ['train', 'test'], 0.1, ('train', 'validation')),
  ('test', ['train', 'test'], 0.1, ('test', None)),
  ('train', ['train', 'val'], 0.1, ('train', None)),
  ('validation', ['train', 'val'], 0.1, ('val', None)),
  ('val', ['train', 'validation', 'test'], 0.1, ('validation', None)),
  ('test', ['test'], 0.1, ('test', None)),
])
def test_choose(split, native, fraction, expected):
  assert splits.choose(split, native, validation_fraction=fraction, source='it') == expected


@pytest.mark.parametrize(('split', 'native', 'fraction', 'message'), [
  ('test', ['train'], 0.1, r"'test'.*\btrain, validation \(.*\), all\."),
  ('test', ['train', 'val'], 0.1, r"'test'.*: train, val\."),
  ('validation', ['train'], 0, "'validation'.*--validation_fraction"),
  ('all', ['train', 'test'], 0, r"'all'.*: train, test\."),
  ('train', ['test'], 0.1, r"'train'.*: test, all\."),
  ('train', ['train'], 1, r'in \[0, 1\)'),
  ('train', ['train'], -0.1, r'in \[0, 1\)'),
])
def test_unknown_split_is_explained(split, native, fraction, message):
  with pytest.raises(ValueError, match=message):
    splits.choose(split, native, validation_fraction=fraction, source='it')


def test_split_is_determined_by_the_hash_of_the_name():
  names = [f'{i}.png' for i in range(500)]
  found = _validation(_examples(names, [0] * 500))
  by_hand = {name for name in names
             if int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) < 0.1 * 2**64}
  assert found == by_hand
  assert 25 < len(found) < 80


def test_added_files_do_not_move_others():
  names = [f'{i}.png' for i in range(500)]
  fewer = _validation(_examples(names[::2], [0] * 250))
  more = _validation(_examples(names, [0] * 500))
  assert fewer == more & set(names[::2])


@pytest.mark.parametrize('fraction', [1e-6, 0.5, 0.999999])
def test_every_class_is_in_both_splits(fraction):
  labels = [0, 0, 1, 1, 1, 2, 2]
  examples = _examples([f'{i}.png' for i in range(7)], labels)
  validation = _validation(examples, fraction)
  sides = [{labels[i] for i in range(7) if (f'{i}.png' in validation) == side}
           for side in (True, False)]
  assert sides == [{0, 1, 2}] * 2


def test_single_image_of_a_class_is_trained_on():
  examples = _examples([f'{i}.png' for i in range(5)], [0, 0, 1, 1, 2])
  assert '4.png' not in _validation(examples)
  with pytest.raises(ValueError, match=r'0\.png.*--validation_fraction=0'):
    _validation(_examples([f'{i}.png' for i in range(3)], [0, 1, 2]))


def test_examples_of_one_image_stay_together():
  images = [f'{i // 3}.png' for i in range(300)]
  examples = _examples([f'{i}.png' for i in range(300)], [0] * 300)
  found = splits.part_of(examples, ['0'], 'validation', validation_fraction=0.3, images=images)
  assert 0.2 < found.mean() < 0.4
  assert all(len(set(found[i:i + 3])) == 1 for i in range(0, 300, 3))
