"""The table in docs/lists.md, row by row."""

from __future__ import annotations

import os
import pathlib
import re

import pytest
import samples

from datasets import dataset_factory, splits

_ROWS = ('a', 'b', 'c', 'd')
_LABELS = ('daisy', 'tulips', 'daisy', 'tulips')


def _list(*, first: str = '', line: str = '{name}.jpg,{label}', **columns) -> str:
  """A list of the images a.jpg to d.jpg; `columns` has further values of each line."""
  found = [line.format(name=name, label=label, row=row,
                       **{key: values[row] for key, values in columns.items()})
           for row, (name, label) in enumerate(zip(_ROWS, _LABELS, strict=True))]
  return '\n'.join([first] * bool(first) + found) + '\n'


_SPLITS = ('train', 'Training', 'val', 'TEST_SET')
_ALTERNATING = ('x', 'y', 'x', 'y')
# {layout in the document: (the list or lists, parts of the note or of the error)}.
_READ = {
    '`a.jpg,daisy`': (_list(), ()),
    '`filename,label`': (_list(first='filename,label'), ()),
    '`label,filename`, `id,breed`': (
        _list(first='label,filename', line='{label},{name}.jpg'),
        ("images in column 'filename'", "labels in column 'label'")),
    '`,filename,label,width`': (
        _list(first=',filename,label,width', line='{row},{name}.jpg,{label},4'),
        ("'filename'", "'label'", 'ignored columns: 1, width')),
    '`photo_location,what`': (
        _list(first='what,photo_location', line='{label},{name}.jpg'),
        ("images in column 'photo_location'", "labels in column 'what'")),
    '`filename,class_id,class_name`': (
        _list(first='filename,x,class_name,class', line='{name}.jpg,1,{label},{code}',
              code=_ALTERNATING), ("labels in column 'class_name'", 'ignored columns: x, class')),
    '`daisy,a.jpg`': (_list(line='{label},{name}.jpg'),
                      ('images in column 2', 'labels in column 1')),
    '`0,a.jpg,daisy`': (_list(line='{row},{name}.jpg,{label}'),
                        ('images in column 2', 'labels in column 3', 'ignored columns: 1')),
    '`filename,label,split`': (
        _list(first='filename,label,Data Set', line='{name}.jpg,{label},{split}', split=_SPLITS),
        ("splits in column 'Data Set'", '(2 train, 1 validation, 1 test)')),
    '`a.jpg,daisy,test`': (_list(line='{name}.jpg,{label},{split}', split=_SPLITS),
                           ('splits in column 3', '(2 train, 1 validation, 1 test)')),
    '`filename,daisy,tulips` with `1`, `0`': (
        _list(first='filename,daisy,tulips', line='{name}.jpg,{one},{two}',
              one=('1', '0.0', 'True', '0'), two=('0', '1.0', 'False', '1')),
        ('2 classes', 'daisy, tulips')),
    '`a.jpg,0` … `b.jpg,9`': (_list(line='{name}.jpg,{code}', code=(0, 1, '00', 1)), ()),
    '`a.jpg,2017` … `b.jpg,203092`': (
        _list(line='{name}.jpg,{code}', code=(2017, 203092) * 2),
        ('labels 2017, 203092 → classes 0, 1',)),
    '`a.jpg,daisy` twice': (_list() + 'a.jpg,daisy\n',
                            ('list.csv', '1 of 5', 'a.jpg', '--sampling=balanced')),
    '`a.jpg,0.0` … `b.jpg,9.0`': (_list(line='{name}.jpg,{code}', code=('0.0', '1.0', '0', '1')),
                                  ()),
    '`a,daisy`': (_list(first='id,label', line='{name},{label}'),
                  ('list.csv', '4 paths', 'suffix')),
}
_REFUSED = {
    '`filename,label,class`': (
        _list(first='filename,label,class', line='{name}.jpg,{label},{other}', other='xxyy'),
        ('labels', 'list.csv', 'label, class')),
    '`filename,size,colour`': (
        _list(first='filename,size,colour', line='{name}.jpg,{label},red'),
        ('labels', 'list.csv', 'size, colour')),
    '`b,a.jpg,daisy`': (_list(line='{other},{name}.jpg,{label}', other='xxyy'),
                        ('labels', 'list.csv', '1, 3')),
    '`filename,label,split` with `0`, `1`': (
        _list(first='filename,label,split', line='{name}.jpg,{label},{split}',
              split=('train', 'test', '1', 'test')), ("'split'", 'list.csv', 'line 4', '1')),
    '`filename,label,is_valid`': (
        _list(first='filename,label,is_valid', line='{name}.jpg,{label},{split}',
              split=('True', 'False') * 2), ("'is_valid'", "'split'", 'list.csv')),
    '`train.csv` beside `test.csv`': (
        {'train.csv': _list(first='filename,label,split', line='{name}.jpg,{label},{split}',
                            split=_SPLITS), 'test.csv': _list()}, ('train.csv', 'line 4')),
    '`filename,daisy,tulips` with `1`, `1`': (
        _list(first='filename,daisy,tulips', line='{name}.jpg,{one},1', one=(0, 0, 1, 1)),
        ('daisy, tulips', 'list.csv', '2 of 4', 'line 4')),
    '`filename,daisy,tulips` with `0`, `0`': (
        _list(first='filename,daisy,tulips', line='{name}.jpg,{one},0', one=(1, 1, 0, 1)),
        ('daisy, tulips', 'list.csv', '1 of 4', 'line 4')),
    '`a.jpg,daisy\\|tulips`': (_list(line='{name}.jpg,{code}',
                                   code=('daisy', 'daisy| tulips', 'tulips', 'daisy|tulips')),
                             ('list.csv', '2 of 4', 'line 2', 'daisy| tulips')),
    '`a.jpg,nan`, `a.jpg,`': (
        _list(line='{name}.jpg,{code}', code=('daisy', 'NaN', 'None', '')),
        ('list.csv', 'line 2', 'NaN', '3 of 4', 'labels.txt')),
    '`a.jpg,"daisy`': (_list(line='{name}.jpg,{quote}{label}', quote=('', '', '"', '')),
                       ('list.csv', 'line 3')),
    '`a.jpg,daisy` and `./a.jpg,daisy`': (
        _list() + './b.jpg,daisy\n', ('list.csv', 'b.jpg and ./b.jpg', 'lines 2 and 5')),
    '`a.jpg,daisy` and `a.jpg,tulips`': (
        _list() + 'a.jpg,tulips\n', ('list.csv', 'a.jpg', 'lines 1 and 5', 'daisy', 'tulips')),
    '`none.jpg,daisy`': (_list(line='{name}.jpg,{label}') + 'none.jpg,daisy\n',
                         ('list.csv', 'line 5', 'none.jpg')),
}


@pytest.fixture
def images(tmp_path):
  for number, name in enumerate(_ROWS):
    (tmp_path / f'{name}.jpg').write_bytes(samples.png(number))
  return tmp_path


def _write(folder: pathlib.Path, lists: str | dict[str, str]) -> pathlib.Path:
  for name, text in (lists if isinstance(lists, dict) else {'list.csv': lists}).items():
    (folder / name).write_text(text)
  return folder if isinstance(lists, dict) else folder / 'list.csv'


def _get(path, split='train'):
  return dataset_factory.get_dataset('csv', split, path, validation_fraction=0)


@pytest.mark.parametrize('layout', _READ)
def test_supported_layout_is_read(images, layout):
  text, notes = _READ[layout]
  path = _write(images, text)
  split_counts = [_get(path, split).num_examples for split in ('train', 'validation', 'test')
                  ] if 'split' in ''.join(notes) else [4]  # Without a repeated line.
  assert split_counts in ([4], [2, 1, 1])
  found = _get(path)
  rows = range(split_counts[0])
  assert [re.sub(r'\.jpg$', '', name) for name in found.examples.names[:len(rows)]] == [
    _ROWS[row] for row in rows]
  assert found.labels[:len(rows)].tolist() == [row % 2 for row in rows]
  if notes:
    note, = found.notes
    assert all(part in note for part in notes)
    assert '\n' not in note
  else:
    assert found.notes == ()


@pytest.mark.parametrize('layout', _REFUSED)
def test_unsupported_layout_is_rejected(images, layout):
  lists, parts = _REFUSED[layout]
  path = _write(images, lists)
  with pytest.raises((ValueError, FileNotFoundError)) as caught:
    _get(path)
  message = str(caught.value)
  assert all(part in message for part in parts), message
  assert '\n' not in message


def test_the_document_has_these_rows():
  text = pathlib.Path(__file__).parents[2].joinpath('docs/lists.md').read_text(encoding='utf-8')
  rows = re.findall(r'^\| (`.*?) \| .* \| (.*?) ?\|$', text, re.MULTILINE)
  assert {layout for layout, result in rows if result.startswith('error')} == set(_REFUSED)
  assert {layout for layout, result in rows if not result.startswith('error')} == set(_READ)
  silent = {layout for layout, result in rows if not result}
  assert silent == {layout for layout, (_, notes) in _READ.items() if not notes}


@pytest.mark.parametrize('name', ['a', 'ü'])
def test_windows_1252(images, name):
  (images / f'{name}.jpg').write_bytes(samples.png(7))
  (images / 'list.csv').write_bytes(f'{name}.jpg,Löwe\nb.jpg,Maus\n'.encode('cp1252'))
  found = _get(images / 'list.csv')
  assert found.class_names == ('Löwe', 'Maus')
  assert found.examples.names == (f'{name}.jpg', 'b.jpg')
  assert 'Windows-1252' in found.notes[0]


def test_bytes_that_name_a_file_are_kept(images):
  name = b'\xfc.jpg'
  with open(os.fsencode(images) + b'/' + name, 'wb') as file:
    file.write(samples.png(7))
  (images / 'list.csv').write_bytes(name + b',cat\nb.jpg,dog\n')
  assert _get(images / 'list.csv').examples.names[0] == os.fsdecode(name)


def test_image_dir(images, tmp_path_factory):
  folder = tmp_path_factory.mktemp('lists')
  (folder / 'train.csv').write_text('id,breed\n' + _list(line='{name},{label}'))
  with pytest.raises(FileNotFoundError, match='--image_dir'):
    _get(folder)
  found = dataset_factory.get_dataset('csv', 'train', folder, image_dir=str(images),
                                      validation_fraction=0)
  assert found.num_examples == 4 and found.examples.files[0] == f'{images}/a.jpg'
  with pytest.raises(FileNotFoundError, match='--image_dir.*nowhere'):
    dataset_factory.get_dataset('csv', 'train', folder, image_dir='/nowhere')


@pytest.mark.parametrize(('name', 'options', 'named'), [
  ('folder', {'image_dir': '/x'}, '--image_dir.*csv'),
  ('tfrecord', {'image_dir': '/x'}, '--image_dir.*csv'),
  ('csv', {'record_keys': ('a', 'b')}, '--record_keys.*tfrecord')])
def test_options_that_a_dataset_does_not_take_are_refused(images, name, options, named):
  with pytest.raises(ValueError, match=named):
    dataset_factory.get_dataset(name, 'train', images, **options)


@pytest.mark.parametrize('test_list', ['id\nx\ny\n', ',id,split\n0,x,test\n1,y,test\n'])
def test_list_of_test_images_without_labels_is_not_used(images, test_list):
  (images / 'train.csv').write_text(_list(first='id,breed', line='{name},{label}'))
  (images / 'test.csv').write_text(test_list)
  (images / 'sample_submission.csv').write_text('id,daisy,tulips\nx,0.5,0.5\n')
  found = _get(images)
  assert found.num_examples == 4 and "'test'" in found.notes[0]
  with pytest.raises(splits.UnlabelledSplitError, match='test.csv'):
    _get(images, 'test')


@pytest.mark.parametrize('name', ['csv', 'folder'])
@pytest.mark.parametrize('file', ['labels.csv', 'train.csv'])
def test_single_list_beside_flat_images(images, name, file):
  """As Kaggle's dog breeds: images in train and test, and their classes in one list."""
  for folder in ('train', 'test'):
    (images / folder).mkdir()
    for number in range(4):
      (images / folder / f'{"x" * (folder == "test")}{number}.jpg').write_bytes(samples.png(number))
  for row in _ROWS:
    (images / f'{row}.jpg').unlink()
  (images / file).write_text('id,breed\n0,pug\n1,beagle\n2,pug\n3,beagle\n')
  (images / 'sample_submission.csv').write_text('id,beagle,pug\nx0,0.5,0.5\n')
  found = dataset_factory.get_dataset(name, 'train', images, validation_fraction=0)
  assert found.class_names == ('beagle', 'pug')
  assert found.labels.tolist() == [1, 0, 1, 0]


# Further layouts: header, line, image column and label column.
@pytest.mark.parametrize('first, line, image, label', [
    ('id,breed', '{name}.jpg,{label}', 'id', 'breed'),
    ('Image ID;Target', '{name}.jpg;{label}', 'Image ID', 'Target'),
    ('label,split,path', '{label},train,{name}.jpg', 'path', 'label'),
    ('id,url,landmark_id', '{row},{name}.jpg,{code}', 'url', 'landmark_id'),
    ('Image,Id', '{name}.jpg,{label}', 'Image', 'Id'),
    ('id,name,filename,label', '{row},x,{name}.jpg,{label}', 'filename', 'label'),
    ('filename,label,patient_id', '{name}.jpg,{label},7', 'filename', 'label'),
    ('lesion_id,image_id,dx,age', '7,{name}.jpg,{label},50', 'image_id', 'dx'),
    ('class id,filepaths,labels,data set', '{code},{name}.jpg,{label},train', 'filepaths',
     'labels'),
    ('filename,width,individual_id', '{name}.jpg,4,{label}', 'filename', 'individual_id'),
    ('Unnamed: 0,img,y', '{row},{name}.jpg,{label}', 'img', 'y'),
    ('what,where', '{label},{name}.jpg', 'where', 'what'),
    ('filename,label,dataset', '{name}.jpg,{label},photos', 'filename', 'label'),
    ('filename,label,flag,other', '{name}.jpg,{label},1,0', 'filename', 'label'),
])
def test_columns_are_found_by_their_names(images, first, line, image, label):
  (images / 'list.csv').write_text(_list(first=first, line=line, code=_ALTERNATING))
  found = _get(images / 'list.csv')
  assert found.examples.names == tuple(f'{name}.jpg' for name in _ROWS)
  assert found.labels.tolist() == [0, 1, 0, 1]
  if found.notes:
    assert f'images in column {image!r}' in found.notes[0]
    assert f'labels in column {label!r}' in found.notes[0]
  else:
    assert [image, label] == re.split('[,;]', first)


@pytest.mark.parametrize('text, parts', [
    (_list(first='filename,split', line='{name}.jpg,{split}', split=_SPLITS), ('labels', 'split')),
    (_list(first=',filename,split', line='{row},{name}.jpg,{split}', split=_SPLITS), ('labels',)),
    (_list(first='filename,label,split', line='{name}.jpg,{label},{split}',
           split=('train', '', 'test', 'test')), ('line 3', "'split'")),
    (_list(first='filename,label,Usage', line='{name}.jpg,{label},{split}',
           split=('Training', 'Test', 'Training', 'PrivateTest')), ('line 5', 'PrivateTest')),
    (_list(first='filename,split,subset,label', line='{name}.jpg,{split},{split},{label}',
           split=_SPLITS), ('split, subset',)),
    (_list(first='filename,species,individual_id', line='{name}.jpg,{label},{row}'),
     ('species, individual_id',)),
    (_list(first='filename,daisy,tulips,age', line='{name}.jpg,1,0,9'), ('daisy, tulips, age',)),
    (_list(first='filename,daisy,daisy', line='{name}.jpg,1,0'), ('daisy, daisy',)),
    (_list(line='{name}.jpg,{one},0,{two}', one='1010', two='0101'), ('header',)),
    (_list(line='{label},{name}.jpg,{name}.jpg'), ('paths', '2, 3')),
    (_list(first='filename,label', line='{name}.jpg,Shepherd, German'), ('line 2', 'Shepherd')),
    (_list(line='{name}.jpg,{code}', code=(1, 10**30, 2, 2)), ('line 2', '1' + '0' * 30)),
    (_list(line='{name}.jpg,{code}', code=(1, '9' * 5000, 2, 2)), ('line 2', '999')),
])
def test_other_invalid_lists_are_rejected(images, text, parts):
  (images / 'list.csv').write_text(text)
  with pytest.raises(ValueError, match='list.csv') as caught:
    _get(images / 'list.csv')
  message = str(caught.value)
  assert all(part in message for part in parts), message
  assert len(message) < 800 and '\n' not in message


def test_class_column_without_images_is_kept(images):
  (images / 'list.csv').write_text(_list(first='filename,rose,daisy,tulips',
                                         line='{name}.jpg,0,{one},{two}', one='1010', two='0101'))
  found = _get(images / 'list.csv')
  assert found.class_names == ('daisy', 'rose', 'tulips')
  assert found.empty_classes == ('rose',)


def test_list_name_may_match_its_split_column(images):
  for name, rows in (('train', 'ab'), ('val', 'cd')):
    (images / f'{name}.csv').write_text('path,label,split\n' + ''.join(
        f'{row}.jpg,{label},{name}\n' for row, label in zip(rows, _LABELS[:2], strict=True)))
  assert _get(images, 'train').examples.names == ('a.jpg', 'b.jpg')
  assert _get(images, 'validation').examples.names == ('c.jpg', 'd.jpg')


def test_integers_are_the_same_classes_in_all_lists(images):
  (images / 'train.csv').write_text('a.jpg,7\nb.jpg,100\n')
  (images / 'test.csv').write_text('c.jpg,100\nd.jpg,3\n')
  train, test = _get(images, 'train'), _get(images, 'test')
  assert train.class_names == test.class_names == ('3', '7', '100')
  assert (train.labels.tolist(), test.labels.tolist()) == ([1, 2], [2, 0])
  assert train.open_ended_labels


def test_labels_file_can_list_a_class_named_none(images):
  (images / 'list.csv').write_text(_list(line='{name}.jpg,{code}', code=('none', 'crack') * 2))
  (images / 'labels.txt').write_text('none\ncrack\n')
  assert _get(images / 'list.csv').labels.tolist() == [0, 1, 0, 1]
