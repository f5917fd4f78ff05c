from __future__ import annotations

import os

import PIL.Image
import pytest
import samples

from datasets import dataset_factory, folder


def _get(root, split='all', **kwargs):
  return dataset_factory.get_dataset('folder', split, root, **kwargs)


def test_classes_are_the_sorted_folders(tmp_path):
  samples.write_folder(tmp_path, {'roses': 2, 'daisy': 3, '.hidden': 1})
  (tmp_path / 'README').write_text('')
  for name in ('.DS_Store', 'Thumbs.db', 'desktop.ini'):
    (tmp_path / 'daisy' / name).write_text('')
  found = _get(tmp_path)
  assert found.class_names == ('daisy', 'roses')
  assert found.labels.tolist() == [0, 0, 0, 1, 1]
  assert found.examples.names[0] == 'daisy/000.png'
  assert (found.channels, found.notes, found.made_split) == (3, (), False)


@pytest.mark.parametrize('suffix', ['.jpg', '.JPEG', '.jpe', '.PNG', '.gif', '.bmp', '.webp'])
def test_known_suffixes_are_images(tmp_path, suffix):
  samples.write_folder(tmp_path, {'a': 1})
  (tmp_path / 'a' / f'x{suffix}').write_bytes(b'')
  assert _get(tmp_path).num_examples == 2


def test_other_files_are_noted(tmp_path):
  samples.write_folder(tmp_path, {'a': 1, 'b': 1})
  (tmp_path / 'a' / 'x.txt').write_text('')
  (tmp_path / 'b' / 'y.HEIC').write_text('')
  note, = _get(tmp_path).notes
  assert all(part in note for part in ('2 files', 'JPEG', 'a/x.txt', 'b/y.HEIC'))


@pytest.mark.parametrize(('name', 'kind', 'is_image'), [
  ('x.jfif', 'JPEG', True), ('x', 'PNG', True), ('x.jpg_large', 'GIF', True),
  ('x.jpg.1', 'BMP', True), ('x.JPG-small', 'WEBP', True), ('x.crdownload', 'JPEG', False),
  ('x.ico', 'ICO', False)])
def test_images_are_recognized_by_their_content(tmp_path, name, kind, is_image):
  samples.write_folder(tmp_path, {'a': 2, 'b': 2})
  PIL.Image.new('RGB', (4, 4)).save(tmp_path / 'a' / name, kind)
  (tmp_path / 'a' / 'notes').write_bytes(b'BM is how a bitmap begins, but not this text')
  found = _get(tmp_path)
  assert found.num_examples == 4 + is_image
  images, note = folder.image_files(tmp_path)
  assert len(images) == 4 + is_image
  for text in (note, *found.notes):
    assert 'a/notes' in text and (f'a/{name}' in text) != is_image


@pytest.mark.parametrize('validation', ['validation', 'val'])
def test_existing_splits_are_kept(tmp_path, validation):
  samples.write_folder(tmp_path / 'train', {'a': 3, 'b': 1})
  samples.write_folder(tmp_path / validation, {'b': 2})
  samples.write_folder(tmp_path / 'test', {'a': 1, 'b': 1})
  assert _get(tmp_path, 'train').num_examples == 4
  found = _get(tmp_path, 'validation')
  assert found.class_names == ('a', 'b')
  assert found.labels.tolist() == [1, 1]
  assert found.empty_classes == ('a',)
  assert not found.made_split
  assert _get(tmp_path, 'test').num_examples == 2


def test_validation_split_is_made_from_train(tmp_path):
  samples.write_folder(tmp_path, {'a': 30, 'b': 30})
  train, validation = _get(tmp_path, 'train'), _get(tmp_path, 'validation')
  assert train.made_split
  assert validation.made_split
  assert not set(train.examples.names) & set(validation.examples.names)
  assert train.num_examples + validation.num_examples == 60


def test_class_named_train_is_a_class(tmp_path):
  samples.write_folder(tmp_path, {'car': 1, 'train': 1})
  assert _get(tmp_path).class_names == ('car', 'train')


def test_links_are_followed_and_loops_are_not(tmp_path):
  samples.write_folder(tmp_path / 'elsewhere', {'a': 3})
  samples.write_folder(tmp_path / 'photos', {'b': 1})
  (tmp_path / 'photos' / 'a').symlink_to(tmp_path / 'elsewhere' / 'a')
  (tmp_path / 'elsewhere' / 'a' / 'again').symlink_to(tmp_path / 'elsewhere' / 'a')
  found = _get(tmp_path / 'photos')
  assert found.examples.names == ('a/000.png', 'a/001.png', 'a/002.png', 'b/000.png')


def test_names_that_are_not_utf8(tmp_path):
  samples.write_folder(tmp_path, {'a': 1})
  with open(os.path.join(os.fsencode(tmp_path), b'a', b'\xff.png'), 'wb') as file:
    file.write(samples.png(7))
  found = _get(tmp_path)
  assert [len(example['image'].numpy()) > 0 for example in found.epoch(0)] == [True, True]
  assert found.fingerprint


@pytest.mark.parametrize(('classes', 'empty', 'message'), [
  ({}, [], '{root}'),
  ({}, ['a', 'b'], r'{root}.* a, b\b.*JPEG'),
  ({'train/a': 1, 'val/b': 1}, [], r"{root}.*'validation'.* b\b"),
])
def test_wrong_layouts_are_explained(tmp_path, classes, empty, message):
  samples.write_folder(tmp_path, classes)
  for name in empty:
    (tmp_path / name).mkdir()
  with pytest.raises(ValueError, match=message.replace('{root}', str(tmp_path))):
    _get(tmp_path, 'val' if 'val/b' in classes else 'all')


@pytest.mark.parametrize(('empty', 'message'), [
  ('b/notes.txt', r'{root}.* b \(.*notes'),
  ('b/broken.jpg', None),  # Counts as an image: reading it fails.
  ('train/b/notes.txt', r'{root}.* b \(.*notes')])
def test_class_directories_with_other_files_only(tmp_path, empty, message):
  samples.write_folder(tmp_path, {f'{"train/" if "train" in empty else ""}a': 1})
  (tmp_path / empty).parent.mkdir()
  (tmp_path / empty).write_text('x')
  if not message:
    assert _get(tmp_path).class_names == ('a', 'b')
    return
  with pytest.raises(ValueError, match=message.replace('{root}', str(tmp_path))):
    _get(tmp_path, 'train')


@pytest.mark.parametrize(('classes', 'empty'), [
  ({'a': 2, 'b': 2}, ['c', 'Neuer Ordner']),
  ({'train/a': 1, 'train/b': 1, 'val/b': 1}, ['train/c', 'val/c', 'train/d', 'val/a'])])
def test_empty_class_directories_are_not_used(tmp_path, classes, empty):
  samples.write_folder(tmp_path, classes)
  for name in empty:
    (tmp_path / name / '.ipynb_checkpoints').mkdir(parents=True)
  for split in ('train', 'validation'):
    found = dataset_factory.get_dataset('folder', split, tmp_path, validation_fraction=.5)
    assert found.class_names == ('a', 'b')
    assert any('Not used' in note and empty[0].split('/')[-1] in note for note in found.notes)


def test_class_whose_training_directory_is_empty(tmp_path):
  samples.write_folder(tmp_path, {'train/a': 1, 'val/a': 1, 'val/b': 1})
  (tmp_path / 'train' / 'b').mkdir()
  with pytest.raises(ValueError, match=r'{root}.* b\b'.replace('{root}', str(tmp_path))):
    _get(tmp_path, 'train')


def test_link_to_parent_adds_no_images_of_other_classes(tmp_path):
  samples.write_folder(tmp_path, {'a': 3, 'b': 2})
  (tmp_path / 'a' / 'all').symlink_to('..')
  assert _get(tmp_path).labels.tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize('place', ['a', 'a/.trash', 'a/more'])
def test_link_to_itself_hides_no_images(tmp_path, place):
  samples.write_folder(tmp_path, {'a': 3, 'b': 2})
  (tmp_path / place).mkdir(exist_ok=True)
  (tmp_path / place / 'loop').symlink_to('loop')
  if place == 'a':
    with pytest.raises(ValueError, match=r'loop'):  # As any link that leads nowhere.
      _get(tmp_path)
    (tmp_path / place / 'loop').rename(tmp_path / place / 'loop.png')
  count = 4 if place == 'a' else 3  # A broken link with an image's suffix is a bad image.
  assert _get(tmp_path).labels.tolist() == [0] * count + [1, 1]


def test_broken_class_link_is_an_error(tmp_path):
  samples.write_folder(tmp_path, {'a': 3, 'b': 2})
  (tmp_path / 'c').symlink_to(tmp_path / 'not mounted')
  with pytest.raises(ValueError, match=r'\bc\b.*not mounted'):
    _get(tmp_path)


def test_run_directory_is_not_a_class(tmp_path):
  samples.write_folder(tmp_path, {'a': 3, 'b': 2})
  (tmp_path / 'runs' / 'first').mkdir(parents=True)
  (tmp_path / 'runs' / 'first' / '.lock').touch()
  found = _get(tmp_path)
  assert found.class_names == ('a', 'b')
  note, = found.notes
  assert ' runs' in note


@pytest.mark.parametrize('name', ['folder', 'csv'])
def test_other_formats_are_converted(tmp_path, monkeypatch, name):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  samples.write_folder(tmp_path / 'photos', {'a': 2, 'b': 2})
  for number, file in enumerate(('a/x.tif', 'b/x.ppm')):
    PIL.Image.new('RGB', (4, 4), (100 + number,) * 3).save(tmp_path / 'photos' / file)
  (tmp_path / 'photos' / 'list.csv').write_text('a/x.tif,a\nb/x,b\na/000.png,a\n')
  root = tmp_path / 'photos' / 'list.csv' if name == 'csv' else tmp_path / 'photos'
  found = dataset_factory.get_dataset(name, 'train', root, validation_fraction=0)
  values = {example['name'].numpy().decode(): samples.decode(example['image']).numpy()[0, 0, 0]
            for example in found.epoch(0)}
  assert values['a/x.tif'] == 100 and values['b/x' if name == 'csv' else 'b/x.ppm'] == 101
  assert any('1 PNM, 1 TIFF' in note for note in found.notes)
