from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import samples
import scipy.io

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


def test_document_has_the_table():
  assert len(_rows()) > 25


@pytest.mark.parametrize(('layout', 'reading', 'printed'), _rows(), ids=[r[0] for r in _rows()])
def test_every_row_of_the_table(tmp_path, layout, reading, printed):
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
def test_splits_among_sibling_names(names, found):
  assert split_names.find(names) == found


def test_split_can_be_selected_by_its_directory_name(tmp_path):
  samples.write_folder(tmp_path, {'seg_train/a': 2, 'seg_train/b': 2, 'seg_test/a': 1})
  assert _get(tmp_path, 'seg_test').num_examples == 1
  with pytest.raises(splits.UnknownSplitError):
    _get(tmp_path, 'seg_pred')


def test_directory_link_cycle_terminates(tmp_path):
  (tmp_path / 'train').mkdir()
  (tmp_path / 'train' / 'train').symlink_to(tmp_path / 'train')
  with pytest.raises(ValueError, match='train'):
    _get(tmp_path, 'train')


def test_loose_validation_images_are_not_replaced_by_training_images(tmp_path):
  samples.write_folder(tmp_path, {'train/a': 9, 'train/b': 9, 'val': 3})
  assert dataset_factory.get_dataset('folder', 'train', tmp_path).num_examples == 18
  with pytest.raises(ValueError, match='val'):
    dataset_factory.get_dataset('folder', 'validation', tmp_path)


def test_numbers_are_in_numeric_order(tmp_path):
  samples.write_folder(tmp_path, {str(number): 1 for number in range(12)})
  found = _get(tmp_path, 'train')
  assert found.class_names == tuple(map(str, range(12)))
  assert [found.class_names[label] for label in found.labels] == [
    name.split('/')[0] for name in found.examples.names]
  assert 'numbers' in found.notes[-1]


def test_flat_images_with_classes_in_their_names(tmp_path):
  samples.write_folder(tmp_path, {'images': 3}, prefix='cat_')
  for number in range(3):
    (tmp_path / 'images' / f'dog_{number}.png').write_bytes(samples.png(number))
  found = _get(tmp_path, 'train')
  assert found.class_names == ('cat', 'dog') and found.labels.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(('header', 'class_names'), [
  ('id,breed', ('boxer', 'pug')), ('id,', ('d', 't'))])
def test_list_comes_before_classes_in_names(tmp_path, header, class_names):
  (tmp_path / 'train').mkdir()
  rows = [(f'{letter}{number}', breed) for letter in 'dt'
          for number, breed in enumerate(('boxer', 'pug', 'pug'))]
  for place, (name, _) in enumerate(rows):
    (tmp_path / 'train' / f'{name}.png').write_bytes(samples.png(place))
  has_breed = header == 'id,breed'
  (tmp_path / 'labels.csv').write_text('\n'.join(
    [header.rstrip(','), *(f'{name},{breed}' if has_breed else name for name, breed in rows)]))
  assert _get(tmp_path, 'train').class_names == class_names


_IDS = ('n01440764', 'n01443537')


def _ilsvrc(root, truth):
  folder = root / 'ILSVRC' / 'Data' / 'CLS-LOC'
  samples.write_folder(folder / 'train', dict.fromkeys(_IDS, 2))
  (folder / 'val').mkdir()
  for number in range(1, 4):
    (folder / 'val' / f'ILSVRC2012_val_{number:08d}.JPEG').write_bytes(samples.png(number))
  name, content = truth
  (root / name).parent.mkdir(parents=True, exist_ok=True)
  (root / name).write_text(content)
  return folder


@pytest.mark.parametrize('truth', [
  ('LOC_val_solution.csv', 'ImageId,PredictionString\n'
   f'ILSVRC2012_val_00000003,{_IDS[0]} 1 2 3 4 \n'
   f'ILSVRC2012_val_00000001,{_IDS[1]} 1 2 3 4 {_IDS[1]} 5 6 7 8\n'
   f'ILSVRC2012_val_00000002,{_IDS[0]} 1 2 3 4 \n'),
  ('ILSVRC/imagenet_2012_validation_synset_labels.txt', '\n'.join((_IDS[1], _IDS[0], _IDS[0]))),
  ('ILSVRC/Data/CLS-LOC/ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt',
   '489\n1\n1\n')])
def test_ground_truth_of_ilsvrc(tmp_path, truth):
  folder = _ilsvrc(tmp_path, truth)
  if 'devkit' in truth[0]:
    synsets = np.zeros(2, [('ILSVRC2012_ID', object), ('WNID', object)])
    synsets['ILSVRC2012_ID'], synsets['WNID'] = (1, 489), _IDS
    scipy.io.savemat((tmp_path / truth[0]).with_name('meta.mat'), {'synsets': synsets})
  found = _get(folder, 'validation')
  assert found.class_names == _IDS
  assert dict(zip(found.examples.names, found.labels.tolist(), strict=True)) == {
    'val/ILSVRC2012_val_00000001.JPEG': 1, 'val/ILSVRC2012_val_00000002.JPEG': 0,
    'val/ILSVRC2012_val_00000003.JPEG': 0}
  assert any(pathlib.Path(truth[0]).name in note for note in found.notes)


def test_missing_ground_truth_of_ilsvrc(tmp_path):
  folder = _ilsvrc(tmp_path, ('nothing', ''))
  with pytest.raises(splits.UnlabelledSplitError, match='LOC_val_solution.csv'):
    _get(folder, 'validation')


@pytest.mark.parametrize(('truth', 'parts'), [
  (('LOC_val_solution.csv', f'ImageId,PredictionString\nILSVRC2012_val_00000003,{_IDS[0]} 1 2\n'),
   ['val_00000001', '2 such']),
  (('imagenet_2012_validation_synset_labels.txt', _IDS[0]), ['3 in all', '1']),
  (('imagenet_2012_validation_synset_labels.txt', '1\n2\n3\n'), ['n01440764', "'1'"]),
  (('ILSVRC2012_validation_ground_truth.txt', '1\n2\n3\n'), ['meta.mat'])])
def test_wrong_ground_truth_of_ilsvrc(tmp_path, truth, parts):
  folder = _ilsvrc(tmp_path, truth)
  with pytest.raises(ValueError, match=truth[0]) as caught:
    _get(folder, 'validation')
  assert all(part in str(caught.value) for part in parts)


@pytest.mark.parametrize(('folder', 'is_class'), [('cat', True), ('photos', False)])
def test_folder_of_one_class(tmp_path, folder, is_class):
  samples.write_folder(tmp_path / 'data', {folder: 2})
  samples.write_folder(tmp_path / 'data', {'dog': 2} if is_class else {})
  (tmp_path / 'data' / 'notes').mkdir()
  with pytest.raises(ValueError, match='Expected one directory per class') as caught:
    _get(tmp_path / 'data' / folder, 'train')
  assert (f'--dataset_dir={tmp_path / "data"}' in str(caught.value)) == is_class


def test_list_beside_the_only_directory(tmp_path):
  samples.write_folder(tmp_path, {'img_align_celeba': 2})
  (tmp_path / 'list.csv').write_text('image,label\n000.png,a\n001.png,b\n')
  note, = _get(tmp_path, 'train').notes
  assert 'list.csv' in note and '--dataset_name=csv' in note
  samples.write_folder(tmp_path, {'another': 2})
  assert _get(tmp_path, 'train').notes == ()
