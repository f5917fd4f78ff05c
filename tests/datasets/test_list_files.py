from __future__ import annotations

import os
import pathlib
import unicodedata

import pytest

from datasets import list_files
from datasets.list_files import Row


@pytest.fixture
def folder(tmp_path):
  (tmp_path / 'sub').mkdir()
  for name in ('a.png', 'b.png', 'sub/a.png'):
    (tmp_path / name).write_bytes(b'x')
  return tmp_path


def _find(folder, *paths):
  rows = [Row(path, ('cat',), line) for line, path in enumerate(paths, start=1)]
  return list_files.find(rows, folder / 'list.csv', "column 'path'", folder=folder).paths


@pytest.mark.parametrize('other', [
  './a.png', 'sub/../a.png', './/a.png', '{folder}/a.png', '{folder}/sub/../a.png', 'link.png',
  'hard.png', 'linked/../a.png', 'back/a.png'])
def test_one_file_under_two_names_is_rejected(folder, other):
  (folder / 'link.png').symlink_to('a.png')
  os.link(folder / 'a.png', folder / 'hard.png')
  (folder / 'linked').symlink_to('sub')
  (folder / 'sub' / 'back').symlink_to('..')
  (folder / 'back').symlink_to('.')
  other = other.format(folder=folder)
  assert len(_find(folder, 'b.png', 'sub/a.png', other)) == 3
  with pytest.raises(ValueError, match='list.csv') as caught:
    _find(folder, 'b.png', 'a.png', 'sub/a.png', other)
  assert all(part in str(caught.value) for part in (f' a.png and {other} ', 'lines 2 and 4'))


def test_case_insensitive_file_system(folder, monkeypatch):
  original = os.stat

  def stat(path, **kwargs):
    return original(pathlib.Path(path).parent / pathlib.Path(path).name.lower()
                    if str(path).endswith('PNG') else path, **kwargs)

  monkeypatch.setattr(os, 'stat', stat)
  assert _find(folder, 'A.PNG', 'b.png') == [f'{folder}/A.PNG', f'{folder}/b.png']
  with pytest.raises(ValueError, match=r'a\.png and A\.PNG in lines 1 and 3'):
    _find(folder, 'a.png', 'b.png', 'A.PNG')


def test_listings_whose_inodes_are_not_unique(folder, monkeypatch):
  monkeypatch.setattr(list_files, '_listing', lambda path: list_files._Folder(
      {entry.name: 0xffffffff for entry in os.scandir(path) if entry.is_file()}, 1))
  assert len(_find(folder, 'a.png', 'b.png', 'sub/a.png')) == 3
  with pytest.raises(ValueError, match=r'b\.png and sub/\.\./b\.png in lines 2 and 4'):
    _find(folder, 'a.png', 'b.png', 'sub/a.png', 'sub/../b.png')


def test_listed_files_are_not_checked_one_by_one(folder, monkeypatch):
  asked, original = [], os.stat

  def stat(path, **kwargs):
    asked.append(pathlib.Path(path))
    return original(path, **kwargs)

  (folder / 'link.png').symlink_to('sub/a.png')
  monkeypatch.setattr(os, 'stat', stat)
  _find(folder, 'a.png', 'b.png', 'link.png')
  assert asked == [folder, folder / 'link.png']


@pytest.mark.parametrize('path, parts', [
  ('c', ['c.jpg', 'c.png']), ('A.png', ['a.png']), ('none/a.png', []), ('x.png', []),
  ('sub', []), ('x' * 300 + '.png', []), ('a\0.png', []), ('twice.png', [])])
def test_missing_file_is_named(folder, path, parts):
  for name in ('c.jpg', 'c.png', 'sub/twice.png', 'other/twice.png'):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b'x')
  with pytest.raises(FileNotFoundError) as caught:
    _find(folder, 'b.png', path)
  message = str(caught.value)
  assert all(part in message for part in ["column 'path'", 'list.csv', 'line 2', path, *parts])


@pytest.mark.parametrize(('written', 'file', 'change'), [
  ('d', 'd.JPEG', 'suffix'), ('sub/d', 'sub/d.png', 'suffix'),
  ('sub\\d.png', 'sub/d.png', 'backslash'), ('sub\\d', 'sub/d.png', 'backslash'),
  (unicodedata.normalize('NFC', 'é.png'), unicodedata.normalize('NFD', 'é.png'), 'accent'),
  ('d.png', 'train/d.png', 'folder train'), ('d', 'train/d.png', 'folder train'),
  ('x/d.png', 'train/x/d.png', 'folder train')])
def test_paths_that_mean_a_file(folder, written, file, change):
  (folder / file).parent.mkdir(parents=True, exist_ok=True)
  (folder / file).write_bytes(b'x')
  rows = [Row('b.png', ('cat',), 1), Row(written, ('cat',), 2)]
  found = list_files.find(rows, folder / 'list.csv', "column 'path'", folder=folder)
  assert found.paths == [f'{folder}/b.png', f'{folder}/{file}']
  assert any(note.startswith('list.csv: 1 path: ') and change in note for note in found.notes)


def _moved(folder, *written):
  rows = [Row(path, ('cat',), line) for line, path in enumerate(written, start=1)]
  return list_files.find(rows, folder / 'list.csv', "column 'path'", folder=folder)


@pytest.mark.parametrize('prefix', [
  'C:\\Users\\me\\photos\\', '/home/me/photos/', 'photos/', '../photos/'])
def test_folders_of_another_computer_are_left_out(folder, prefix):
  found = _moved(folder, f'{prefix}a.png', f'{prefix}sub/a.png')
  assert found.paths == [f'{folder}/a.png', f'{folder}/sub/a.png']
  note, = found.notes
  assert note.startswith('list.csv: 2 paths: ') and prefix.replace('\\', '/') in note


@pytest.mark.parametrize('written', [
  ('a.png', '/home/me/b.png'), ('/home/me/a.png', '/home/you/b.png'),
  ('/home/me/sub/a.png', '/home/me/none/b.png')])
def test_folders_are_not_left_out_of_some_paths(folder, written):
  with pytest.raises(FileNotFoundError, match='line 2.*--image_dir'):
    _moved(folder, *written)


def test_one_of_several_folders_is_that_of_the_lists_split(folder):
  for name in ('train', 'test'):
    (folder / name).mkdir()
    (folder / name / 'c.png').write_bytes(b'x')
  rows = [Row('c.png', ('cat',), 1)]
  for name in ('train', 'test'):
    found = list_files.find(rows, folder / f'{name}.csv', "column 'path'", folder=folder)
    assert found.paths == [f'{folder}/{name}/c.png']
  with pytest.raises(FileNotFoundError, match='test, train.*--image_dir='):
    list_files.find(rows, folder / 'labels.csv', "column 'path'", folder=folder)


def test_repeated_lines_have_different_names():
  rows = [Row(path, ('cat',), line) for line, path in enumerate(
    ('a.png', 'b.png', 'a.png', 'a.png'), start=1)]
  names, images, note = list_files.names_of(rows, pathlib.Path('list.csv'))
  assert images == ['a.png', 'b.png', 'a.png', 'a.png'] and len(set(names)) == 4
  assert names[:2] == images[:2]
  assert '2 of 4' in note and 'a.png' in note
  assert list_files.names_of(rows[:2], pathlib.Path('list.csv'))[2] == ''


@pytest.mark.parametrize(('label', 'split', 'parts'), [
  ('dog', None, ['cat', 'dog']), ('cat', 'test', ['None', 'test'])])
def test_repeated_path_with_another_label_or_split_is_rejected(label, split, parts):
  rows = [Row('a.png', ('cat',), 1), Row('b.png', ('cat',), 2), Row('a.png', (label,), 3, split)]
  with pytest.raises(ValueError, match='list.csv.* lines 1 and 3') as caught:
    list_files.names_of(rows, pathlib.Path('list.csv'))
  assert all(part in str(caught.value) for part in ['a.png', *parts])
