from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import ilsvrc_miniature as miniature
import numpy as np
import pytest
import tensorflow as tf

from datasets import dataset_factory, imagenet
from datasets.converters import bounding_boxes, converters_factory
from datasets.converters import imagenet as converter

_COUNTS = {'train': 1000, 'validation': 1000}
_IDS = miniature.IDS
# Of the first class's image: in order, reversed and outside of the image, of another class, of a
# name that is no id, without an area.
_STEM = f'{_IDS[0]}_0'
_BOXES = [(_IDS[0], 10, 5, 90, 45), (_IDS[0], 120, 40, 50, -3), (_IDS[1], 1, 1, 9, 9),
          ('Scottish_deerhound', 33, 10, 66, 20), (_IDS[0], 110, 10, 130, 20)]


_FEW = {'train': 24, 'validation': 6}


def _convert(source, out):
  converter.convert(source, out, counts=_COUNTS, shards=_FEW)


def _digests(folder: Path) -> dict[str, str]:
  return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
          for path in folder.iterdir() if path.name != 'conversion.json'}


@pytest.fixture(scope='module')
def content():
  """The arguments of the miniature's writers."""
  annotations = {f'{_IDS[0]}/{_STEM}.xml': miniature.annotation('%s', _BOXES)}
  return miniature.training(), *miniature.validation(), annotations


@pytest.fixture(scope='module')
def archives(content, tmp_path_factory):
  """The folder of archives."""
  folder = tmp_path_factory.mktemp('ilsvrc') / 'archives'
  miniature.write_archives(folder, *content)
  return folder


@pytest.fixture(scope='module')
def converted(archives, tmp_path_factory):
  """The folder of records, in TF-Slim's number of files."""
  out = tmp_path_factory.mktemp('records')
  assert converters_factory.convert('imagenet', out, source=archives, counts=_COUNTS)
  return out


@pytest.fixture(scope='module')
def few(archives, tmp_path_factory):
  """The records in few files."""
  out = tmp_path_factory.mktemp('few')
  _convert(archives, out)
  return out


def _records(folder: Path, pattern: str) -> dict[str, dict]:
  files = sorted(map(str, folder.glob(pattern)))
  keys = {}
  for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
    features = tf.train.Example.FromString(record).features.feature
    values = {key: getattr(value, value.WhichOneof('kind')).value
              for key, value in features.items()}
    keys[values['image/filename'][0].decode()] = values
  return keys


def test_files_and_keys_are_tf_slims(converted, content):
  images, val, classes, _ = content
  assert len(list(converted.glob('train-*-of-01024'))) == 1024
  assert len(list(converted.glob('validation-*-of-00128'))) == 128
  assert not converters_factory.convert('imagenet', converted)  # Everything is there.
  records = {**_records(converted, 'train-*'), **_records(converted, 'validation-*')}
  assert len(records) == 2000
  expected = {name: (wnid, data) for wnid, members in images.items()
              for name, data in members.items()}
  expected |= {name: (wnid, data) for (name, data), wnid in zip(val.items(), classes, strict=True)}
  for name, (wnid, data) in expected.items():
    record = records[name]
    label = _IDS.index(wnid) + 1
    assert list(record['image/class/label']) == [label]
    assert list(record['image/class/synset']) == [wnid.encode()]
    assert [*record['image/height'], *record['image/width'], *record['image/channels']] == [6, 8, 3]
    assert [*record['image/format'], *record['image/colorspace']] == [b'JPEG', b'RGB']
    encoded = record['image/encoded'][0]
    if wnid not in (_IDS[3], _IDS[5]) or 'val' in name:
      assert encoded == data
    if name != f'{_STEM}.JPEG':
      assert not record['image/object/bbox/xmin']
  assert list(records[f'{_IDS[0]}_0.JPEG']['image/class/text']) == [b'tench']


def test_png_and_cmyk_are_converted_as_tf_slim_did(converted, content):
  records = _records(converted, 'train-*')
  for wnid, decode in ((_IDS[3], tf.io.decode_png), (_IDS[5], tf.io.decode_jpeg)):
    [(name, data)] = content[0][wnid].items()
    expected = tf.io.encode_jpeg(decode(data, channels=3), format='rgb', quality=100).numpy()
    assert records[name]['image/encoded'][0] == expected
    assert expected != data


def test_bounding_boxes(converted):
  record = _records(converted, 'train-*')[f'{_STEM}.JPEG']
  sides = [list(record[f'image/object/bbox/{side}']) for side in bounding_boxes.Box._fields]
  np.testing.assert_allclose(np.transpose(sides), [
    [0.1, 0.1, 0.9, 0.9], [0.5, 0, 1, 0.8], [0.33, 0.2, 0.66, 0.4]], atol=1e-6)
  assert list(record['image/object/bbox/label']) == [1, 1, 1]
  # TF-Slim's reader parses lists of floats, also empty ones.
  keys = {'image/object/bbox/xmin': tf.io.VarLenFeature(tf.float32)}
  files = sorted(map(str, converted.glob('*-of-*')))
  total = sum(len(tf.io.parse_single_example(record, keys)['image/object/bbox/xmin'].values)
              for record in tf.data.TFRecordDataset(files))
  assert total == 3


def test_records_can_be_trained_and_evaluated_on(converted):
  train = dataset_factory.get_dataset('imagenet', 'train', converted)
  assert (train.num_examples, train.num_classes) == (1000, 1001)
  assert train.class_names[:3] == ('background', 'tench', 'goldfish')
  assert sorted(train.labels) == list(range(1, 1001))


def test_layouts_give_the_same_records(few, content, archives, tmp_path):
  miniature.write_kaggle(tmp_path / 'kaggle', *content)
  extracted = tmp_path / 'extracted'  # One tar archive per class, as the archive itself has them.
  with tarfile.open(archives / 'ILSVRC2012_img_train.tar') as archive:
    archive.extractall(extracted / 'train', filter='data')
  shutil.copytree(tmp_path / 'kaggle/ILSVRC/Data/CLS-LOC/val', extracted / 'val')
  (extracted / 'imagenet_2012_validation_synset_labels.txt').write_text('\n'.join(content[2]))
  shutil.copy(archives / 'ILSVRC2012_bbox_train_v2.tar.gz', extracted)
  expected = _digests(few)
  for source in (tmp_path / 'kaggle', extracted):
    out = tmp_path / f'records of {source.name}'
    _convert(source, out)
    assert _digests(out) == expected


_PROGRAM = """
import sys
from datasets.converters import imagenet
from pathlib import Path
imagenet.convert(Path(sys.argv[1]), sys.argv[2], counts={'train': 1000, 'validation': 1000},
                 shards={'train': 24, 'validation': 6}, workers=2)
"""


def test_killed_three_times(few, archives, tmp_path):
  out = tmp_path / 'records'
  command = [sys.executable, '-c', _PROGRAM, str(archives), str(out)]
  for least in (3, 12, 20):
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while len(list(out.glob('[tv]*-of-*'))) < least:
      assert process.poll() is None
      time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    times = {path: path.stat().st_mtime_ns for path in out.glob('[tv]*-of-*')}
    assert least <= len(times) < 30
  subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
  assert _digests(out) == _digests(few)
  assert times == {path: path.stat().st_mtime_ns for path in times}


def _cut(archives, folder, size):
  shutil.copytree(archives, folder, symlinks=True)
  os.truncate(folder / 'ILSVRC2012_img_train.tar', size)
  return folder


def _end_of_class(path: Path, number: int) -> int:
  """Where a class's archive, with its padding, ends in the outer one."""
  with tarfile.open(path) as archive:
    return archive.getmembers()[number].offset


@pytest.mark.parametrize('what', ['within', 'between'])
def test_truncated_archive(archives, tmp_path, what):
  end = _end_of_class(archives / 'ILSVRC2012_img_train.tar', 700)
  source = _cut(archives, tmp_path / 'source', end + 700 * (what == 'within'))
  with pytest.raises(ValueError, match=r'img_train\.tar, which is truncated'):
    _convert(source, tmp_path / 'out')
  assert not (tmp_path / 'out').exists() or os.listdir(tmp_path / 'out') == []


def test_truncated_class(content, tmp_path):
  images, val, classes, annotations = content
  miniature.write_kaggle(tmp_path / 'source', {}, val, classes, annotations)
  folder = tmp_path / 'source' / 'train'
  folder.mkdir()
  for wnid, members in images.items():
    (folder / f'{wnid}.tar').write_bytes(miniature.tar_of(members))
  os.truncate(folder / f'{_IDS[4]}.tar', 1024)
  with pytest.raises(ValueError, match=rf'{_IDS[4]}\.tar.*truncated'):
    _convert(tmp_path / 'source', tmp_path / 'out')


@pytest.mark.parametrize('change, expected', [
  (lambda images, val, classes: images.pop(_IDS[9]), rf'train.*{_IDS[9]}; missing in all: 1\.'),
  (lambda images, val, classes: images.update(n00000001=images.pop(_IDS[0])), 'n00000001'),
  (lambda images, val, classes: images[_IDS[0]].update(more=b'x'), r'1,000 images.*1,001'),
  (lambda images, val, classes: (val.popitem(), classes.pop()), 'validation'),
  (lambda images, val, classes: classes.pop(), r'1000 in all. Received: 999'),
  (lambda images, val, classes: images[_IDS[1]].update({f'{_IDS[1]}_0.JPEG': b'<html>'}),
   rf'{_IDS[1]}_0\.JPEG .*img_train\.tar.* cannot be decoded'),
])
def test_wrong_data(content, tmp_path, change, expected):
  images = {wnid: dict(members) for wnid, members in content[0].items()}
  val, classes = dict(content[1]), list(content[2])
  change(images, val, classes)
  miniature.write_archives(tmp_path / 'source', images, val, classes, content[3])
  with pytest.raises(ValueError, match=expected):
    _convert(tmp_path / 'source', tmp_path / 'out')


@pytest.mark.parametrize('remove, expected', [
  ('ILSVRC2012_img_train.tar', r'ILSVRC2012_img_train\.tar'),
  ('ILSVRC2012_img_val.tar', r'ILSVRC2012_img_val\.tar'),
  ('ILSVRC2012_devkit_t12.tar.gz', 'devkit'),
])
def test_missing_archive(archives, tmp_path, remove, expected):
  shutil.copytree(archives, tmp_path / 'source')
  (tmp_path / 'source' / remove).unlink()
  with pytest.raises(FileNotFoundError, match=expected):
    _convert(tmp_path / 'source', tmp_path / 'out')


@pytest.mark.parametrize('suffix', ['.tar', '.tar.gz'])
@pytest.mark.parametrize('share', [0.2, 0.45, 0.7])
@pytest.mark.parametrize('at_header', [True, False])
def test_truncated_archive_of_boxes(tmp_path, suffix, share, at_header):
  stems = [f'{_IDS[i]}_{i}' for i in range(40)]
  members = {f'{stem}.xml': miniature.annotation(stem, [(stem[:9], 1, 2, 3, 4)]) for stem in stems}
  path = tmp_path / f'ILSVRC2012_bbox_train_v2{suffix}'
  miniature.write_tar(path, members, 'w:gz' if suffix.endswith('.gz') else 'w')
  boxes = bounding_boxes.read(tmp_path)
  assert set(boxes) == set(stems)  # Members need not be in folders.
  assert bounding_boxes.of_image(boxes, stems[1], _IDS[1]) == [(0.01, 0.04, 0.03, 0.08)]
  end = int(share * path.stat().st_size)
  os.truncate(path, end // 1024 * 1024 if at_header else end)
  with pytest.raises(ValueError, match=r'bbox_train_v2.*truncated'):
    bounding_boxes.read(tmp_path)


def test_other_records_are_not_mixed_with_new_ones(archives, tmp_path):
  (tmp_path / 'train-00000-of-00512').write_bytes(b'')
  with pytest.raises(ValueError, match='train-00000-of-00512'):
    _convert(archives, tmp_path)


def test_source_is_needed(tmp_path):
  (tmp_path / 'some.tar').write_bytes(b'')
  for source in (None, tmp_path / 'some.tar'):
    with pytest.raises(ValueError, match='--source'):
      converters_factory.convert('imagenet', tmp_path / 'out', source=source)


def test_another_source_does_not_go_on(archives, content, tmp_path):
  out = tmp_path / 'out'
  _convert(archives, out)
  (out / 'train-00003-of-00024').unlink()
  images = {**content[0], _IDS[0]: {f'{_STEM}.JPEG': miniature.jpeg(77) + b'longer'}}
  miniature.write_archives(tmp_path / 'other', images, *content[1:])
  with pytest.raises(ValueError, match='began'):
    _convert(tmp_path / 'other', out)
  (out / 'conversion.json').write_text('')
  with pytest.raises(ValueError, match='29 of 30'):
    _convert(archives, out)


def test_published_numbers():
  assert len(converter.filenames()) == 1024 + 128
  assert converter.COUNTS == {'train': 1281167, 'validation': 50000}
  assert len(imagenet.numbers_of_ids()) == 1000
