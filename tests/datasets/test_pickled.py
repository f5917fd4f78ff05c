"""Pickled images, read back by NumPy, Pillow and the decoder of the pipeline."""

from __future__ import annotations

import io
import json
import os
import pathlib
import pickle
import re

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from datasets import dataset_factory
from preprocessing import decoding


def _images(count, shape=(5, 7, 3), seed=0):
  return np.random.default_rng(seed).integers(0, 256, [count, *shape], np.uint8)


def _write(path, features, labels, protocol=4, **others):
  path.write_bytes(pickle.dumps({'features': features, 'labels': labels, **others}, protocol))


def _get(path, split='all', **kwargs):
  return dataset_factory.get_dataset('pickled', split, path, **kwargs)


def _decoded(found):
  return np.array([decoding.decode_image(example['image'], found.channels).numpy()
                   for example in found.epoch(0)])


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
def test_reads_what_was_pickled(tmp_path, protocol):
  images, labels = _images(6), np.array([2, 0, 1, 1, 2, 0], np.uint8)
  _write(tmp_path / 'train.p', images, labels, protocol, sizes=labels, coords=[(1, 2.5)])
  found = _get(tmp_path)
  np.testing.assert_array_equal(_decoded(found), images)
  assert found.labels.tolist() == labels.tolist()
  assert found.examples.names[:2] == ('train.p/000000', 'train.p/000001')
  assert (found.class_names, found.channels) == (('0', '1', '2'), 3)
  assert found.open_ended_labels and not found.made_split
  for image, example in zip(images, found.epoch(0), strict=True):
    opened = PIL.Image.open(io.BytesIO(example['image'].numpy()))
    np.testing.assert_array_equal(np.asarray(opened), image)


def test_grey_images_keep_every_value(tmp_path):
  images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
  _write(tmp_path / 'x.pkl', images, [0])
  found = _get(tmp_path / 'x.pkl')
  assert found.channels == 1
  np.testing.assert_array_equal(_decoded(found), images)


@pytest.mark.parametrize('labels', [
  [0, 1, 1], [np.int32(0), np.int32(1), 1], np.array([[0], [1], [1]]), np.array([0, 1, 1], '>u8')])
def test_label_formats(tmp_path, labels):
  _write(tmp_path / 'train.p', _images(3), labels)
  assert _get(tmp_path).labels.tolist() == [0, 1, 1]


@pytest.mark.parametrize('name', ['valid.p', 'validation.pickle', 'val.pkl'])
def test_existing_splits_are_kept(tmp_path, name):
  for number, file in enumerate(('train.p', name, 'test.p')):
    _write(tmp_path / file, _images(4, seed=number), [0, 1, 0, number])
  for number, split in enumerate(('train', 'validation', 'test')):
    found = _get(tmp_path, split)
    assert not found.made_split
    np.testing.assert_array_equal(_decoded(found), _images(4, seed=number))


def test_sparse_labels_are_classes_of_all_files(tmp_path):
  _write(tmp_path / 'train.p', _images(3), [2017, 10**12, 2017])
  _write(tmp_path / 'test.p', _images(2), [5, 2017])
  found = _get(tmp_path, 'train', validation_fraction=0)
  assert found.class_names == ('5', '2017', str(10**12))
  assert found.labels.tolist() == [1, 2, 1]
  assert found.notes == (f'labels 5, 2017, {10**12} → classes 0, 1, 2',)


@pytest.mark.parametrize('whole', [True, False])
def test_validation_split_is_made_from_a_single_file(tmp_path, whole):
  _write(tmp_path / 'train.p', _images(60), [i % 3 for i in range(60)])
  path = tmp_path if whole else tmp_path / 'train.p'
  parts = [_get(path, split, validation_fraction=0.3) for split in ('train', 'validation')]
  assert all(part.made_split for part in parts)
  names = [set(part.examples.names) for part in parts]
  assert not names[0] & names[1] and len(names[0] | names[1]) == 60
  for part in parts:
    positions = [int(name.rpartition('/')[2]) for name in part.examples.names]
    np.testing.assert_array_equal(_decoded(part), _images(60)[positions])
    assert part.labels.tolist() == [position % 3 for position in positions]


@pytest.mark.parametrize(('file', 'text'), [
  ('signnames.csv', '\ufeffClassId,SignName\r\n0,"Stop, please"\r\n2,Ü\r\n1,Go\r\n'),
  ('labels.txt', '0:Stop, please\n1:Go\n2:Ü\n'),
])
def test_classes_are_named_by_a_file(tmp_path, file, text):
  _write(tmp_path / 'test.p', _images(2), [0, 1])
  (tmp_path / file).write_bytes(text.encode())
  for path in (tmp_path, tmp_path / 'test.p'):
    found = _get(path, 'test')
    assert found.class_names == ('Stop, please', 'Go', 'Ü')
    assert found.empty_classes == ('Ü',) and not found.open_ended_labels


def test_bad_images_are_checked_once_per_file(tmp_path, capsys):
  path = tmp_path / 'train.p'
  for seed, is_new in ((0, True), (0, False), (1, True)):
    if is_new:
      _write(path, _images(3), [0, 1, 0])
      os.utime(path, (seed, seed))
    found = _get(path, 'train', validation_fraction=0)
    assert found.examples.files == (str(path),)
    assert found.find_bad_images(tf.io.decode_bmp) == ()
    assert ('3 images' in capsys.readouterr().out) == is_new


def _dict_of(features=None, labels=(0, 1), **others):
  return {'features': _images(2) if features is None else features, 'labels': list(labels),
          **others}


@pytest.mark.parametrize(('content', 'message'), [
  ([1, 2], r"train\.p.*'features'.*\blist\b"),
  ({'data': 1, 'labels': [0]}, r"train\.p.*'features'.*\bdata, labels\b"),
  ({}, r"train\.p.*'features'.*\bdict\b"),
  (_dict_of(_images(2) / np.float32(255)), r'float32.*\[2, 5, 7, 3\].*uint8'),
  (_dict_of(_images(2).astype(np.int64)), r'int64.*\[2, 5, 7, 3\].*uint8'),
  (_dict_of(np.ones([2, 1, 1, 512], np.float32)), r'float32.*train_on_features\.py'),
  (_dict_of(_images(2)[..., 0]), r'uint8.*\[2, 5, 7\]'),
  (_dict_of(_images(2, (5, 7, 4))), r'uint8.*\[2, 5, 7, 4\]'),
  (_dict_of(_images(0)), r'uint8.*\[0, 5, 7, 3\]'),
  (_dict_of('x'), r"train\.p.*'features'.*\bstr\b"),
  (_dict_of(labels=[0]), r'2 images.*int64.*\[1\]'),
  (_dict_of(labels=[0, 0.5]), r'2 images.*labels.*\blist\b'),
  (_dict_of(labels=[0, [1]]), r'2 images.*labels.*\blist\b'),
  (_dict_of(labels=[0, -1]), r' 0 .*train\.p.* -1 to 0'),
  (_dict_of(labels=[0, 2**60]), r'\[0, 2\).*train\.p.* 1152921504606846976'),
  (_dict_of(labels=np.array([0, 2**64 - 1], np.uint64)),
   r'train\.p.* 0 to 18446744073709551615'),
  (_dict_of(labels=[0, 7]), r'labels.*\[0, 2\).*train\.p.* 7\b'),
  (_dict_of(labels=[[0, 1]] * 2), r'2 images.*labels.*\blist\b'),
  (_dict_of(more=tf.float32), r'train\.p'),
])
def test_invalid_contents_are_explained(tmp_path, content, message):
  (tmp_path / 'train.p').write_bytes(pickle.dumps(content))
  (tmp_path / 'labels.txt').write_text('a\nb\n')
  with pytest.raises(ValueError, match=message) as caught:
    _get(tmp_path)
  assert '\n' not in str(caught.value)


def test_truncated_file_is_an_error(tmp_path):
  _write(tmp_path / 'train.p', _images(2), [0, 1])
  whole = (tmp_path / 'train.p').read_bytes()
  for length in (0, 10, len(whole) - 5):
    (tmp_path / 'train.p').write_bytes(whole[:length])
    with pytest.raises(ValueError, match=r'train\.p'):
      _get(tmp_path)


@pytest.mark.parametrize(('files', 'message'), [
  ({'x.p': b''}, r'train\.p.*--dataset_dir'),
  ({'train.p': b'', 'train.pkl': b''}, r"'train'.*train\.p,.*train\.pkl"),
  ({'valid.p': b'', 'val.p': b''}, r"'validation'.*val\.p,.*valid\.p"),
  ({'train.p': None, 'signnames.csv': b'ClassId,SignName\n0,a\n2,b\n'},
   r'signnames\.csv.* 2 lines.*\b0, 2\b'),
  ({'train.p': None, 'signnames.csv': b'0,a\n'}, r'signnames\.csv.* 0 lines'),
  ({'train.p': None, 'signnames.csv': b'a\0\xff,b\n'}, r'signnames\.csv.* line 1'),
  ({'train.p': None, 'signnames.csv': b'ClassId,SignName\n0,"a\n1,b\n'},
   r'signnames\.csv.* line 2'),
])
def test_wrong_folders_are_explained(tmp_path, files, message):
  for name, content in files.items():
    (tmp_path / name).write_bytes(pickle.dumps(_dict_of()) if content is None else content)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    _get(tmp_path)


@pytest.mark.thorough  # Other tests train, parse the recipe's flags, and read pickles.
def test_recipe_trains_on_coloured_squares(tmp_path, run_script):
  rng = np.random.default_rng(0)
  labels = np.arange(90) % 3
  images = np.full([90, 32, 32, 3], 40, np.uint8)
  for image, label in zip(images, labels, strict=True):
    y, x = rng.integers(0, 20, 2)
    image[y:y + 12, x:x + 12, label] = 220
  _write(tmp_path / 'train.p', images, labels)
  (tmp_path / 'signnames.csv').write_text('ClassId,SignName\n0,red\n1,green\n2,blue\n')
  code, out, err = run_script(
      'train_image_classifier', '--flagfile=scripts/recipes/finetune_alexnet_on_gtsrb_head.flags',
      f'--train_dir={tmp_path}/run', f'--dataset_dir={tmp_path}', '--model_name=cifarnet',
      '--trainable_scopes=', '--checkpoint_exclude_scopes=', '--batch_size=16', '--epochs=6',
      cwd=pathlib.Path(__file__).parents[2])
  assert code == 0, err
  metadata = json.loads(next((tmp_path / 'run').glob('model.ckpt-*.json')).read_text())
  assert metadata['class_names'] == ['red', 'green', 'blue']
  assert re.findall(r'top-1 ([\d.]+)', out)[-1] == '1.0000', out
