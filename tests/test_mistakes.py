"""Errors of training and evaluation after mistakes and damage."""

from __future__ import annotations

import os
import re
import shutil

import pytest

from slim_zoo.training import loop

_TRAIN = 'train_image_classifier'
_EVAL = 'eval_image_classifier'
_DIGITS = ['--dataset_name=digits', '--model_name=lenet', '--optimizer=momentum', '--xla=off']
_MISTAKES = {
    'unknown network': (_TRAIN, ['--model_name=mobilenet_v9'],
                        'mobilenet_v9.* mobilenet_v2'),
    'unknown dataset': (_TRAIN, ['--dataset_name=digit'], r'\bdigits\b'),
    'unknown preprocessing': (_TRAIN, ['--preprocessing_name=vgg_17'], r'vgg_17.*\bvgg\b'),
    'retired flag': (_TRAIN, ['--num_ps_tasks=2'],
                     '--num_ps_tasks .*Received: 2'),
    'pattern of files without TFRecords': (_TRAIN, ['--file_pattern=*.jpg'],
                                           '--file_pattern.*digits'),
    'no data folder': (_TRAIN, ['--dataset_name=folder', '--dataset_dir=/nowhere'], '/nowhere'),
    'no checkpoint': (_TRAIN, ['--checkpoint_path=/nowhere'], '/nowhere'),
    'nothing to exclude from': (_TRAIN, ['--checkpoint_exclude_scopes=LeNet/fc4'],
                                '--checkpoint_exclude_scopes.*--checkpoint_path'),
    'both lengths': (_TRAIN, ['--epochs=1', '--max_number_of_steps=5'],
                     '--epochs.*--max_number_of_steps|--max_number_of_steps.*--epochs'),
    'cosine without an end': (_TRAIN, ['--learning_rate_decay_type=cosine'], 'cosine.*--epochs'),
    'nothing to be patient about': (_TRAIN, ['--early_stopping_patience=3',
                                             '--validation_interval_epochs=0'],
                                    '--early_stopping_patience'),
    'scope of nothing': (_TRAIN, ['--trainable_scopes=LeNet/fc5'],
                         'LeNet/fc5.*LeNet/fc[34]'),
    'too small an image': (_TRAIN, ['--model_name=vgg_16', '--train_image_size=100'], '224'),
    'too many replicas': (_TRAIN, ['--num_clones=64'], '--num_clones=64'),
    'nothing to synchronize with': (_TRAIN, ['--sync_batch_norm'],
                                    '--sync_batch_norm.*--num_clones'),
    'no directory for the run': (_TRAIN, ['--train_dir='], '--train_dir=runs/lenet'),
    'no checkpoint to evaluate': (_EVAL, ['--checkpoint_path='], '--checkpoint_path'),
    'no such split': (_EVAL, ['--dataset_split_name=test'], 'test.*train, validation'),
    'another network': (_EVAL, ['--model_name=cifarnet'], '--model_name.*cifarnet.*lenet'),
    'no averages': (_EVAL, ['--moving_average_decay=0.9', '--dataset_split_name=validation'],
                    '--moving_average_decay'),
}


@pytest.fixture(scope='module')
def trained(run_here, tmp_path_factory):
  """A short run of lenet."""
  run = tmp_path_factory.mktemp('trained') / 'run'
  code, _, errors = run_here(_TRAIN, f'--train_dir={run}', *_DIGITS, '--max_number_of_steps=4')
  assert code == 0, errors
  return run


@pytest.mark.slow
@pytest.mark.parametrize('mistake', _MISTAKES)
def test_mistake_gives_one_clear_message(run_here, trained, tmp_path, mistake):
  script, flags, message = _MISTAKES[mistake]
  common = {_TRAIN: [f'--train_dir={tmp_path}/run', *_DIGITS],
            _EVAL: [f'--checkpoint_path={trained}', f'--eval_dir={tmp_path}/eval']}[script]
  code, out, errors = run_here(script, *common, *flags)
  assert code == 1
  assert re.search(message, out + errors, re.DOTALL), out + errors


@pytest.mark.slow
@pytest.mark.parametrize(('flags', 'message'), [
  (['--optimizer=adamv'], 'optimizer'),
  (['--train_dir=gs://bucket/run'],
   '--train_dir=gs://bucket/run'),
  (['folder'], "'folder'"),
  (['--model_name=mobilenet_v9'], 'mobilenet_v2')])
def test_program_ends_without_a_stack_trace(run_script, tmp_path, flags, message):
  code, out, errors = run_script(_TRAIN, f'--train_dir={tmp_path}/run', *_DIGITS, *flags)
  assert code != 0
  assert message in out + errors
  assert 'Traceback' not in errors


@pytest.mark.slow
@pytest.mark.parametrize(('flags', 'message'), [
    (['--batch_size=16'], '--batch_size=16.* 32'),
    (['--seed=1'], '--seed=1.* 0'),
    (['--model_name=cifarnet'], '--model_name=cifarnet.* lenet'),
    (['--dataset_name=mnist'], '--dataset_name=mnist.* digits'),
])
def test_resuming_with_other_flags_states_the_difference(run_here, trained, flags, message):
  code, _, errors = run_here(_TRAIN, f'--train_dir={trained}', *flags)
  assert code == 1
  assert re.search(message, errors), errors


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['.index', '.data-00000-of-00001', '.json'])
def test_truncated_checkpoint(run_here, trained, tmp_path, suffix):
  run = shutil.copytree(trained, tmp_path / 'run')
  path = run / f'model.ckpt-4{suffix}'
  os.truncate(path, path.stat().st_size // 2)
  for script, flags in ((_TRAIN, [f'--train_dir={run}', '--max_number_of_steps=9']),
                        (_EVAL, [f'--checkpoint_path={run}', f'--eval_dir={tmp_path}',
                                 '--dataset_split_name=validation'])):
    code, _, errors = run_here(script, *flags)
    assert code == 1
    assert 'model.ckpt-4' in errors


@pytest.mark.slow
@pytest.mark.parametrize(('flags', 'warning'), [
  (['--epochs=1'], ''),
  ([], '--epochs'),
  (['--early_stopping_patience=2'], ''),
  (['--epochs=1', '--dataset_split_name=validation'], '--dataset_split_name=validation'),
  (['--epochs=1', '--batch_size=2000'], '--batch_size'),
  (['--epochs=1', '--optimizer=adam'], '--opt_epsilon'),
  (['--epochs=1', '--optimizer=adam', '--opt_epsilon=1e-7'], ''),
  (['--epochs=1', '--optimizer=adamw', '--learning_rate_decay_type=cosine'], ''),
  (['--max_number_of_steps=100'], '--learning_rate_decay_type=cosine'),
  (['--max_number_of_steps=100', '--learning_rate_decay_type=one_cycle'], ''),
  (['--epochs=1', '--learning_rate=0'], '--learning_rate=0'),
  (['--epochs=1', '--warmup_epochs=2'], '--warmup_epochs'),
  (['--epochs=1', '--model_name=mobilenet_v1_025', '--batch_norm_decay=0.9',
    '--train_image_size=32'], '--train_image_size'),
  (['--epochs=1', '--model_name=mobilenet_v1_025'], '--batch_norm_decay'),
  (['--epochs=1', '--model_name=mobilenet_v1_025', '--batch_norm_decay=0.9'], '')])
def test_doubtful_flags_give_a_warning(run_here, tmp_path, monkeypatch, flags, warning):
  monkeypatch.setattr(loop, 'fit', lambda *args, **kwargs: None)
  code, out, errors = run_here(_TRAIN, f'--train_dir={tmp_path}/run', *_DIGITS, *flags)
  assert code == 0, errors
  warnings = [line for line in out.splitlines() if line.startswith('Warning')]
  assert len(warnings) == bool(warning), warnings
  assert warning in ''.join(warnings)
