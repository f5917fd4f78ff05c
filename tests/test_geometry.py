"""The geometry of images in all programs: kept with a run, and overridden by flags."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from preprocessing import transform as transform_lib
from preprocessing.preprocessing_factory import PREPROCESSING

_SIZE = 24
_CLASSES = ('ant', 'bee')


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  """A folder of elongated photos, 6 in each class, whose classes differ at the far ends."""
  folder = tmp_path_factory.mktemp('photos')
  rng = np.random.default_rng(0)
  for label, name in enumerate(_CLASSES):
    (folder / name).mkdir()
    for number in range(6):
      pixels = rng.integers(90, 160, [30, 120, 3])
      pixels[:, :20], pixels[:, -20:] = 250 * label, 250 * (1 - label)
      (folder / name / f'{number}.png').write_bytes(
          tf.io.encode_png(pixels.astype(np.uint8)).numpy())
  return folder


@pytest.fixture(scope='module')
def train(run_here, photos):
  def run(folder, *flags) -> tuple[int, str, str]:
    return run_here(
        'train_image_classifier', f'--train_dir={folder}', '--dataset_name=folder',
        f'--dataset_dir={photos}', '--model_name=cifarnet', '--preprocessing_name=inception',
        f'--train_image_size={_SIZE}', '--batch_size=4', '--validation_fraction=0', '--xla=off',
        *flags)

  return run


@pytest.fixture(scope='module')
def run(train, tmp_path_factory):
  """The folder of a run of two steps on letterboxed images."""
  folder = tmp_path_factory.mktemp('run')
  code, out, errors = train(folder, '--max_number_of_steps=2', '--resize_mode=letterbox')
  assert code == 0, errors
  assert f'fitted into {_SIZE}×{_SIZE}' in out
  return folder


def _metadata(folder) -> dict:
  return json.loads((folder / 'model.ckpt-2.json').read_text())


def _predictions(run_here, folder, photos, tmp_path, *flags) -> list[list[float]]:
  """The probabilities of all photos, in the order of the classes."""
  path = tmp_path / 'found.json'
  code, _, errors = run_here('predict_image', f'--checkpoint_path={folder}',
                             f'--output_path={path}', *flags, str(photos))
  assert code == 0, errors
  return [[next(guess['probability'] for guess in entry['predictions'] if guess['label'] == name)
           for name in _CLASSES] for entry in json.loads(path.read_text())]


def test_a_run_keeps_its_geometry(run):
  found = _metadata(run)
  expected = PREPROCESSING['inception'].transform.override(resize_mode='letterbox')
  assert transform_lib.from_json(found['transform']) == expected
  assert found['flags']['resize_mode'] == 'letterbox'


@pytest.mark.slow
@pytest.mark.parametrize('flags', [
  [],
  pytest.param(['--resize_mode=squeeze', '--interpolation=bicubic'], marks=pytest.mark.thorough)])
def test_programs_prepare_images_alike(run, run_here, photos, tmp_path, flags):
  predicted = _predictions(run_here, run, photos, tmp_path, *flags)
  if flags:
    assert predicted != _predictions(run_here, run, photos, tmp_path)
  code, _, errors = run_here('export_model', f'--checkpoint_path={run}',
                             f'--output_path={tmp_path / "exported"}', *flags)
  assert code == 0, errors
  files = [path.read_bytes() for name in _CLASSES for path in sorted((photos / name).iterdir())]
  exported = tf.saved_model.load(str(tmp_path / 'exported')).signatures['serving_bytes'](
      tf.constant(files))
  np.testing.assert_allclose(exported['probabilities'], predicted, atol=1e-5)
  code, out, errors = run_here(
      'eval_image_classifier', f'--checkpoint_path={run}', f'--eval_dir={tmp_path / "eval"}',
      '--dataset_split_name=all', *flags)
  assert code == 0, errors
  assert transform_lib.from_json(json.loads(
      (tmp_path / 'exported' / 'model.json').read_text())['transform']).describe(_SIZE) in out
  right = np.argmax(predicted, axis=1) == np.repeat([0, 1], 6)
  measured = json.loads((tmp_path / 'eval' / 'eval.json').read_text())
  assert measured['top_1'] == pytest.approx(right.mean())


def test_a_resumed_run_keeps_its_geometry(run, train):
  code, _, errors = train(run, '--max_number_of_steps=2', '--resize_mode=squeeze')
  assert code == 1
  assert '--resize_mode=squeeze' in errors and 'letterbox' in errors


def test_a_warm_start_inherits_the_geometry(run, train, tmp_path):
  code, _, errors = train(tmp_path, f'--checkpoint_path={run}', '--max_number_of_steps=2',
                          '--interpolation=bicubic')
  assert code == 0, errors
  changed = _metadata(tmp_path)['transform']
  assert (changed['resize_mode'], changed['interpolation']) == ('letterbox', 'bicubic')


def test_metadata_without_geometry_mean_the_recipe(run, run_here, photos, tmp_path):
  old = tmp_path / 'old'
  old.mkdir()
  for path in run.iterdir():
    if path.name.startswith(('model.ckpt-2', 'checkpoint')):
      (old / path.name).write_bytes(path.read_bytes())
  described = _metadata(run)
  del described['transform']
  for flag in ('resize_mode', 'crop_fraction', 'interpolation'):
    del described['flags'][flag]
  (old / 'model.ckpt-2.json').write_text(json.dumps(described))
  found = _predictions(run_here, old, photos, tmp_path)
  assert found == _predictions(run_here, run, photos, tmp_path, '--resize_mode=squeeze',
                               '--crop_fraction=0.875')


@pytest.mark.parametrize('damage', [{'resize_mode': 'squeeze'}, 'squeeze', {'mean': [0, 0, 'x']}])
def test_damaged_geometry_is_named(run, run_here, photos, tmp_path, damage):
  for path in run.iterdir():
    if path.is_file():
      os.link(path, tmp_path / path.name)
  described = {**_metadata(run), 'transform': damage}
  (tmp_path / 'model.ckpt-2.json').unlink()
  (tmp_path / 'model.ckpt-2.json').write_text(json.dumps(described))
  code, _, errors = run_here('predict_image', f'--checkpoint_path={tmp_path}', str(photos))
  assert code == 1
  assert 'model.ckpt-2.json' in errors and 'transform' in errors


def test_a_crop_of_letterboxed_images_is_refused(run, run_here, photos):
  code, _, errors = run_here('predict_image', f'--checkpoint_path={run}', str(photos),
                             '--resize_mode=letterbox', '--crop_fraction=0.9')
  assert code == 1
  assert '--crop_fraction' in errors and 'letterbox' in errors
