"""`labels.txt`."""

from __future__ import annotations

import pytest

from datasets import labels_file


@pytest.mark.parametrize(('text', 'names'), [
    ('0:daisy\n1:rose\n', ('daisy', 'rose')),
    ('1:rose\r\n0: daisy \r\n\r\n', ('daisy', 'rose')),
    ('\ufeff0:caf\u00e9\n', ('caf\u00e9',)),
    ('daisy\nrose: red\n', ('daisy', 'rose: red')),
    ('0 daisy\n1 wild rose\n', ('daisy', 'wild rose')),
    ('0,daisy\n1, rose\n', ('daisy', 'rose')),
    ('0\tdaisy\n1\trose\n', ('daisy', 'rose')),
    ('0 years\n1 years\n', ('0 years', '1 years')),
    ('2 cats\n3 dogs\n', ('2 cats', '3 dogs')),
    ('0 daisy\nrose\n', ('0 daisy', 'rose')),
])
def test_reads_names(tmp_path, text, names):
  (tmp_path / 'labels.txt').write_text(text, encoding='utf-8')
  assert labels_file.read(tmp_path / 'labels.txt') == names


@pytest.mark.parametrize(('text', 'message'), [
    ('0:daisy\n1:rose\n2:\n', r"labels\.txt.*'2:'"),
    ('0:daisy\nrose\n', r"labels\.txt.*'rose'"),
    ('0:daisy\n2:rose\n', r'labels\.txt.* label 1\b'),
    ('0:daisy\n0:rose\n', r'labels\.txt.* twice .*\b0\b'),
    ('', r'labels\.txt.* 0 lines'),
    (f'0:daisy\n{"9" * 5000}:rose\n', r'labels\.txt.* label 1\b'),
    ('0:daisy\n1:ro\0se\n', r'labels\.txt.* line 2\b'),
])
def test_mistakes_are_explained(tmp_path, text, message):
  (tmp_path / 'labels.txt').write_text(text, encoding='utf-8')
  with pytest.raises(ValueError, match=message):
    labels_file.read(tmp_path / 'labels.txt')


def test_writes_what_it_reads(tmp_path):
  labels_file.write(tmp_path / 'labels.txt', ['b', 'a'])
  assert (tmp_path / 'labels.txt').read_text() == '0:b\n1:a\n'
  assert labels_file.read(tmp_path / 'labels.txt') == ('b', 'a')


def test_unusual_class_names_are_written(tmp_path):
  path = tmp_path / 'labels.txt'
  labels_file.write(path, ['caf\udce9', 'two\nlines', 'x\u2028y', '5:five'])
  assert path.read_bytes().startswith(b'0:caf\xe9\n1:two lines\n')
  assert labels_file.read(path) == ('caf\udce9', 'two lines', 'x y', '5:five')
