"""Folders of any name: whatever a program writes into one, the others read."""

from __future__ import annotations

import json
import os

import numpy as np
import PIL.Image
import pytest

from slim_zoo.weights.reader import Checkpoint

_TRAIN = 'train_image_classifier'
_DIGITS = ['--dataset_name=digits', '--model_name=lenet', '--optimizer=momentum', '--xla=off',
           '--seed=1']
# Characters that shells, patterns and formats give a meaning, and bytes that are no text.
_NAMES = ('run[1] a\\b *?', os.fsdecode("100% {x} a'b ü-ñ %s".encode() + b' \xe9'))


@pytest.fixture(params=_NAMES)
def folder(request, tmp_path):
  path = tmp_path / request.param
  path.mkdir()
  return path


@pytest.fixture
def run(run_here):
  """Runs a program that succeeds; returns what it printed."""
  def function(program, *arguments):
    code, out, errors = run_here(program, *arguments)
    assert code == 0, f'{program} {arguments}: {out}{errors}'
    return out

  return function


def _values(folder, step) -> dict[str, np.ndarray]:
  checkpoint = Checkpoint(f'{folder}/model.ckpt-{step}')
  return {name: checkpoint.read(name) for name in checkpoint.shapes}


@pytest.mark.slow
def test_what_is_trained_goes_on_and_is_evaluated(run, folder, tmp_path):
  for steps in (3, 6):
    out = run(_TRAIN, f'--train_dir={folder}/run', *_DIGITS, f'--max_number_of_steps={steps}')
  assert 'at step 3' in out
  run(_TRAIN, f'--train_dir={tmp_path}/plain', *_DIGITS, '--max_number_of_steps=6')
  expected = _values(tmp_path / 'plain', 6)
  for name, value in _values(folder / 'run', 6).items():
    np.testing.assert_array_equal(value, expected[name])
  run('eval_image_classifier', f'--checkpoint_path={folder}/run', f'--eval_dir={folder}/eval',
      '--dataset_split_name=validation')
  assert json.loads((folder / 'eval' / 'eval.json').read_text())['step'] == 6
  out = run(_TRAIN, f'--train_dir={folder}/tuned', *_DIGITS, '--max_number_of_steps=1',
            f'--checkpoint_path={folder}/run', '--checkpoint_exclude_scopes=LeNet/fc4')
  assert 'Warm start' in out
  out = run(_TRAIN, f'--train_dir={folder}/phases', *_DIGITS,
            '--phases=max_number_of_steps=1; max_number_of_steps=2')
  assert 'All 2 phases are finished' in out


@pytest.mark.slow
def test_what_is_trained_is_used(run, run_script, folder):
  pixels = np.random.default_rng(0).integers(0, 256, [8, 8], np.uint8)
  for label in ('a', 'b'):
    (folder / 'photos' / label).mkdir(parents=True)
    for number in range(12):
      PIL.Image.fromarray(pixels // (number + 1)).save(
        os.fsencode(folder / 'photos' / label / f'{number}.png'))
  data = ['--dataset_name=folder', f'--dataset_dir={folder}/photos']
  trained, outputs = f'--checkpoint_path={folder}/run', folder / 'outputs'
  run(_TRAIN, f'--train_dir={folder}/run', *data, '--model_name=lenet', '--use_grayscale',
      '--max_number_of_steps=1', '--xla=off', '--batch_size=4')
  run('predict_image', trained, f'--output_path={outputs}/found.csv', f'{folder}/photos')
  assert (outputs / 'found.csv').read_bytes().count(os.fsencode(folder)) == 48
  for name in ('model', 'model.pb', 'model.tflite'):
    run('export_model', trained, f'--output_path={outputs}/{name}')
  for name in ('model/model.json', 'model.pb.json', 'model.tflite.json'):
    assert json.loads((outputs / name).read_text())['class_names'] == ['a', 'b']
  for name in ('f.npz', 'f.tfrecord', 'f.parquet'):
    run('extract_features', trained, *data, f'--output_path={outputs}/{name}', '--xla=off')
  code, _, errors = run_script('train_on_features', f'--training_file={outputs}/f.npz',
                               f'--train_dir={folder}/head', '--epochs=1',
                               '--validation_fraction=0')
  assert code == 0, errors
  # What was exported is read as weights, and so is what was trained on the features.
  for name in ('outputs/model.pb', 'outputs/model/variables/variables', 'head'):
    run('predict_image', f'--checkpoint_path={folder}/{name}', f'{folder}/photos/a/1.png',
        *(() if name == 'head' else ('--model_name=lenet', '--use_grayscale')))
    if name != 'head':
      run('convert_weights', f'--checkpoint_path={folder}/{name}', '--model_name=lenet',
          f'--output_dir={folder}/converted_{os.path.basename(name)}', '--use_grayscale')
