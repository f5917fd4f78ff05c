from __future__ import annotations

import pathlib
import re

import pytest
import samples

from datasets import dataset_factory, split_names, splits

_ROOT = pathlib.Path(__file__).parent.parent.parent
_IMAGES = 4


def _rows() -> list[tuple[str, str, str]]:
  """The rows of the document's table of layouts."""
  text = (_ROOT / 'docs' / 'folders.md').read_text()
  lines = text[text.index('| layout |'):].splitlines()[2:]
  rows = [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] for line in lines]
  return [tuple(row) for row in rows]


def _get(root, split):
  return dataset_factory.get_dataset('folder', split, root, validation_fraction=0)


def test_the_table_was_found():
  assert len(_rows()) > 25


@pytest.mark.parametrize(('layout', 'reading', 'printed'), _rows(), ids=[r[0] for r in _rows()])
def test_every_row_is_true(tmp_path, layout, reading, printed):
  for folder in re.findall(r'`(.*?)\*`', layout):
    for number in range(_IMAGES):
      path = tmp_path / folder / f'{number}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(samples.png(number))
  expected = re.compile('.*?'.join(map(re.escape, printed.split('…'))))
  if reading.startswith('error'):
    failing = reading.removeprefix('error').removeprefix(' for ') or 'train'
    with pytest.raises(ValueError, match=expected.pattern):
      _get(tmp_path, failing)
    if failing != 'train':
      assert _get(tmp_path, 'train').num_examples > 0
    return
  splits_read = dict(part.split(': ') for part in reading.split('; '))
  for split in ('train', 'validation', 'test'):
    if split not in splits_read:
      with pytest.raises((splits.UnknownSplitError, ValueError)):
        _get(tmp_path, split)
      continue
    found = _get(tmp_path, split)
    present = [name for name in found.class_names if name not in found.empty_classes]
    assert present == splits_read[split].split(', ')
    assert len(set(found.examples.names)) == found.num_examples
  found = _get(tmp_path, 'train')
  if printed:
    assert any(expected.search(note) for note in found.notes), found.notes
  else:
    assert found.notes == ()


@pytest.mark.parametrize(('name', 'split'), [
  ('Train', 'train'), ('trainset', 'train'), ('TrainImages', 'train'), ('train_2017', 'train'),
  ('valid', 'validation'), ('val', 'validation'), ('dev', 'validation'),
  ('images_val', 'validation'),
  ('Test', 'test'), ('test_set', 'test'), ('test1', 'test'), ('unlabeled', split_names.UNLABELLED),
  ('cat', None), ('trainer', None), ('devil', None), ('contest', None), ('train_test', None),
  ('steam train', None), ('validated', None), ('', None),
])
def test_names_of_splits(name, split):
  assert split_names.split_of(name) == split


@pytest.mark.parametrize(('names', 'found'), [
  (['seg_test', 'seg_train', 'seg_pred'], {'seg_test': 'test', 'seg_train': 'train',
                                           'seg_pred': split_names.UNLABELLED}),
  (['steam train', 'bus'], {}),
  (['steam train', 'drug test'], {}),
  (['train', 'labels'], {'train': 'train'}),
])
def test_names_side_by_side(names, found):
  assert split_names.find(names) == found


def test_a_split_can_be_asked_for_by_its_directory(tmp_path):
  samples.write_folder(tmp_path, {'seg_train/a': 2, 'seg_train/b': 2, 'seg_test/a': 1})
  assert _get(tmp_path, 'seg_test').num_examples == 1
  with pytest.raises(splits.UnknownSplitError):
    _get(tmp_path, 'seg_pred')


def test_a_directory_that_leads_to_itself_ends(tmp_path):
  (tmp_path / 'train').mkdir()
  (tmp_path / 'train' / 'train').symlink_to(tmp_path / 'train')
  with pytest.raises(ValueError, match='train'):
    _get(tmp_path, 'train')


def test_loose_validation_images_are_not_replaced_by_training_images(tmp_path):
  samples.write_folder(tmp_path, {'train/a': 9, 'train/b': 9, 'val': 3})
  assert dataset_factory.get_dataset('folder', 'train', tmp_path).num_examples == 18
  with pytest.raises(ValueError, match='val'):
    dataset_factory.get_dataset('folder', 'validation', tmp_path)
