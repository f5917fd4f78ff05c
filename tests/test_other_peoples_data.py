"""Foreign data and weights, whose classes must not be mixed up silently."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

_TRAIN = 'train_image_classifier'
_EVAL = 'eval_image_classifier'
_SMALL = ['--dataset_name=folder', '--model_name=lenet', '--train_image_size=28',
          '--optimizer=momentum', '--xla=off', '--max_number_of_steps=1']


def _photos(root, folders: dict[str, int], *, seed: int = 0) -> None:
  """Writes that many photos into each directory, all different."""
  random = np.random.default_rng(seed)
  for folder, count in folders.items():
    (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
      pixels = random.integers(0, 256, [30, 30, 3]).astype(np.uint8)
      (root / folder / f'{number}.png').write_bytes(tf.io.encode_png(pixels).numpy())


@pytest.fixture
def train(run_here, tmp_path):
  """Trains for a step on `tmp_path`/photos: (exit code, output, errors)."""
  def run(*flags):
    return run_here(_TRAIN, f'--train_dir={tmp_path}/run', f'--dataset_dir={tmp_path}/photos',
                    *_SMALL, *flags)
  return run


def test_class_counts_are_printed(train, tmp_path):
  _photos(tmp_path / 'photos', {'train/cat': 5, 'train/dog': 4, 'val/cat': 1, 'val/dog': 2})
  code, out, errors = train('--validation_fraction=0.5')
  assert code == 0, errors
  assert 'cat (5), dog (4)' in out and 'cat (1), dog (2)' in out
  assert 'Not used: --validation_fraction=0.5' in out


def test_loose_validation_images_are_an_error(train, tmp_path):
  _photos(tmp_path / 'photos', {'train/cat': 5, 'train/dog': 4, 'val': 3})
  code, _, errors = train()
  assert code == 1 and '/val' in errors and '--validation_interval_epochs=0' in errors
  code, out, errors = train('--validation_interval_epochs=0')
  assert code == 0, errors
  assert re.search(r'\bval, 3 images', out)


def test_resumed_run_names_the_photos_that_have_changed(train, tmp_path):
  photos = tmp_path / 'photos'
  _photos(photos, {'train/cat': 5, 'train/dog': 4, 'val/cat': 1, 'val/dog': 2})
  _photos(tmp_path, {'other': 1}, seed=1)
  assert train()[0] == 0
  for source, target, text in (
      ('../other/0.png', 'train/cat/new.png', "'train'.*Added: train/cat/new.png"),
      ('train/cat/2.png', 'train/dog/2b.png', 'Added: train/dog/2b.png.*Removed: train/cat/2.png'),
      ('val/dog/1.png', 'val/cat/1.png', "'validation'.*Moved: val/dog/1.png to val/cat/1.png")):
    (photos / source).rename(photos / target)
    code, _, errors = train('--max_number_of_steps=2')
    assert code == 1 and re.search(text, errors), errors
    assert f'--checkpoint_path={tmp_path}/run' in errors
    (photos / target).rename(photos / source)


def test_image_in_both_splits_gives_a_warning(train, tmp_path):
  _photos(tmp_path / 'photos', {'train/cat': 5, 'train/dog': 4, 'val/cat': 1, 'val/dog': 2})
  shutil.copy(tmp_path / 'photos/train/cat/3.png', tmp_path / 'photos/val/cat/new.png')
  code, out, _ = train()
  assert code == 0
  assert re.search('Warning: 1 .*val/cat/new.png .*train/cat/3.png', out, re.DOTALL)


@pytest.mark.parametrize(('damaged', 'message'), [
  ({'cat': 6, 'dog': 6}, "'train'"),
  ({'cat': 6}, 'cat'),
])
def test_skipping_bad_images_must_leave_every_class(train, tmp_path, damaged, message):
  _photos(tmp_path / 'photos', {'cat': 6, 'dog': 6})
  for name, count in damaged.items():
    for number in range(count):
      (tmp_path / 'photos' / name / f'{number}.png').write_bytes(b'')
  code, _, errors = train('--on_bad_image=skip')
  assert code == 1
  assert message in errors
  assert not list((tmp_path / 'run').glob('*.index'))


@pytest.fixture
def foreign(run_here, tmp_path):
  """A checkpoint with two classes and without metadata, as other programs write them."""
  _photos(tmp_path / 'old', {'ape': 3, 'bat': 3})
  code, _, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/weights',
                             f'--dataset_dir={tmp_path}/old', *_SMALL)
  assert code == 0, errors
  checkpoint, = (tmp_path / 'weights').glob('*.index')
  shutil.copytree(tmp_path / 'weights', tmp_path / 'foreign')
  (tmp_path / 'foreign' / f'{checkpoint.stem}.json').unlink()
  return tmp_path / 'foreign'


def test_restored_head_with_other_classes_is_an_error(train, foreign, tmp_path):
  _photos(tmp_path / 'photos', {'cat': 6, 'dog': 6})
  for weights in (foreign, tmp_path / 'weights'):
    code, _, errors = train(f'--checkpoint_path={weights}')
    assert code == 1 and '--labels_are_indices' in errors and 'cat, dog' in errors
  code, _, errors = train(f'--checkpoint_path={foreign}', '--labels_are_indices')
  assert code == 0, errors


def test_restored_head_is_matched_by_class_numbers(train, foreign, tmp_path):
  _photos(tmp_path / 'photos', {'1': 6, '2': 6})
  flags = [f'--checkpoint_path={foreign}', '--labels_offset=1']
  code, out, errors = train(*flags)
  assert code == 0, errors
  assert '--labels_offset=1' in out
  code, out, errors = train(*flags, '--max_number_of_steps=2')
  assert code == 0, errors
  assert 'Resumed' in out


def test_evaluation_of_foreign_weights_needs_the_class_order(run_here, foreign, tmp_path):
  _photos(tmp_path / 'photos', {'bat': 4, 'ape': 5})
  flags = [f'--checkpoint_path={foreign}', '--model_name=lenet', '--dataset_name=folder',
           f'--dataset_dir={tmp_path}/photos', '--dataset_split_name=all',
           f'--eval_dir={tmp_path}/eval', '--xla=off']
  code, _, errors = run_here(_EVAL, *flags)
  assert code == 1 and '--labels_are_indices' in errors and '--labels_path' in errors
  (tmp_path / 'labels.txt').write_text('ape\nbat\n')
  results = []
  for choice in ('--labels_are_indices', f'--labels_path={tmp_path}/labels.txt'):
    code, _, errors = run_here(_EVAL, *flags, choice)
    assert code == 0, errors
    assert json.loads((tmp_path / 'eval' / 'eval.json').read_text())['count'] == 9
    results.append((tmp_path / 'eval' / 'eval.json').read_text())
  found = [json.loads(result) for result in results]
  for name in ('top_1', 'loss'):
    assert found[0][name] == found[1][name]
