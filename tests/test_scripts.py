"""The training and evaluation programs, as users run them."""

from __future__ import annotations

import csv
import json
import pathlib
import re
import resource
import signal
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator

_TRAIN = 'train_image_classifier'
_EVAL = 'eval_image_classifier'
_DIGITS = ['--dataset_name=digits', '--model_name=lenet', '--optimizer=momentum', '--xla=off']


def _photo(path: pathlib.Path, seed: int) -> None:
  pixels = np.random.default_rng(seed).integers(0, 256, [40, 50, 3]).astype(np.uint8)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(tf.io.encode_jpeg(pixels).numpy())


@pytest.fixture
def photos(tmp_path):
  """A folder of 8 photos in each of 3 classes, one of which has a space in its name."""
  for number, name in enumerate(('ant', 'bee', 'sea horse')):
    for index in range(8):
      _photo(tmp_path / 'photos' / name / f'{index}.jpg', 10 * number + index)
  return tmp_path / 'photos'


def _rows(folder):
  with open(folder / 'metrics.csv', newline='') as file:
    return list(csv.DictReader(file))


def _check_validation(run_script, run, rows):
  """Checks that the last validation in training equals an evaluation, to the last digit."""
  # By default of the validation split, as there is no test split, and into the run's folder.
  code, out, errors = run_script(_EVAL, f'--checkpoint_path={run}')
  assert code == 0, errors
  found = json.loads((run / 'eval' / 'eval.json').read_text())
  last = rows[-1]
  assert [float(last[f'validation_{name}']) for name in ('top_1', 'top_5', 'loss')] == \
      [found[name] for name in ('top_1', 'top_5', 'loss')]
  shown = re.search(r'eval/Accuracy\[(.*?)\]eval/Recall_5\[(.*?)\]', out)
  assert float(shown[1]) == pytest.approx(found['top_1'], abs=1e-8)
  return found


def test_train_fine_tune_evaluate(run_script, run_here, tmp_path):
  scratch, tuned = tmp_path / 'scratch', tmp_path / 'tuned'
  flags = [f'--train_dir={scratch}', *_DIGITS, '--max_number_of_steps=60',
           '--save_summaries_secs=0', '--moving_average_decay=0.9']
  code, out, errors = run_script(_TRAIN, *flags)
  assert code == 0, errors
  assert errors == ''
  assert '3,274,634' in out
  rows = _rows(scratch)
  losses = [float(row['loss']) for row in rows if row['loss']]
  assert losses[-1] < 0.5 * losses[0]
  found = _check_validation(run_here, scratch, rows)
  assert found['count'] == 164
  assert found['top_1'] > 0.8
  assert found['moving_averages']
  events = event_accumulator.EventAccumulator(str(scratch), size_guidance={'tensors': 0}).Reload()
  assert {'train/images', 'validation/predictions', 'validation/confusion_matrix',
          '_hparams_/session_start_info'} <= {*events.Tags()['tensors']}

  code, out, _ = run_here(_TRAIN, *flags)
  assert code == 0
  assert 'finished' in out and 'step 60' in out

  code, out, errors = run_here(
      _TRAIN, f'--train_dir={tuned}', '--dataset_name=digits', '--max_number_of_steps=20',
      f'--checkpoint_path={scratch}', '--checkpoint_exclude_scopes=LeNet/fc4',
      '--trainable_scopes=LeNet/fc4', '--optimizer=momentum')
  assert code == 0, errors
  assert re.search(r'\b6 restored, 2 excluded', out)
  assert re.search(r'LeNet/fc4\b.* 10,250 ', out)
  assert (tuned / 'restored.txt').read_text().startswith(f'# {scratch}')
  # Only the head has changed from the averages that the run started from.
  start, end = (tf.train.load_checkpoint(str(folder)) for folder in (scratch, tuned))
  for name in end.get_variable_to_shape_map():
    if name.startswith('LeNet/') and name.count('/') == 2:
      same = np.array_equal(start.get_tensor(f'{name}/ExponentialMovingAverage'),
                            end.get_tensor(name))
      assert same == ('fc4' not in name), name


def test_classes_are_not_balanced_twice(in_process, tmp_path):
  with in_process('train_image_classifier') as run, pytest.raises(
      ValueError, match='--sampling=balanced .*--class_weights=balanced'):
    run(f'--train_dir={tmp_path}', *_DIGITS, '--sampling=balanced', '--class_weights=balanced')


@pytest.mark.thorough
def test_restored_classifier_keeps_its_classes_with_a_new_auxiliary_head(run_here, tmp_path):
  flags = ['--dataset_name=digits', '--train_image_size=75', '--batch_size=2',
           '--max_number_of_steps=1', '--validation_fraction=0']
  code, _, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/first', *flags)
  assert code == 0, errors  # TF-Slim's default network, inception_v3.
  metadata = tmp_path / 'first' / 'model.ckpt-1.json'
  saved = json.loads(metadata.read_text())
  backwards = saved['class_names'][::-1]
  metadata.write_text(json.dumps({**saved, 'class_names': backwards}))
  code, _, errors = run_here(
      _TRAIN, f'--train_dir={tmp_path}/second', *flags, f'--checkpoint_path={tmp_path}/first',
      '--checkpoint_exclude_scopes=InceptionV3/AuxLogits')
  assert code == 0, errors
  metadata = tmp_path / 'second' / 'model.ckpt-1.json'
  assert json.loads(metadata.read_text())['class_names'] == backwards


@pytest.mark.slow
def test_two_replicas_on_photos(run_here, photos, tmp_path):
  run = tmp_path / 'run'
  code, out, errors = run_here(
      _TRAIN, f'--train_dir={run}', '--dataset_name=folder', f'--dataset_dir={photos}',
      '--model_name=cifarnet', '--batch_size=3', '--num_clones=2', '--clone_on_cpu',
      '--max_number_of_steps=4', '--validation_interval_steps=4')
  assert code == 0, errors
  assert re.search(r'\b6\b.* 2 replica', out)
  _check_validation(run_here, run, _rows(run))
  code, out, errors = run_here(_TRAIN, f'--train_dir={run}', '--max_number_of_steps=6')
  assert code == 0, errors
  assert '--max_number_of_steps: 4 -> 6' in out
  assert 'Resumed' in out
  for number in range(5):
    _photo(photos / 'bee' / f'new {number}.jpg', 100 + number)
  code, _, errors = run_here(_TRAIN, f'--train_dir={run}')
  assert code == 1
  assert re.search(r'Added: bee/new \d\.jpg.* and 2 more', errors) and 'ant/' not in errors
  assert f'--checkpoint_path={run}' in errors


@pytest.mark.slow
def test_classes_are_matched_by_name(run_here, photos, tmp_path):
  run = tmp_path / 'run'
  common = ['--model_name=cifarnet', '--max_number_of_steps=4', '--validation_interval_epochs=0']
  assert run_here(_TRAIN, f'--train_dir={run}', '--dataset_name=folder',
                    f'--dataset_dir={photos}', '--validation_fraction=0', *common)[0] == 0
  listed = [f'"{photos}/{name}/{i}.jpg",{name}\n' for name in ('sea horse', 'ant')
            for i in range(8)]
  (tmp_path / 'two.csv').write_text(''.join(listed))
  # Of other data than those of training, all examples count.
  evaluate = [f'--checkpoint_path={run}', f'--eval_dir={run}/eval', '--dataset_name=csv']
  code, out, errors = run_here(_EVAL, *evaluate, f'--dataset_dir={tmp_path}/two.csv')
  assert code == 0, errors
  assert re.search(r'\b16 examples', out)
  code, out, errors = run_here(_EVAL, f'--checkpoint_path={run}', f'--eval_dir={run}/whole',
                               '--dataset_split_name=all')
  assert code == 0, errors
  assert re.search(r'\b24 examples', out)
  strange = ''.join(line.replace(',ant', ',cat').replace(',sea horse', ',dog') for line in listed)
  (tmp_path / 'strange.csv').write_text(strange)
  code, _, errors = run_here(_EVAL, *evaluate, f'--dataset_dir={tmp_path}/strange.csv')
  assert code == 1
  assert re.search('ant, bee, sea horse.* cat, dog', errors)


@pytest.mark.slow
def test_labels_from_one(run_here, tmp_path):
  for index in range(29):
    _photo(tmp_path / f'{index}.jpg', index)
  listed = [f'{index}.jpg,{index % 2 + 1}\n' for index in range(29)]
  (tmp_path / 'train.csv').write_text(''.join(listed))
  flags = [f'--train_dir={tmp_path}/run', '--dataset_name=csv', f'--dataset_dir={tmp_path}',
           '--model_name=cifarnet', '--validation_fraction=0', '--batch_size=7', '--epochs=7']
  code, _, errors = run_here(_TRAIN, *flags, '--labels_offset=1')
  assert code == 1  # There is no class 0 to omit.
  code, out, errors = run_here(_TRAIN, *flags)
  assert code == 0, errors
  assert re.search('1, 2 .* 0, 1', out)
  # 7 epochs of 29 / 7 steps are 29, although 7 * (29 / 7) = 29.000000000000004.
  assert not list((tmp_path / 'run').glob('model.ckpt-30.*'))
  assert json.loads((tmp_path / 'run' / 'model.ckpt-29.json').read_text())['class_names'] == \
      ['1', '2']


@pytest.mark.slow
def test_single_class_is_an_error(run_here, photos, tmp_path):
  (tmp_path / 'above').mkdir()
  (photos / 'ant').rename(tmp_path / 'above' / 'ant')
  code, _, errors = run_here(
      _TRAIN, f'--train_dir={tmp_path}/run', '--dataset_name=folder',
      f'--dataset_dir={tmp_path}/above', '--model_name=cifarnet', '--max_number_of_steps=1')
  assert code == 1
  assert 'two classes' in errors and 'Received: ant' in errors


@pytest.mark.slow
def test_bad_images_stop_the_run_or_keep_their_slots(run_here, photos, tmp_path):
  whole = (photos / 'bee' / '3.jpg').read_bytes()
  (photos / 'bee' / '3.jpg').write_bytes(whole[:len(whole) // 2])
  (photos / 'ant' / '5.jpg').write_text('<html>not a photo</html>')
  flags = ['--dataset_name=folder', f'--dataset_dir={photos}', '--model_name=cifarnet',
           '--max_number_of_steps=4', '--batch_size=8', '--validation_fraction=0.25']
  code, _, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/stopped', *flags)
  assert code == 1
  assert 'ant/5.jpg' in errors and 'bee/3.jpg' in errors and '--on_bad_image=skip' in errors
  skipped = tmp_path / 'skipped'
  code, out, errors = run_here(_TRAIN, f'--train_dir={skipped}', *flags, '--on_bad_image=skip')
  assert code == 0, errors
  assert 'ant/5.jpg' in out
  bad = json.loads((skipped / 'model.ckpt-4.json').read_text())['bad_images']
  assert sorted(bad['train'] + bad['validation']) == ['ant/5.jpg', 'bee/3.jpg']
  for split in ('train', 'validation'):  # An evaluation skips them as well.
    code, _, errors = run_here(_EVAL, f'--checkpoint_path={skipped}', f'--eval_dir={tmp_path}/eval',
                               f'--dataset_split_name={split}')
    assert code == 0, errors


@pytest.mark.slow
def test_second_job_in_a_folder_is_rejected(start_script, run_here, tmp_path):
  flags = [f'--train_dir={tmp_path}/run', *_DIGITS]
  # Tests run in the background ignore SIGINT, which the program would inherit.
  first = start_script(_TRAIN, *flags,
                       preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
  try:
    metrics = tmp_path / 'run' / 'metrics.csv'
    while not (metrics.exists() and len(metrics.read_text().splitlines()) > 1) and (
        first.poll() is None):  # Until steps run, which a signal lets finish.
      time.sleep(0.1)
    code, _, errors = run_here(_TRAIN, *flags)
    assert code == 1
    assert f'{tmp_path}/run' in errors and str(first.pid) in errors
  finally:
    first.send_signal(signal.SIGINT)
    try:
      out, _ = first.communicate(timeout=200)
    finally:
      first.kill()
  assert first.returncode == 128 + signal.SIGINT
  assert re.search(r'SIGINT.* \d+', out)


@pytest.mark.slow
def test_full_disk_keeps_saved_checkpoints(run_script, run_here, tmp_path):
  run = tmp_path / 'run'
  flags = [f'--train_dir={run}', *_DIGITS, '--validation_interval_epochs=0']
  assert run_here(_TRAIN, *flags, '--max_number_of_steps=4')[0] == 0
  before = {path.name: path.read_bytes() for path in run.glob('model.ckpt-4.*')}
  # No file may grow beyond 1 MB: writing lenet's 26 MB fails as on a full disk.
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # Inherited.
  code, _, errors = run_script(
      _TRAIN, *flags, '--max_number_of_steps=8', preexec_fn=lambda: resource.setrlimit(
          resource.RLIMIT_FSIZE, (10**6, 10**6)))
  assert code == 1
  assert f'{run}/model.ckpt-8' in errors and f'{run}/model.ckpt-4' in errors
  assert 'Traceback' not in errors
  assert {path.name: path.read_bytes() for path in run.glob('model.ckpt-*')} == before
  code, out, errors = run_here(_TRAIN, *flags, '--max_number_of_steps=8')
  assert code == 0, errors
  assert f'{run}/model.ckpt-4 ' in out


@pytest.mark.slow
def test_non_finite_loss_is_reported_with_its_step(run_here, tmp_path):
  run = tmp_path / 'run'
  flags = [f'--train_dir={run}', '--dataset_name=digits', '--model_name=lenet', '--optimizer=sgd',
           '--xla=off', '--validation_interval_epochs=0']
  assert run_here(_TRAIN, *flags, '--max_number_of_steps=5')[0] == 0
  code, out, errors = run_here(_TRAIN, *flags, '--learning_rate=1e20',
                                 '--max_number_of_steps=40')
  assert code == 1
  assert '--learning_rate: 0.01 -> 1e+20' in out
  assert re.search(rf'(nan|inf)\b.*step \d+.* 1e\+20.*{run}/model.ckpt-5', errors, re.DOTALL)
  assert not (run / 'model.ckpt-40.index').exists()


@pytest.mark.slow
def test_non_finite_state_is_not_saved(run_here, tmp_path):
  run = tmp_path / 'run'
  # The loss of the only step is finite; its update is not.
  code, _, errors = run_here(
      _TRAIN, f'--train_dir={run}', '--dataset_name=digits', '--model_name=lenet',
      '--optimizer=sgd', '--validation_interval_epochs=0', '--learning_rate=1e39',
      '--max_number_of_steps=1')
  assert code == 1
  assert re.search(r'LeNet/.* step 1\b.* none', errors)
  assert not list(run.glob('model.ckpt-*'))


@pytest.mark.slow
def test_same_command_resumes_with_default_flags_given(run_here, tmp_path):
  flags = [f'--train_dir={tmp_path}/run', '--dataset_name=digits', '--model_name=lenet',
           '--xla=auto', '--preprocessing_name=lenet', '--max_number_of_steps=1',
           '--validation_interval_epochs=0']
  assert run_here(_TRAIN, *flags)[0] == 0
  code, out, errors = run_here(_TRAIN, *flags)
  assert code == 0, errors
  assert 'finished' in out


@pytest.mark.slow
def test_early_stopping_survives_a_restart(run_here, tmp_path):
  run = tmp_path / 'run'
  flags = [f'--train_dir={run}', *_DIGITS, '--learning_rate=0', '--validation_interval_steps=2',
           '--early_stopping_patience=3']
  code, _, errors = run_here(_TRAIN, *flags, '--max_number_of_steps=4')
  assert code == 0, errors
  code, out, errors = run_here(_TRAIN, *flags, '--max_number_of_steps=100')
  assert code == 0, errors
  # The first validation is the best; those at 4 (before the restart), 6 and 8 are not better.
  assert {path.stem for path in run.glob('model.ckpt-*.index')} >= {'model.ckpt-8'}
  assert not (run / 'model.ckpt-10.index').exists()
  assert (run / 'best' / 'model.ckpt-2.index').exists()
  code, out, _ = run_here(_TRAIN, *flags, '--max_number_of_steps=100')
  assert code == 0
  assert re.search(r'finished.* step 2\b', out)


def _tree(folder):
  return sorted(str(path) for path in folder.rglob('*'))


@pytest.mark.slow
def test_dry_run_checks_everything_and_writes_nothing(run_here, tmp_path):
  run = tmp_path / 'run'
  flags = [f'--train_dir={run}', *_DIGITS, '--batch_size=64', '--epochs=1']
  code, out, errors = run_here(_TRAIN, *flags, '--dry_run')
  assert code == 0, errors
  assert _tree(tmp_path) == []
  assert re.search(r'[\d.]+ s .*\b5\b.* images/s.* [\d.]+ GiB', out)
  assert re.search(r' [\d.]+ s\b.* 26 .* [\d.]+ s\b', out)
  assert run_here(_TRAIN, *flags)[0] == 0
  before = _tree(tmp_path), (run / 'metrics.csv').read_bytes()
  # A resumed run, and one that starts warm.
  code, out, errors = run_here(_TRAIN, *flags, '--epochs=3', '--dry_run')
  assert code == 0, errors
  assert 'Resumed' in out
  assert re.search(r'[\d.]+ s\b.* 51 .* [\d.]+ s\b', out)
  code, out, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/new', *_DIGITS, '--dry_run',
                                 f'--checkpoint_path={run}', '--use_grayscale=false')
  assert code == 0, errors
  assert re.search('unused .*global_step', out)
  assert before == (_tree(tmp_path), (run / 'metrics.csv').read_bytes())


@pytest.mark.slow
def test_warning_for_variables_neither_restored_nor_trained(run_here, tmp_path):
  run = tmp_path / 'run'
  assert run_here(_TRAIN, f'--train_dir={run}', *_DIGITS, '--max_number_of_steps=1')[0] == 0
  code, out, errors = run_here(
      _TRAIN, f'--train_dir={tmp_path}/new', *_DIGITS, '--dry_run', f'--checkpoint_path={run}',
      '--checkpoint_exclude_scopes=LeNet/fc3,LeNet/fc4', '--trainable_scopes=LeNet/fc4')
  assert code == 0, errors
  assert re.search('Warning: 2 .*: LeNet/fc3/weights, LeNet/fc3/biases', out)
