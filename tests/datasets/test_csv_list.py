from __future__ import annotations

import os
import pathlib

import pytest
import samples

from datasets import dataset_factory, splits

_FILES = ('a.png', 'b.png', 'with space.png', 'sub/c,d.png')


@pytest.fixture
def images(tmp_path):
  (tmp_path / 'sub').mkdir()
  for i, name in enumerate(_FILES):
    (tmp_path / name).write_bytes(samples.png(i))
  return tmp_path


def _get(path, split='all', **kwargs):
  return dataset_factory.get_dataset('csv', split, path, **kwargs)


@pytest.mark.parametrize('text', [
  'a.png,cat\nb.png,dog\nwith space.png,cat\n"sub/c,d.png",dog\n',
  'path,label\na.png,cat\nb.png,dog\nwith space.png,cat\n"sub/c,d.png",dog',
  'picture,kind\na.png,cat\nb.png,dog\nwith space.png,cat\n"sub/c,d.png",dog',
  'a.png;cat\nb.png;dog\nwith space.png;cat\nsub/c,d.png;dog\n',
  'a.png\tcat\r\nb.png\tdog\r\nwith space.png\tcat\r\nsub/c,d.png\tdog\r\n',
  '\ufeffa.png,cat\r\nb.png,dog\r\n\r\nwith space.png,cat\r\n"sub/c,d.png",dog\r\n',
  'a.png cat\nb.png   dog\nwith space.png cat\nsub/c,d.png dog\n',
  '"a.png" cat\nb.png dog\n"with space.png" cat\n"sub/c,d.png" dog\n',
  'a.png, cat, 1\nb.png, dog, 2\nwith space.png, cat, 3\n"sub/c,d.png", dog, 4\n',
])
def test_list_formats(images, text):
  (images / 'list.txt').write_bytes(text.encode())
  found = _get(images / 'list.txt')
  assert found.examples.names == _FILES
  assert found.class_names == ('cat', 'dog')
  assert found.labels.tolist() == [0, 1, 0, 1]
  assert not found.open_ended_labels
  images = [samples.decode(example['image']).numpy()[0, 0, 0] for example in found.epoch(0)]
  assert images == [0, 1, 2, 3]


def test_integers_are_classes(images):
  (images / 'list.csv').write_text('a.png,3\nb.png,0\n')
  found = _get(images / 'list.csv')
  assert found.class_names == ('0', '3')
  assert found.labels.tolist() == [1, 0]
  assert found.open_ended_labels


@pytest.mark.parametrize('labels', ['0:cat\n1:dog\n2:emu\n', 'cat\ndog\nemu\n'])
@pytest.mark.parametrize('rows', ['a.png,2\nb.png,0\n', 'a.png,emu\nb.png,cat\n'])
def test_labels_file_names_the_classes(images, labels, rows):
  (images / 'labels.txt').write_text(labels)
  (images / 'train.csv').write_text(rows)
  found = _get(images)
  assert found.class_names == ('cat', 'dog', 'emu')
  assert found.labels.tolist() == [2, 0]
  assert not found.open_ended_labels


def test_folder_of_lists(images):
  (images / 'train.csv').write_text('a.png,cat\nb.png,dog\n')
  (images / 'val.txt').write_text('"with space.png" dog\n')
  assert _get(images, 'train').num_examples == 2
  found = _get(images, 'validation')
  assert (found.class_names, found.labels.tolist()) == (('cat', 'dog'), [1])


def test_list_named_after_its_split(images):
  (images / 'test.csv').write_text('a.png,cat\n')
  assert _get(images / 'test.csv', 'test').num_examples == 1
  with pytest.raises(splits.UnknownSplitError, match=r"'train'.*\btest, all\b"):
    _get(images / 'test.csv', 'train')


@pytest.mark.parametrize(('text', 'labels', 'message'), [
  ('a.png,cat\nb.png\n', None, r'list\.csv.*line 2\b.*b\.png'),
  ('a.png,cat\nb.png,\n', None, r'list\.csv.*line 2\b'),
  ('a.png\n', None, r'list\.csv.*line 1\b'),
  ('a.png,cat\nnone.png,dog\n', None, r'list\.csv.*line 2\b.*none\.png'),
  ('a.png,0\nb.png,2\n', '0:x\n1:y\n', r'\[0, 2\).*list\.csv.*line 2\b.* 2\b'),
  ('a.png,0\nb.png,-1\n', None, r'list\.csv.*line 2\b.* -1\b'),
  ('a.png,cat\nb.png,dgo\n', 'cat\ndog\n', r"list\.csv.*line 2\b.*'dgo'.*\bcat, dog\b"),
  ('a.png,cat\na.png,dog\n', None, r'list\.csv.*lines 1 and 2\b'),
  ('', None, r'list\.csv'),
  ('path,label\n', None, r'list\.csv'),
  ('a.png,0\n', '0:x\n2:y\n', r'labels\.txt.* 1\b'),
])
def test_mistakes_are_explained(images, text, labels, message):
  (images / 'list.csv').write_text(text)
  if labels:
    (images / 'labels.txt').write_text(labels)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    _get(images / 'list.csv')


def test_image_files_are_checked_one_folder_at_a_time(images, monkeypatch):
  names = [f'sub/{i}.png' for i in range(20)]
  for name in names:
    (images / name).write_bytes(b'')
  (images / 'list.csv').write_text(''.join(f'{name},{i % 2}\n' for i, name in enumerate(names)))
  asked, original = [], os.stat

  def stat(path, *arguments, **keywords):
    asked.append(pathlib.Path(path).name)
    return original(path, *arguments, **keywords)

  monkeypatch.setattr(os, 'stat', stat)
  assert _get(images / 'list.csv').examples.names == tuple(names)
  assert not set(asked) & {f'{i}.png' for i in range(2, 20)}  # The first may be a header.


def test_links_and_relative_paths_are_followed(images):
  (images / 'link.png').symlink_to('b.png')
  (images / 'nowhere.png').symlink_to('none.png')
  (images / 'folder.png').mkdir()
  good = [f'{images}/link.png', 'sub/../a.png', './sub//c,d.png']
  (images / 'list.tsv').write_text(''.join(f'{name}\tcat\n' for name in good))
  assert _get(images / 'list.tsv').examples.files == (
    f'{images}/link.png', f'{images}/sub/../a.png', f'{images}/sub/c,d.png')
  for name in ('nowhere.png', 'folder.png', 'none/a.png', 'a.png/b.png'):
    (images / 'list.tsv').write_text(f'a.png\tcat\n{name}\tcat\n')
    with pytest.raises(FileNotFoundError, match=rf'line 2\b.*{name}'):
      _get(images / 'list.tsv')


def test_two_lists_for_a_split_are_rejected(images):
  for name in ('train.csv', 'train.txt'):
    (images / name).write_text('a.png,cat\n')
  with pytest.raises(ValueError, match=r"'train'.*train\.csv.*train\.txt"):
    _get(images, 'train')


@pytest.mark.parametrize(('name', 'split'), [
  ('valid.csv', 'validation'), ('dev.txt', 'validation'), ('Val.csv', 'validation'),
  ('test_set.csv', 'test'), ('testing.tsv', 'test'),
])
def test_other_spellings_of_split_names_are_recognized(images, name, split):
  (images / 'train.csv').write_text('a.png,cat\nb.png,dog\n')
  (images / name).write_text('with space.png\tcat\n')
  found = _get(images, split)
  assert found.examples.names == ('with space.png',) and not found.made_split


def test_usual_list_name_takes_precedence(images):
  for name in ('train.csv', 'val.csv', 'valid.csv'):
    (images / name).write_text('a.png,cat\nb.png,dog\n' if name != 'valid.csv' else 'c.png,cat\n')
  assert _get(images, 'validation').num_examples == 2


@pytest.mark.parametrize(('text', 'words'), [
  ('path,label\nsub\\c.png,cat\nb.png,dog\n', ['line 2', 'sub\\c.png']),
  ('emotion,pixels,Usage\n0,1 2 3,Training\n0,4 5 6,Training\n', ['list.csv, line']),
])
def test_columns_without_paths_are_explained(images, text, words):
  (images / 'list.csv').write_text(text)
  with pytest.raises(FileNotFoundError) as caught:
    _get(images / 'list.csv')
  assert [word for word in words if word not in str(caught.value)] == []


def test_repeated_images_are_measured_once(tmp_path):
  for number in range(40):
    (tmp_path / f'{number}.png').write_bytes(samples.png(number))
  lines = [f'{number}.png,{"ab"[number % 2]}\n' for number in range(40)]
  (tmp_path / 'list.csv').write_text(''.join(lines * 2))
  counts = [dataset_factory.get_dataset('csv', split, tmp_path / 'list.csv',
                                        validation_fraction=0.3).num_examples
            for split in ('train', 'validation')]
  assert counts[0] // 2 + counts[1] == 40 and counts[0] % 2 == 0
