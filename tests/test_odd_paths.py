"""Folders of any name: files written there by one program can be read by the others."""

from __future__ import annotations

import json
import os

import numpy as np
import PIL.Image
import pytest

_TRAIN = 'train_image_classifier'
# Special characters of shells, patterns and formats, and bytes that are not text.
_NAME = os.fsdecode("run[1] a\\b *? 100% {x} a'b ü-ñ %s".encode() + b' \xe9')
_LENET = ['--model_name=lenet', '--use_grayscale', '--optimizer=momentum', '--xla=off']


@pytest.fixture(scope='module')
def run(run_here):
  """Runs a program that succeeds; returns what it printed."""
  def function(program, *arguments):
    code, out, errors = run_here(program, *arguments)
    assert code == 0, f'{program} {arguments}: {out}{errors}'
    return out

  return function


@pytest.fixture(scope='module')
def folder(run, tmp_path_factory):
  """A folder of such a name with 24 photos in two classes, and a run that was resumed once."""
  path = tmp_path_factory.mktemp('odd') / _NAME
  pixels = np.random.default_rng(0).integers(0, 256, [8, 8], np.uint8)
  for label in ('a', 'b'):
    (path / 'photos' / label).mkdir(parents=True)
    for number in range(12):
      PIL.Image.fromarray(pixels // (number + 1)).save(
        os.fsencode(path / 'photos' / label / f'{number}.png'))
  for steps in (1, 2):
    out = run(_TRAIN, f'--train_dir={path}/run', *_data(path), *_LENET, '--batch_size=4',
              f'--max_number_of_steps={steps}')
  assert 'model.ckpt-1 at step 1' in out
  return path


def _data(folder) -> list[str]:
  return ['--dataset_name=folder', f'--dataset_dir={folder}/photos']


@pytest.mark.slow
def test_trained_run_can_be_evaluated_and_fine_tuned(run, folder):
  run('eval_image_classifier', f'--checkpoint_path={folder}/run', f'--eval_dir={folder}/eval',
      '--dataset_split_name=validation')
  assert json.loads((folder / 'eval' / 'eval.json').read_text())['step'] == 2
  run(_TRAIN, f'--train_dir={folder}/phases', *_data(folder), *_LENET, '--batch_size=4',
      f'--checkpoint_path={folder}/run', '--checkpoint_exclude_scopes=LeNet/fc4',
      '--phases=max_number_of_steps=1; max_number_of_steps=2')
  assert len(list((folder / 'phases').glob('*/model.ckpt-*.index'))) == 2
  report = (folder / 'phases' / 'phase_1' / 'restored.txt').read_bytes()
  assert f'{folder}/run/model.ckpt-2'.encode(errors='backslashreplace') in report


@pytest.mark.thorough
def test_trained_run_can_be_used_by_all_programs(run, run_script, folder):
  trained, outputs = f'--checkpoint_path={folder}/run', folder / 'outputs'
  run('predict_image', trained, f'--output_path={outputs}/found.csv', f'{folder}/photos')
  assert (outputs / 'found.csv').read_bytes().count(os.fsencode(folder)) == 48
  for name in ('model', 'model.pb', 'model.tflite'):
    run('export_model', trained, f'--output_path={outputs}/{name}')
  for name in ('model/model.json', 'model.pb.json', 'model.tflite.json'):
    assert json.loads((outputs / name).read_text())['class_names'] == ['a', 'b']
  for name in ('f.npz', 'f.tfrecord', 'f.parquet'):
    run('extract_features', trained, *_data(folder), f'--output_path={outputs}/{name}', '--xla=off')
  # As a process, because its output has to be encoded.
  code, _, errors = run_script('train_on_features', f'--training_file={outputs}/f.npz',
                               f'--train_dir={folder}/head', '--epochs=1',
                               '--validation_fraction=0')
  assert code == 0, errors
  # Exports and heads trained on features are read as weights.
  run('predict_image', f'--checkpoint_path={folder}/head', f'{folder}/photos/a/1.png')
  for name in ('model.pb', 'model/variables/variables'):
    run('convert_weights', f'--checkpoint_path={outputs}/{name}', '--model_name=lenet',
        f'--output_dir={folder}/converted_{os.path.basename(name)}', '--use_grayscale')
