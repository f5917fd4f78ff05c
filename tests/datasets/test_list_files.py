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
  rows = [Row(path, 'cat', line) for line, path in enumerate(paths, start=1)]
  return list_files.find(rows, folder / 'list.csv', "column 'path'")


@pytest.mark.parametrize('other', [
  './a.png', 'sub/../a.png', './/a.png', '{folder}/a.png', '{folder}/sub/../a.png', 'link.png',
  'hard.png', 'linked/../a.png', 'back/a.png'])
def test_one_file_under_two_names(folder, other):
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


def test_a_disk_on_which_capitals_do_not_matter(folder, monkeypatch):
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


def test_files_in_listings_are_not_asked_for(folder, monkeypatch):
  asked, original = [], os.stat

  def stat(path, **kwargs):
    asked.append(pathlib.Path(path))
    return original(path, **kwargs)

  (folder / 'link.png').symlink_to('sub/a.png')
  monkeypatch.setattr(os, 'stat', stat)
  _find(folder, 'a.png', 'b.png', 'link.png')
  assert asked == [folder, folder / 'link.png']


@pytest.mark.parametrize('path, parts', [
  ('a', ['a.png']), ('A.png', ['a.png']), ('none/a.png', []), ('x.png', []),
  ('sub', []), ('x' * 300 + '.png', []), ('a\0.png', []),
  (unicodedata.normalize('NFC', 'é.png'), ['e\\u0301.png', '\\xe9.png'])])
def test_a_missing_file_is_named(folder, path, parts):
  (folder / unicodedata.normalize('NFD', 'é.png')).write_bytes(b'x')
  with pytest.raises(FileNotFoundError) as caught:
    _find(folder, 'b.png', path)
  message = str(caught.value)
  assert all(part in message for part in ["column 'path'", 'list.csv', 'line 2', path, *parts])


@pytest.mark.parametrize('other, parts', [
  ('cat', ['lines 1 and 3', '--sampling=balanced']), ('dog', ['lines 1 and 3', 'cat', 'dog'])])
def test_a_path_twice(other, parts):
  rows = [Row('a.png', 'cat', 1), Row('b.png', 'cat', 2), Row('a.png', other, 3)]
  with pytest.raises(ValueError, match='list.csv') as caught:
    list_files.check_other_paths(rows, pathlib.Path('list.csv'))
  assert all(part in str(caught.value) for part in ['a.png', *parts])
