"""Links to files whose paths TensorFlow would misinterpret."""

from __future__ import annotations

import os
import tempfile

import pytest

from files import plain_paths

# Names with special characters of shells, patterns, formats, URLs and encodings.
ODD = ('run[1]', 'a\\b', 'a*b', 'a?b', 'with space', 'ü-ñ', '100%', '{x}', "a'b", 'line\nbreak',
       os.fsdecode(b'caf\xe9'))
_LINKED = ('run[1]', 'a\\b', 'a*b', 'a?b', 'line\nbreak', os.fsdecode(b'caf\xe9'))


@pytest.mark.parametrize('name', ODD)
def test_plain_path_leads_to_the_same_files(tmp_path, name):
  folder = tmp_path / name
  folder.mkdir()
  for file in ('x.index', 'x.data-00000-of-00001', 'xy.index', 'x'):
    (folder / file).write_text(file)
  with plain_paths.plain(folder / 'x') as place:
    assert (place == str(folder / 'x')) == (name not in _LINKED)
    assert plain_paths.is_plain(place)
    for suffix in ('', '.index', '.data-00000-of-00001'):
      with open(place + suffix) as file:
        assert file.read() == f'x{suffix}'
    assert name not in _LINKED or not os.path.exists(place + 'y.index')
  assert name not in _LINKED or not os.path.lexists(place)
  with plain_paths.plain(folder) as place:
    assert {'x', 'x.index'} < {*os.listdir(place)}


def test_names_of_files_are_linked_too(tmp_path):
  (tmp_path / 'a[1].ckpt').write_text('here')
  with plain_paths.plain(tmp_path / 'a[1].ckpt') as place, open(place) as file:
    assert plain_paths.is_plain(place) and file.read() == 'here'


def test_relative_path(tmp_path, monkeypatch):
  (tmp_path / 'a[1]').write_text('here')
  monkeypatch.chdir(tmp_path)
  with plain_paths.plain('a[1]') as place:
    monkeypatch.chdir('/')
    with open(place) as file:
      assert file.read() == 'here'


def test_temporary_folder_without_a_plain_path_is_not_used(tmp_path, monkeypatch):
  (tmp_path / 'job[12]').mkdir()
  (tmp_path / 'x').touch()
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'job[12]'))
  with plain_paths.plain(tmp_path / 'job[12]') as place:
    assert plain_paths.is_plain(place)
  monkeypatch.setattr(plain_paths, '_FOLDERS', ())
  with pytest.raises(OSError, match=r'job\[12\].*TMPDIR'), plain_paths.plain(tmp_path / 'a[1]'):
    pass
