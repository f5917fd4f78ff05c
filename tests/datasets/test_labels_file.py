"""`labels.txt`."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import samples
import tensorflow as tf

from datasets import dataset_factory, labels_file


@pytest.mark.parametrize(('text', 'names'), [
    ('0:daisy\n1:rose\n', ('daisy', 'rose')),
    ('1:rose\r\n0: daisy \r\n\r\n', ('daisy', 'rose')),
    ('\ufeff0:caf\u00e9\n', ('caf\u00e9',)),
    ('daisy\nrose: red\n', ('daisy', 'rose: red')),
    ('0 daisy\n1 wild rose\n', ('daisy', 'wild rose')),
    ('0,daisy\n1, rose\n', ('daisy', 'rose')),
    ('0\tdaisy\n1\trose\n', ('daisy', 'rose')),
    ('0 years\n1 years\n', ('0 years', '1 years')),
    ('1:daisy\n2:rose\n', ('daisy', 'rose')),
    ('1 daisy\n2 rose\n', ('daisy', 'rose')),
    ('2:rose\n1:daisy\n', ('daisy', 'rose')),
    ('2 cats\n3 dogs\n', ('2 cats', '3 dogs')),
    ('0 daisy\nrose\n', ('0 daisy', 'rose')),
])
def test_reads_names(tmp_path, text, names):
  (tmp_path / 'labels.txt').write_text(text, encoding='utf-8')
  assert labels_file.read(tmp_path / 'labels.txt').names == names


@pytest.mark.parametrize(('text', 'message'), [
    ('0:daisy\n1:rose\n2:\n', r"labels\.txt.*'2:'"),
    ('0:daisy\nrose\n', r"labels\.txt.*'rose'"),
    ('0:daisy\n2:rose\n', r'labels\.txt.* label 1\b'),
    ('0:daisy\n0:rose\n', r'labels\.txt.* twice .*\b0\b'),
    ('1:daisy\n3:rose\n', r'labels\.txt.* label 2\b'),
    ('2:daisy\n3:rose\n', r'labels\.txt.* label 0\b'),
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
  assert labels_file.read(tmp_path / 'labels.txt').names == ('b', 'a')


def test_unusual_class_names_are_written(tmp_path):
  path = tmp_path / 'labels.txt'
  labels_file.write(path, ['caf\udce9', 'two\nlines', 'x\u2028y', '5:five'])
  assert path.read_bytes().startswith(b'0:caf\xe9\n1:two lines\n')
  assert labels_file.read(path).names == ('caf\udce9', 'two lines', 'x y', '5:five')


@pytest.mark.parametrize('kind', ['tfrecord', 'tfrecord of texts', 'csv', 'pickled'])
@pytest.mark.parametrize(('listed', 'labels', 'expected'), [
  ('1:a\n2:b\n3:c\n', [1, 2, 3, 1], [0, 1, 2, 0]),
  ('0:a\n1:b\n2:c\n', [1, 2, 0, 1], [1, 2, 0, 1]),
  ('a\nb\nc\n', [1, 2, 2, 1], [1, 2, 2, 1]),
  ('a\nb\nc\n', [1, 2, 3, 1], 'labels.*1:'),
  ('1:a\n2:b\n3:c\n', [1, 0, 2, 3], r'\[1, 4\).* 0\b'),
  ('1:a\n2:b\n3:c\n', [1, 4, 2, 3], r'\[1, 4\).* 4\b')])
def test_labels_that_start_from_1(tmp_path, kind, listed, labels, expected):
  (tmp_path / 'labels.txt').write_text(listed)
  if kind == 'csv':
    for i in range(len(labels)):
      (tmp_path / f'{i}.png').write_bytes(samples.png(i))
    (tmp_path / 'all.csv').write_text(''.join(f'{i}.png,{n}\n' for i, n in enumerate(labels)))
  elif kind == 'pickled':
    images = np.zeros([len(labels), 2, 2, 3], np.uint8)
    (tmp_path / 'train.p').write_bytes(pickle.dumps(
        {'features': images, 'labels': np.array(labels)}))
  elif kind == 'tfrecord':
    samples.write_records(tmp_path / 'x_train.tfrecord', labels)
  else:
    with tf.io.TFRecordWriter(str(tmp_path / 'x_train.tfrecord')) as writer:
      for i, label in enumerate(labels):
        writer.write(tf.train.Example(features=tf.train.Features(feature={
          key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
          for key, value in (('image', samples.png(i)), ('label', str(label).encode()))
        })).SerializeToString())

  def get():
    return dataset_factory.get_dataset(kind.split()[0], 'train', tmp_path, validation_fraction=0)

  if isinstance(expected, str):
    with pytest.raises(ValueError, match=expected):
      get()
    return
  found = get()
  assert found.class_names == ('a', 'b', 'c') and found.labels.tolist() == expected
  assert any('label 1 is class 0' in note for note in found.notes) == listed.startswith('1')
